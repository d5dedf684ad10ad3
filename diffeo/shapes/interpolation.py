"""How the values of an image are found between the points of its grid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from diffeo.backends.dense.grids import indices
from diffeo.sampling import warp

SLAB = 500_000  # points that are looked up at a time, so that their indices need little memory
TIE = 1e-4  # of a step: how near to the middle between two points rounding errors must not decide
REACH = 12  # points: a cubic spline feels a value at this distance by 0.27¹² < 2e-7 of it


class Interpolation(ABC):
    """How values are found between the points of a grid."""

    @abstractmethod
    def __call__(self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor) -> Tensor:
        """Values, shape (c, *S), at matrix·(i + u(i)) + offset, shape (c, *T), for the indices i of T; 0 outside.

        Args:
            values: shape (c, *S), S having d axes.
            matrix, offset: shapes (d, d) and (d,): from indices of T to indices of S, as `Grid.from_index_of` gives.
            u: displacement in steps of T, shape (d, *T).
        """


@dataclass(frozen=True)
class Linear(Interpolation):
    """Multilinear: the default, differentiable."""

    def __call__(self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor) -> Tensor:
        """`diffeo.sampling.warp`."""
        return warp(values, matrix, offset, u)


@dataclass(frozen=True)
class Nearest(Interpolation):
    """The value of the nearest point, exactly: for labels. Its derivative in u is 0.

    In the middle between two points it is that of the lower index: which one must not depend on rounding, or a label
    map on a grid half a step aside becomes speckled.
    """

    def __call__(self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor) -> Tensor:
        """The values are only copied; a point is outside from half a step beyond the border."""
        return torch.cat([_nearest(values, where) for where in _slabs(matrix, offset, u.detach())], 1)


@dataclass(frozen=True)
class Cubic(Interpolation):
    """Cubic B-splines through the values: sharper than `Linear`, overshoots at edges, not differentiable."""

    def __call__(self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor) -> Tensor:
        """Splines of `scipy.ndimage`, of the image continued by 0.

        Raises: ValueError where a gradient is asked for.
        """
        if torch.is_grad_enabled() and (values.requires_grad or u.requires_grad):
            raise ValueError("Cubic interpolation has no gradient: use Linear() here, and Cubic() for the result.")
        where = [w.cpu().numpy() + REACH for w in _slabs(matrix, offset, u)]
        channels = [_splines(channel, where) for channel in values.detach().cpu().numpy()]
        return torch.stack([torch.from_numpy(channel) for channel in channels]).to(values)


def _slabs(matrix: Tensor, offset: Tensor, u: Tensor) -> Iterator[Tensor]:
    """Where the values are looked up, (d, k, *T[1:]) for k rows of the first axis at a time."""
    rows = max(1, SLAB // max(1, u[0, 0].numel()))
    for start in range(0, u.shape[1], rows):
        yield indices(matrix, offset + matrix[:, 0] * start, u[:, start : start + rows])


def _nearest(values: Tensor, where: Tensor) -> Tensor:
    """The values, shape (c, *S), at the whole numbers nearest to ``where``, shape (d, *T)."""
    shape = values.shape[1:]
    inside = torch.ones_like(where[0], dtype=torch.bool)
    at = torch.zeros_like(where[0], dtype=torch.int64)
    for n, index in zip(shape, where, strict=True):
        whole = (index + (0.5 - TIE)).floor()
        inside &= (whole >= 0) & (whole < n)  # false for NaN
        at = at * n + whole.nan_to_num(nan=0.0).clamp(0, n - 1).long()
    return torch.where(inside, values.flatten(1)[:, at], 0)


def _splines(channel: np.ndarray, where: list[np.ndarray]) -> np.ndarray:
    """One channel, shape S, at positions counted from the corner of its padded version."""
    spline = ndimage.spline_filter(np.pad(channel, REACH), order=3)
    return np.concatenate(
        [ndimage.map_coordinates(spline, w, channel.dtype, 3, "grid-constant", prefilter=False) for w in where]
    )
