"""How regular a map is on a grid: its smallest determinants, its folds, and whether its samples invert each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import CHUNK, Diffeo
from diffeo.grid import Grid
from diffeo.sampling import sample

SLABS, THICKNESS = 3, 4  # of a large grid: how many are looked at, and how thick they are at least
NEAR = 1e-3  # of a step: as far beyond the border of a grid, a point is still on it


class Consistency(NamedTuple):
    """|φ(φ⁻¹(x)) − x| over the points of a grid, in length units."""

    mean: float
    max: float
    inside: float
    """The part of the points that were judged: those that φ⁻¹ takes to where φ is known."""


def corner_determinants(phi: Diffeo, grid: Grid, largest: bool = False) -> Tensor:
    """For every point of a grid the smallest, or the largest, of the 2^d determinants of one-sided differences of φ⁻¹.

    They are the determinants of the simplices that the grid's cells are made of: where all are positive, none is
    turned over. Central differences see no fold that alternates from point to point.

    Returns: shape grid.shape; 1 for a translation.
    """
    with torch.no_grad():
        u = phi.pullback(grid)
        return loops_for(u).corner_determinants(u, largest)


def folds(determinants: Tensor) -> int:
    """How many determinants are not positive."""
    return int((~(determinants > 0)).sum())


def inverse_consistency(phi: Diffeo, fixed: Grid, moving: Grid, points: int | None = None) -> Consistency:
    """How far φ∘φ⁻¹ is from the identity when both are known by their samples, as they are in warp files.

    φ⁻¹ is taken at the points of the fixed grid, φ at those of the moving grid and linearly between them.

    Args:
        phi: the map.
        fixed, moving: the grids.
        points: where the moving grid has more, a few slabs of it, evenly spaced, are looked at instead of the whole.

    Raises: ValueError if φ⁻¹ takes no point of the fixed grid there.
    """
    with torch.no_grad():
        known = [(first, slab, phi.deformation(slab)) for first, slab in _looked_at(moving, points)]
        parts = fixed.slabs(CHUNK)
        found: list[Tensor] = []
        for part, u in zip(parts, phi.pullback(fixed).split([part.shape[0] for part in parts], 1), strict=True):
            there = moving.to_index(part.displaced(u).double()).T
            found += [_errors(fixed.linear, u.flatten(1), there, *one) for one in known]
    errors = torch.cat(found)
    if not len(errors):
        raise ValueError("the inverse map takes no point of the fixed grid into the moving grid.")
    return Consistency(float(errors.mean()), float(errors.max()), len(errors) / fixed.size)


def _looked_at(grid: Grid, points: int | None) -> list[tuple[int, Grid]]:
    """The grid, or slabs of it with about so many points together; each with the first index that it holds."""
    if points is None or grid.size <= points or grid.shape[0] < SLABS * THICKNESS:
        return [(0, grid)]
    n, rest = grid.shape[0], list(grid.shape[1:])
    thickness = min(n // SLABS, max(THICKNESS, points * n // grid.size // SLABS))
    starts = [round((k + 0.5) * n / SLABS - thickness / 2) for k in range(SLABS)]
    return [(start, grid.box([start] + [0] * len(rest), [start + thickness, *rest])) for start in starts]


def _errors(linear: Tensor, u: Tensor, there: Tensor, first: int, slab: Grid, ahead: Tensor) -> Tensor:
    """|φ(φ⁻¹(x)) − x| for the points x that go to a slab of the moving grid.

    Args:
        linear: the steps of the fixed grid.
        u: those that the points go by φ⁻¹, shape (d, n).
        there: where they arrive, in indices of the whole moving grid, shape (d, n), float64.
        first: the index of the slab's first points.
        slab: where φ is known.
        ahead: the steps that its points go by φ.
    """
    inside = torch.ones_like(there[0], dtype=torch.bool)
    for axis, (row, n) in enumerate(zip(there, slab.shape, strict=True)):
        low = 0 if axis else first
        inside &= (row >= low - NEAR) & (row <= low + n - 1 + NEAR)
    index = there[:, inside]
    index[0] -= first
    back = sample(ahead, index.to(ahead))
    return (linear.to(u) @ u[:, inside] + slab.linear.to(u) @ back.to(u)).norm(dim=0).double()
