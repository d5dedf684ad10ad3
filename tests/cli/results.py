"""A small result of every kind, in a folder, as users leave it there."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

import nibabel
import numpy as np
import torch
from PIL import Image as Pillow

import diffeo
from diffeo.cli.main import main
from tests.cli.files import octahedron, ring
from tests.cli.tables import QUICK, QUICK_DENSITY, measured, prices, rings
from tests.registration.scenes import bend, cube, picture, square
from tests.registration.shapes import blob

FEW = ("--max-iterations", "3", "--align", "none")


def run(*argv) -> int:
    """A verb that prints nothing."""
    with redirect_stdout(io.StringIO()):
        return main([*map(str, argv), "-q"])


def points(folder: Path) -> Path:
    """A cloud of the plane."""
    files = ring(folder / "a.csv"), ring(folder / "b.csv", radius=1.4)
    assert run("register", *files, "-o", folder / "out", *FEW) in (0, 3)
    return folder / "out"


def curve(folder: Path) -> Path:
    """A closed curve of the plane."""
    diffeo.write(folder / "a.npz", blob(24))
    diffeo.write(folder / "b.npz", blob(24, 0.1, 0.2))
    assert run("register", folder / "a.npz", folder / "b.npz", "-o", folder / "out", *FEW) in (0, 3)
    return folder / "out"


def mesh(folder: Path) -> Path:
    """A closed surface."""
    files = octahedron(folder / "a.off"), octahedron(folder / "b.off", 1.4)
    assert run("register", *files, "-o", folder / "out", *FEW) in (0, 3)
    return folder / "out"


def photo(folder: Path) -> Path:
    """A picture with a mask."""
    for name, before in (("a", bend), ("b", None)):
        values = (200 * picture(square(24), before).values[0]).round().byte().numpy().T
        Pillow.fromarray(values).save(folder / f"{name}.png")
    Pillow.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 2)).save(folder / "mask.png")
    files = folder / "a.png", folder / "b.png", "--mask", folder / "mask.png"
    assert run("register", *files, "-o", folder / "out", *FEW) in (0, 3)
    return folder / "out"


def scan(folder: Path) -> Path:
    """A volume."""
    for name, before in (("a", bend), ("b", None)):
        image = picture(cube(14), before)
        values = (200 * image.values[0]).round().numpy().astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(values, image.grid.affine.numpy()), folder / f"{name}.nii.gz")
    assert run("register", folder / "a.nii.gz", folder / "b.nii.gz", "-o", folder / "out", *FEW) in (0, 3)
    return folder / "out"


def together() -> diffeo.Registration:
    """A picture with landmarks, of no file."""
    marks = torch.tensor([[0.3, 0.4], [0.6, 0.5], [0.5, 0.7]]) * 24
    pair = [
        diffeo.Compound([picture(square(24), before), diffeo.Points(marks + shift)])
        for before, shift in ((bend, 1.0), (None, 0.0))
    ]
    loss = diffeo.CompoundLoss([diffeo.SSDLoss(), diffeo.LandmarkLoss()], [1, 0.01])
    return diffeo.register(*pair, loss=loss, max_iterations=3)


def compound(folder: Path) -> Path:
    """Several shapes at once, saved from Python."""
    return together().save(folder / "out")


def classifier(folder: Path) -> Path:
    """A network that tells two rings apart."""
    assert run("train", rings(folder / "a.csv"), "-t", "where", "-o", folder / "out", *QUICK) == 0
    return folder / "out"


def regressor(folder: Path) -> Path:
    """A network that predicts a number, from a category, too."""
    assert run("train", prices(folder / "a.csv"), "-t", "price", "-o", folder / "out", *QUICK) == 0
    return folder / "out"


def density(folder: Path) -> Path:
    """The density of two columns, one of them bounded."""
    options = ("--columns", "x,income", "--bounds", "income=0:")
    assert run("density", "fit", measured(folder / "a.csv"), "-o", folder / "out", *options, *QUICK_DENSITY) == 0
    return folder / "out"


REGISTRATIONS = {f.__name__: f for f in (points, curve, mesh, photo, scan, compound)}
TABLES = {f.__name__: f for f in (classifier, regressor, density)}
KINDS = REGISTRATIONS | TABLES
