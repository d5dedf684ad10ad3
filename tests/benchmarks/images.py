"""Whole registrations of two brain pairs and one pair of slices, with no flags, against ITK's diffeomorphic demons.

CPU seconds, warm, files apart. Dice is the mean over labels 1..32, carried by nearest neighbor; "error" the mean
squared difference, relative to what it was; "corner" the smallest one-sided determinant of φ⁻¹ over the voxels,
"inverse" the mean of |φ(φ⁻¹(x)) − x|, both sampled, in millimeters or pixels.
Where ANTsPy is installed, its SyN stands beside.
Targets (NIREP, 2 mm, onto na01): Dice 0.69 from na02 and 0.665 from na03, corner 0.05, inverse 0.2 mm, 10 CPU-s;
geodesic: Dice 0.62, drift below 1 %, 60 CPU-s. Slices r64 → r16: error 0.015 of what it was, det < 7, 5 CPU-s.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import torch

import diffeo
from diffeo.core import Diffeo
from diffeo.diagnostics import corner_determinants, inverse_consistency, overlap
from diffeo.shapes import Image, Nearest
from tests.benchmarks import images_peers as peers
from tests.benchmarks.measure import Timing, once, table

DATA = Path(__file__).parents[3] / "shared" / "data"
LABELS = range(1, 33)
HEADER = ["pair", "Dice", "error", "corner", "inverse", "CPU s", "ratio"]


def ours(model: type[Diffeo]) -> Callable[[Image, Image], Diffeo]:
    """With no option but the model; the slices, which are compared by squared differences, are registered by them."""

    def run(moving: Image, fixed: Image) -> Diffeo:
        loss = diffeo.SSDLoss() if fixed.grid.dim == 2 else None
        return diffeo.register(moving, fixed, model=model, loss=loss).phi

    return run


METHODS: dict[str, Callable[[Image, Image], Diffeo]] = {
    "diffeo": ours(diffeo.Descent),
    "diffeo, geodesic": ours(diffeo.Geodesic),
    "demons": peers.demons,
    "SyN": peers.syn,
}


def error(moved: Image, fixed: Image) -> float:
    """The mean squared difference."""
    return float((moved.values - fixed.values).square().mean())


def figures(name: str, pair: Pair, timing: Timing | None, first: float) -> list[str]:
    """A row: how well the labels and the intensities match, how regular the map is, what it cost."""
    moving, fixed = pair.moving, pair.fixed
    still = diffeo.Affine(torch.eye(fixed.grid.dim), torch.zeros(fixed.grid.dim))
    phi = still if timing is None else timing.result
    moved, before = phi @ moving.on(fixed.grid), still @ moving.on(fixed.grid)
    dice = ""
    if pair.labels is not None:
        labels = dataclasses.replace(pair.labels[0], interpolation=Nearest()).on(fixed.grid)
        found = overlap(pair.labels[1], phi @ labels, LABELS)
        dice = f"{sum(label.dice for label in found.labels) / len(found.labels):.3f}"
    corner = float(corner_determinants(phi, fixed.grid).min())
    inverse = inverse_consistency(phi, fixed.grid, moving.grid).mean
    cost = ["", ""] if timing is None else [f"{timing.cpu:.1f}", f"{timing.cpu / first:.1f}"]
    relative = error(moved, fixed) / error(before, fixed)
    return [f"{pair.name} {name}", dice, f"{relative:.4f}", f"{corner:.3f}", f"{inverse:.3f}", *cost]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images, with labels where there are some."""

    name: str
    moving: Image
    fixed: Image
    labels: tuple[Image, Image] | None = None


def brains(folder: Path, moving: str) -> Pair | None:
    """A NIREP pair, or None where the data are not there."""
    names = [folder / "images3d" / f"{who}{what}_2mm.nii.gz" for what in ("", "_seg") for who in (moving, "na01")]
    if not all(file.exists() for file in names):
        print(f"skipped: {names[0]} is not there; name the folder with --data or DIFFEO_DATA.")
        return None
    a, b, c, d = (diffeo.read(file) for file in names)
    return Pair(f"{moving} → na01", a, b, (c, d))


def slices(folder: Path) -> Pair | None:
    """r64 → r16, or None."""
    files = [folder / "images2d" / f"{name}slice.jpg" for name in ("r64", "r16")]
    return Pair("r64 → r16", *(diffeo.read(f) for f in files)) if all(f.exists() for f in files) else None


def compare(pair: Pair, names: list[str]) -> list[list[str]]:
    """Every method on one pair, after a run that compiles and fills caches."""
    timings: dict[str, Timing] = {}
    for name in names:
        method = METHODS[name]
        if name == "diffeo":
            once(lambda method=method: method(pair.moving, pair.fixed))
        timings[name] = once(lambda method=method: method(pair.moving, pair.fixed))
    first = timings[names[0]].cpu
    rows = [figures("before", pair, None, first)]
    return rows + [figures(name, pair, timing, first) for name, timing in timings.items()]


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.benchmarks images", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("DIFFEO_DATA", DATA), help="holds images3d/…")
    parser.add_argument("--pairs", nargs="+", default=["na02", "na03", "slices"])
    parser.add_argument(
        "--peers", nargs="*", default=["diffeo, geodesic", *peers.available()], choices=list(METHODS)[1:]
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    chosen = options(arguments)
    print(f"registration of images, {torch.get_num_threads()} thread(s)", flush=True)
    rows: list[list[str]] = []
    for name in chosen.pairs:
        folder = Path(chosen.data)
        pair = slices(folder) if name == "slices" else brains(folder, name)
        if pair is not None:
            rows += compare(pair, ["diffeo", *chosen.peers])
    if rows:
        print(table(HEADER, rows))
