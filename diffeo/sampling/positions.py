"""Positions as indices of a grid."""

from __future__ import annotations

from torch import Tensor

from diffeo.grid import Grid


def index_rows(grid: Grid, x: Tensor, values: Tensor) -> Tensor:
    """Indices of positions, shape (d, n), as `sample` takes them.

    Args:
        grid: of d axes.
        x: positions, shape (n, d).
        values: what is to be sampled: positions have its dtype and device.

    Raises: ValueError if these do not fit together.
    """
    if x.ndim != 2 or x.shape[1] != grid.dim:
        raise ValueError(f"a grid of {grid.dim} axes takes positions of shape (n, {grid.dim}), not {tuple(x.shape)}.")
    if x.dtype != values.dtype or x.device != values.device:
        raise ValueError(
            f"positions have the dtype and device of what is sampled, {values.dtype} on {values.device}, and got "
            f"{x.dtype} on {x.device}: convert one with .to()."
        )
    return grid.to_index(x).T.contiguous()
