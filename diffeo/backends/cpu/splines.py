"""Quadratic B-splines, fused by Numba."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.backends.cpu import spline_loops, spline_pulls
from diffeo.backends.cpu.grids import plain, three_axes, three_rows
from diffeo.backends.cpu.particles import share
from diffeo.backends.splines import SplineLoops


class CPUSplines(SplineLoops):
    """Float32 and float64 on the CPU, in one to three axes; what is scattered on one thread, the rest on many."""

    def spread(self, weights: Tensor, index: Tensor, shape: Sequence[int]) -> Tensor:
        """One pass for three components."""
        at, parts = three_rows(index), []
        for w in weights.split(3):
            out = empty_frame((*(1,) * (3 - len(shape)), *shape), at.dtype)
            spline_loops.spread(three_components(w), at, out)
            parts.append(cropped(out, len(w), shape))
        return together(parts)

    def read(self, coefficients: Tensor, index: Tensor) -> Tensor:
        """One pass for three components."""
        at, parts = three_rows(index), []
        for c in coefficients.split(3):
            f, out = in_frame(c), np.empty((3, at.shape[1]), at.dtype)
            over(lambda a, b, f=f, out=out: spline_loops.read(f, at, out, a, b), at)
            parts.append(torch.from_numpy(out[: len(c)]))
        return together(parts)

    def read_with_slope(self, coefficients: Tensor, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """One pass for three components; their slopes add up."""
        at, values, slopes = three_rows(index), [], []
        for c, w in zip(coefficients.split(3), weights.split(3), strict=True):
            f, m, out, slope = in_frame(c), three_components(w), np.empty((3, at.shape[1]), at.dtype), np.empty_like(at)
            arrays = f, at, m, out, slope
            over(lambda a, b, arrays=arrays: spline_loops.read_with_slope(*arrays, a, b), at)
            values.append(torch.from_numpy(out[: len(c)]))
            slopes.append(torch.from_numpy(slope[3 - len(index) :]))
        return together(values), sum(slopes[1:], slopes[0])

    def read_with_jacobian(self, coefficients: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """One pass for three components."""
        at, values, slopes = three_rows(index), [], []
        for c in coefficients.split(3):
            f, out, jacobian = in_frame(c), np.empty((3, at.shape[1]), at.dtype), np.empty((3, *at.shape), at.dtype)
            arrays = f, at, out, jacobian
            over(lambda a, b, arrays=arrays: spline_loops.read_with_jacobian(*arrays, a, b), at)
            values.append(torch.from_numpy(out[: len(c)]))
            slopes.append(torch.from_numpy(jacobian[: len(c), 3 - len(index) :]))
        return together(values), together(slopes)

    def pull(
        self, coefficients: Tensor, index: Tensor, weights: Tensor, in_value: Tensor, in_slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Two passes for three components: one scatters, the other does not."""
        at, b, found = three_rows(index), three_rows(in_slope), []
        for c, w, a in zip(coefficients.split(3), weights.split(3), in_value.split(3), strict=True):
            f, m, g = in_frame(c), three_components(w), three_components(a)
            in_c, in_x, in_m = np.zeros_like(f), np.empty_like(at), np.empty_like(m)
            spline_pulls.pull_coefficients(at, m, g, b, in_c)
            arrays = f, at, m, g, b, in_x, in_m
            over(lambda p, q, arrays=arrays: spline_pulls.pull_index(*arrays, p, q), at)
            in_rows = torch.from_numpy(in_x[3 - len(index) :])
            found.append((cropped(in_c, len(c), c.shape[1:]), in_rows, torch.from_numpy(in_m[: len(c)])))
        of_c, of_x, of_m = ([part[k] for part in found] for k in range(3))
        return together(of_c), sum(of_x[1:], of_x[0]), together(of_m)


def three_components(values: Tensor) -> np.ndarray:
    """The array with components of zeros behind its own, up to three."""
    f = plain(values)
    return f if len(f) == 3 else np.concatenate([f, np.zeros((3 - len(f), *f.shape[1:]), f.dtype)])


def empty_frame(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Zeros for three components on a grid of three axes, and around it.

    Raises: ValueError for more points than the loops can count.
    """
    framed = [n + 2 * spline_loops.FRAME for n in shape]
    if np.prod(framed) > np.iinfo(np.int32).max:
        raise ValueError(
            f"a mesh of {' × '.join(map(str, shape))} points is too large for the fused loops: coarsen it."
        )
    return np.zeros((3, *framed), dtype)


def in_frame(values: Tensor) -> np.ndarray:
    """Up to three components, framed."""
    shape, frame = three_axes(values), spline_loops.FRAME
    f = plain(values)
    out = empty_frame(shape, f.dtype)
    out[: len(f), frame:-frame, frame:-frame, frame:-frame] = f.reshape(len(f), *shape)
    return out


def cropped(framed: np.ndarray, count: int, shape: Sequence[int]) -> Tensor:
    """The first components without the frame, in their own axes."""
    frame = spline_loops.FRAME
    inner = np.ascontiguousarray(framed[:count, frame:-frame, frame:-frame, frame:-frame])
    return torch.from_numpy(inner).reshape(count, *shape)


def together(parts: list[Tensor]) -> Tensor:
    """All components."""
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def over(work: Callable[[int, int], Any], at: np.ndarray) -> None:
    """``share`` for positions."""
    share(work, at.shape[1], 27 * at.shape[1])
