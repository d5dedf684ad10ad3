"""Grids for tests of images."""

from __future__ import annotations

import torch

from diffeo.grid import Grid


def grid_of(*shape: int, affine: torch.Tensor | None = None) -> Grid:
    """A grid with steps of length 1 from the origin, or with an affine of its own."""
    return Grid(shape, torch.eye(len(shape) + 1, dtype=torch.float64) if affine is None else affine)
