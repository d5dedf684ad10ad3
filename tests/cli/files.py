"""Small files for the command line's tests."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch

from diffeo.core import Compose
from diffeo.flows import Affine, Geodesic, Warp
from diffeo.grid import Grid
from diffeo.io.transform import save
from diffeo.kernels import GaussianKernel


def ring(path, n=20, d=2, radius=1.0, shift=0.0):
    """Points on an ellipse, one a row."""
    t = np.arange(n) * 2 * np.pi / n
    x = np.stack([radius * np.cos(t), np.sin(t), 0.2 * np.cos(2 * t)], 1)[:, :d] + shift
    np.savetxt(path, x)
    return path


OCTAHEDRON = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1))
FACES = ((0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5))


def octahedron(path, stretch=1.0, vertices=OCTAHEDRON, faces=FACES):
    """A closed surface, as an OFF file."""
    rows = [f"{stretch * x} {y} {z}" for x, y, z in vertices]
    rows += [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text("\n".join(["OFF", f"{len(vertices)} {len(faces)} 0", *rows]) + "\n")
    return path


def nifti(path, values, affine=None, dtype=None):
    """An image of space."""
    values = np.asarray(values)
    image = nib.nifti1.Nifti1Image(values.astype(dtype or values.dtype), np.eye(4) if affine is None else affine)
    nib.loadsave.save(image, path)
    return path


AFFINE = np.array([[-2.0, 0, 0, 10], [0, 0, 1.5, -4], [0, 1, 0, 3], [0, 0, 0, 1]])
"""An affine map of a scan: flipped, with its axes in another order, anisotropic."""


def scan(path, shape=(14, 12, 10), affine=AFFINE, dtype=np.float32):
    """A smooth image that is 0 at its border."""
    x = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    bump = np.prod(np.cos(x * np.pi / 2), 0) ** 2
    return nifti(path, 100 * bump * (1 + 0.5 * np.sin(3 * x[0] + x[1])), affine, dtype)


def boxes(path, *corners, shape=(14, 12, 10), affine=AFFINE, dtype=np.uint8):
    """A label map: label k + 1 in the k-th box of indices (lower, upper)."""
    values = np.zeros(shape, dtype)
    for label, (lower, upper) in enumerate(corners, 1):
        values[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = label
    return nifti(path, values, affine)


def warp(path, shape=(14, 12, 10), affine=AFFINE, metadata=None, shift=0.7):
    """A transform of images: an affine map, then a displacement on the grid of a scan, float64."""
    grid = Grid(shape, torch.from_numpy(affine))
    i = grid.indices(torch.empty((), dtype=torch.float64))
    n = torch.tensor(shape, dtype=torch.float64).reshape(3, 1, 1, 1)
    u = shift * torch.sin(torch.pi * i / (n - 1)).prod(0) * torch.tensor([1.0, -0.5, 0.8]).double().reshape(3, 1, 1, 1)
    motion = Affine(torch.diag(torch.tensor([1.0, 1.1, 0.9]).double()), torch.tensor([0.5, 0.2, -0.4]).double())
    save(path, Compose([motion, Warp(grid, u, energy=2.0)]), metadata)
    return path


def transform(path, d=2):
    """An affine map, then a geodesic, float64."""
    generator = torch.Generator().manual_seed(0)
    controls = torch.randn(8, d, generator=generator, dtype=torch.float64)
    momenta = 0.1 * torch.randn(8, d, generator=generator, dtype=torch.float64)
    affine = Affine(1.1 * torch.eye(d, dtype=torch.float64), torch.full((d,), 0.3, dtype=torch.float64))
    phi = Compose([affine, Geodesic(GaussianKernel(1.0), controls, momenta=momenta)])
    save(path, phi, {"seed": 3, "versions": {"diffeo": "0.1.0"}, "parameters": {"loss": "varifold"}})
    return path
