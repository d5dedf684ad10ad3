"""How regular a map is on a grid: its smallest determinants, its folds, and whether its samples invert each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import Diffeo
from diffeo.grid import Grid
from diffeo.sampling import warp

NEAR = 1e-3  # of a step: as far beyond the border of a grid, a point is still on it


class Consistency(NamedTuple):
    """|φ(φ⁻¹(x)) − x| over the points of a grid, in length units."""

    mean: float
    max: float
    inside: float
    """The part of the points that φ⁻¹ takes into the other grid; the others cannot be judged, and are left out."""


def corner_determinants(phi: Diffeo, grid: Grid) -> Tensor:
    """For every point of a grid the smallest of the 2^d determinants of the one-sided differences of φ⁻¹.

    They are the determinants of the simplices that the grid's cells are made of: where all are positive, none is
    turned over. Central differences see no fold that alternates from point to point.

    Returns: shape grid.shape; 1 for a translation.
    """
    with torch.no_grad():
        u = phi.pullback(grid)
        return loops_for(u).corner_determinants(u)


def folds(determinants: Tensor) -> int:
    """How many determinants are not positive."""
    return int((~(determinants > 0)).sum())


def inverse_consistency(phi: Diffeo, fixed: Grid, moving: Grid) -> Consistency:
    """How far φ∘φ⁻¹ is from the identity when both are known by their samples, as they are in warp files.

    φ⁻¹ is taken at the points of the fixed grid, φ at those of the moving grid and linearly between them.

    Raises: ValueError if φ⁻¹ takes no point of the fixed grid into the moving one.
    """
    with torch.no_grad():
        there, back = phi.pullback(fixed), phi.deformation(moving)
        matrix, offset = moving.from_index_of(fixed)
        index = moving.to_index(fixed.displaced(there).double()).T
        last = torch.tensor(moving.shape, dtype=torch.float64, device=index.device)[:, None] - 1
        inside = ((index >= -NEAR) & (index <= last + NEAR)).all(0)
        if not bool(inside.any()):
            raise ValueError("the inverse map takes no point of the fixed grid into the moving grid.")
        forth = warp(back, matrix, offset, there).flatten(1)
        steps = fixed.linear.to(there) @ there.flatten(1) + moving.linear.to(there) @ forth
        error = steps.norm(dim=0)[inside].double()
    return Consistency(float(error.mean()), float(error.max()), float(inside.double().mean()))
