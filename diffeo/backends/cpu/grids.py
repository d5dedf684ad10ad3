"""The loops over grids, fused by Numba: nothing is stored but inputs and results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.backends.cpu import correlation, filters, interpolation, repair
from diffeo.backends.cpu.particles import share
from diffeo.backends.dense.grids import FLAT, indices
from diffeo.backends.grids import REACH, SWEEPS, Correlation, GridLoops

ROUNDING = 16  # units in the last place to which a displacement is inverted


class CPUGrids(GridLoops):
    """Float32 and float64 on the CPU, in one to three axes; on as many threads as torch uses."""

    def sample(self, values: Tensor, index: Tensor) -> Tensor:
        """One pass."""
        f, at = in_frame(values), three_rows(index)
        out = np.empty((len(f), at.shape[1]), f.dtype)
        share(lambda a, b: interpolation.sample(f, at, out, a, b), at.shape[1], out.size)
        return torch.from_numpy(out).reshape(len(values), *index.shape[1:])

    def sample_pull(
        self, values: Tensor, index: Tensor, cotangent: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """One pass for each; the gradient in the values, which is scattered, on one thread."""
        at, g = three_rows(index), plain(cotangent.flatten(1))
        in_values = in_index = None
        if needs[0]:
            scattered = np.zeros((len(values), *three_axes(values)), at.dtype)
            interpolation.pull_values(at, g, scattered)
            in_values = torch.from_numpy(scattered).reshape(values.shape)
        if needs[1]:
            f, out = in_frame(values), np.empty_like(at)
            share(lambda a, b: interpolation.pull_index(f, at, g, out, a, b), at.shape[1], out.size)
            in_index = torch.from_numpy(out[3 - len(index) :]).reshape(index.shape)
        return in_values, in_index

    def warp(self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor, add: Tensor | None = None) -> Tensor:
        """One pass; no positions are stored."""
        f, displacement = in_frame(values), in_three_axes(u, rows=3)
        more = in_three_axes(add) if add is not None else np.empty((0, 0, 0, 0), f.dtype)
        m, t = (x.astype(f.dtype) for x in three_by_three(matrix, offset))
        out = np.empty((len(f), *displacement.shape[1:]), f.dtype)
        over(lambda a, b: interpolation.warp(f, m, t, displacement, more, out, a, b), displacement.shape[1:])
        return torch.from_numpy(out).reshape(len(values), *u.shape[1:])

    def warp_pull(
        self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor, cotangent: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Those of `sample`, by the chain rule."""
        in_values, in_index = self.sample_pull(values, indices(matrix, offset, u), cotangent, needs)
        if in_index is None:
            return in_values, None
        return in_values, (matrix.detach().to(u).T @ in_index.flatten(1)).reshape(u.shape)

    def invert(self, u: Tensor, index: Tensor) -> Tensor:
        """Every point alone, in one pass."""
        displacement, at = in_frame(u, rows=3), three_rows(index)
        out = np.empty_like(at)
        rounding = at.dtype.type(ROUNDING * np.finfo(at.dtype).eps)
        share(lambda a, b: interpolation.invert(displacement, at, out, rounding, a, b), at.shape[1], 50 * out.size)
        return torch.from_numpy(out[3 - len(index) :]).reshape(index.shape)

    def convolve(self, values: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """One pass for each component."""
        f = in_three_axes(values)
        one = np.ones(1, f.dtype)
        kernels = [one] * (3 - len(taps)) + [plain(t.to(values)) for t in taps]
        first, second, third = kernels
        out = np.empty_like(f)
        for c in range(len(f)):
            over(lambda a, b, c=c: filters.separable(f[c], first, second, third, out[c], a, b), f.shape[1:])
        return torch.from_numpy(out).reshape(values.shape)

    def correlation(self, moved: Tensor, target: Tensor, weights: Tensor | None, radius: int) -> Correlation:
        """One pass over the slabs."""
        a, b = (in_three_axes((f - f.mean())[None])[0] for f in (moved, target))
        floors = np.array([max(FLAT * float(np.square(f).mean()), float(np.finfo(f.dtype).tiny)) for f in (a, b)])
        if weights is None:
            w = np.full((1, *a.shape[1:]), 1 / a.size, a.dtype)
        else:
            w = in_three_axes((weights / weights.sum()).to(moved)[None])[0]
        gradient, values = np.empty_like(a), np.empty(len(a))
        floors = floors.astype(a.dtype)
        over(lambda p, q: correlation.correlation(a, b, w, radius, floors, gradient, values, p, q), a.shape)
        return Correlation(moved.new_tensor(values.sum()), torch.from_numpy(gradient).reshape(moved.shape))

    def slopes(self, values: Tensor, weights: Tensor) -> Tensor:
        """One pass."""
        f, w = in_three_axes(values), in_three_axes(weights)
        out = np.empty((3, *f.shape[1:]), f.dtype)
        over(lambda a, b: filters.slopes(f, w, out, a, b), f.shape[1:])
        return torch.from_numpy(out[4 - values.ndim :]).reshape(-1, *values.shape[1:])

    def corner_determinants(self, u: Tensor, largest: bool = False) -> Tensor:
        """One pass."""
        f = in_three_axes(u, rows=3)
        out = np.empty(f.shape[1:], f.dtype)
        over(lambda a, b: repair.corner_determinants(f, out, largest, a, b), f.shape[1:])
        return torch.from_numpy(out).reshape(u.shape[1:])

    def repaired(self, u: Tensor, least: float) -> Tensor:
        """Sweeps over the bad points and their neighbors alone."""
        f = in_three_axes(u, rows=3).copy()
        bad = np.flatnonzero(self.corner_determinants(u).numpy() < least)
        repair.repair(f, f.dtype.type(least), REACH, SWEEPS, bad)
        return torch.from_numpy(f[3 - len(u) :]).reshape(u.shape)


def plain(x: Tensor) -> np.ndarray:
    """The tensor as a contiguous array."""
    return x.detach().contiguous().numpy()


def three_axes(values: Tensor) -> tuple[int, ...]:
    """The shape of the grid, with axes of one point before its own."""
    return (1,) * (4 - values.ndim) + tuple(values.shape[1:])


def in_frame(values: Tensor, rows: int | None = None) -> np.ndarray:
    """`in_three_axes`, with a frame of zeros around the grid."""
    f = in_three_axes(values, rows)
    if f[0].size > np.iinfo(np.int32).max // 2:
        raise ValueError(f"a grid of {f[0].size} points is too large for the fused loops: crop or shrink the image.")
    frame = interpolation.FRAME
    out = np.zeros((len(f), *(n + 2 * frame for n in f.shape[1:])), f.dtype)
    out[:, frame:-frame, frame:-frame, frame:-frame] = f
    return out


def in_three_axes(values: Tensor, rows: int | None = None) -> np.ndarray:
    """Values (c, *S) as an array (c, n0, n1, n2); with ``rows``, zero components are put before its own."""
    shape = three_axes(values)
    f = plain(values).reshape(len(values), *shape)
    if rows is None or len(f) == rows:
        return f
    return np.concatenate([np.zeros((rows - len(f), *shape), f.dtype), f])


def three_rows(index: Tensor) -> np.ndarray:
    """Indices (d, *T) as an array (3, n), with zeros for the axes before."""
    at = plain(index.flatten(1))
    return at if len(at) == 3 else np.concatenate([np.zeros((3 - len(at), at.shape[1]), at.dtype), at])


def three_by_three(matrix: Tensor, offset: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """An affine map of indices, in three axes."""
    d = len(offset)
    m, t = np.eye(3), np.zeros(3)
    m[3 - d :, 3 - d :], t[3 - d :] = matrix.detach().double().cpu().numpy(), offset.detach().double().cpu().numpy()
    return m, t


def over(work: Callable[[int, int], Any], shape: tuple[int, ...]) -> None:
    """``share`` for the slabs of an array."""
    share(work, shape[0], int(np.prod(shape)))
