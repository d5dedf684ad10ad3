"""Whole registrations of the two hippocampi, with no flags, against KeOps-LDDMM and trimesh's non-rigid ICP.

CPU seconds, imports and compilation apart. Distances are from vertices to triangles, both ways, in the data's units;
p95 is that of the worse way.
Targets at 1654: mean 0.12, p95 0.35, max 0.85, no face turned, 3 pairs of faces crossing, 8 CPU-s.
Targets at 662: mean 0.15, p95 0.40, max 0.80, 4 CPU-s.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import diffeo
from diffeo.diagnostics import crossing_pairs, distances, turned
from diffeo.shapes import Mesh
from tests.benchmarks import fresh
from tests.benchmarks import surfaces_peers as peers
from tests.benchmarks.measure import Timing, once, table

Method = Callable[[Mesh, Mesh], Tensor]
DATA = Path(__file__).parents[3] / "shared" / "data"
HEADER = ["n", "mean", "p95", "max", "turned", "crossing", "CPU s", "ratio"]


def ours(source: Mesh, target: Mesh) -> Tensor:
    return diffeo.register(source, target).moved.x


METHODS: dict[str, Method] = {
    "diffeo": ours,
    "KeOps-LDDMM": peers.keops_lddmm,
    "nricp_amberg": peers.amberg,
    "nricp_amberg, stiff": peers.amberg_stiff,
}
WARM_UP: dict[str, Method] = {"diffeo": ours, "KeOps-LDDMM": peers.keops_compile}


def figures(name: str, source: Mesh, target: Mesh, timing: Timing | None, first: float) -> list[str]:
    """A row: how well the result fits, what it broke, what it cost and how many times what diffeo takes."""
    moved = source if timing is None else source.with_positions(timing.result)
    d = torch.stack([distances(moved, target), distances(target, moved)])
    distance = [float(d.mean()), float(d.quantile(0.95, dim=1).max()), float(d.max())]
    broken = [int(turned(source, moved).sum()), len(crossing_pairs(moved))]
    cost = ["", ""] if timing is None else [f"{timing.cpu:.1f}", f"{timing.cpu / first:.1f}"]
    return [f"{len(source.x)} {name}", *(f"{value:.3f}" for value in distance), *map(str, broken), *cost]


def compare(source: Mesh, target: Mesh, names: list[str]) -> list[list[str]]:
    """Every method once on one pair, after a run that compiles."""
    timings: dict[str, Timing] = {}
    for name in names:
        if name in WARM_UP:
            print(f"  {len(source.x)} {name}, compilation: {compilation(name, source, target):.1f} s", flush=True)
        timings[name] = once(lambda method=METHODS[name]: method(source, target))
    first = timings[names[0]].cpu
    rows = [figures("before", source, target, None, first)]
    return rows + [figures(name, source, target, timing, first) for name, timing in timings.items()]


def compilation(name: str, source: Mesh, target: Mesh) -> float:
    """What the first run takes longer than the second."""
    first, second = (once(lambda: WARM_UP[name](source, target)) for _ in range(2))
    return max(first.wall - second.wall, 0.0)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.benchmarks surfaces", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("DIFFEO_DATA", DATA), help="holds meshes/hippo_…")
    parser.add_argument("--sizes", type=int, nargs="+", default=[662, 1654])
    parser.add_argument("--peers", nargs="*", default=list(METHODS)[1:], choices=list(METHODS)[1:])
    return parser.parse_args(arguments)


def pair(folder: Path, n: int) -> tuple[Mesh, Mesh] | None:
    """The hippocampi with n vertices in float32, or None where the data are not there."""
    files = [folder / "meshes" / f"hippo_{side}_{n:04d}.ply" for side in ("source", "target")]
    if not all(file.exists() for file in files):
        print(f"skipped at n = {n}: {files[0]} is not there; name the folder with --data or DIFFEO_DATA.")
        return None
    source, target = (diffeo.read(file) for file in files)
    assert isinstance(source, Mesh)
    assert isinstance(target, Mesh)
    return source, target


def main(arguments: list[str]) -> None:
    chosen = options(arguments)
    print(f"registration of surfaces, {torch.get_num_threads()} thread(s)", flush=True)
    rows: list[list[str]] = []
    fresh.scratch("KEOPS_CACHE_FOLDER")  # compiled anew, so that its price is known
    for n in chosen.sizes:
        if (meshes := pair(Path(chosen.data), n)) is not None:
            rows += compare(*meshes, ["diffeo", *chosen.peers])
    if rows:
        print(table(HEADER, rows))
