"""From a map to the displacement of its inverse as ITK has it, and back."""

from __future__ import annotations

import numpy as np
import torch

from diffeo.core import Diffeo
from diffeo.flows import Warp
from diffeo.grid import Grid
from diffeo.io.geometry import Array
from diffeo.io.nifti import DISPLACEMENT
from diffeo.io.raster import Raster, half_turn


def displacement(phi: Diffeo, grid: Grid, pixels: bool) -> Raster:
    """φ⁻¹(x) − x on a grid, d channels: the components in LPS millimeters, or in pixels.

    Raises: ArithmeticError if it is not finite everywhere.
    """
    with torch.no_grad():
        u = phi.pullback(grid).detach().cpu()
    if not bool(u.sum(dtype=torch.float64).isfinite()):
        raise ArithmeticError("the map sends a part of the grid to infinity or NaN.")
    v = torch.tensordot(grid.linear.to(u), u, 1).numpy()
    return Raster(v if pixels else turned(v), grid.affine.numpy(), pixels)


def warp(raster: Raster, dtype: torch.dtype) -> Warp:
    """The inverse of `displacement`. Raises ValueError unless there is a vector for every point."""
    d, channels = raster.dim, len(raster.values)
    if channels != d:
        raise ValueError(f"it is not a warp: it has {channels} values per voxel, and a warp of {d} axes has {d}")
    v = raster.values.astype(np.float64)
    if raster.attributes.get("intent") == DISPLACEMENT:
        v = turned(v)  # by the NIfTI standard these are in RAS, and ITK has taken them for such since 5.3
    v = torch.from_numpy(np.ascontiguousarray(v if raster.pixels else turned(v)))
    grid = Grid(v.shape[1:], torch.from_numpy(raster.affine))
    return Warp(grid, torch.tensordot(torch.linalg.inv(grid.linear), v, 1).to(dtype))


def turned(v: Array) -> Array:
    """Vectors, shape (d, …), from RAS to LPS or back."""
    d = len(v)
    return np.tensordot(half_turn(d)[:d, :d].astype(v.dtype), v, 1)
