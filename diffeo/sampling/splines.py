"""Quadratic splines as differentiable functions: the fused loops with their derivatives.

A second derivative (``create_graph=True``) goes through torch, which differentiates to any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.dense.splines import DenseSplines
from diffeo.backends.splines import SplineLoops, spline_loops_for


def spread(weights: Tensor, index: Tensor, shape: Sequence[int]) -> Tensor:
    """Σ_n w_n β(· − x_n) on a grid, β being the quadratic B-spline: the transpose of `read`.

    Args:
        weights: w, shape (c, n).
        index: x, in indices of the grid, shape (d, n).
        shape: of the grid, d numbers.

    Returns: shape (c, *shape); differentiable in both.
    """
    return _Spread.apply(weights, index, tuple(shape))


def read(coefficients: Tensor, index: Tensor) -> Tensor:
    """The spline Σ_i c_i β(x − i), 0 beyond the grid.

    Args:
        coefficients: c, shape (c, *S), S having d axes; see `coefficients`.
        index: x, in indices of the grid S, shape (d, n).

    Returns: shape (c, n); differentiable in both.
    """
    return _Read.apply(coefficients, index)


def read_with_slope(coefficients: Tensor, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """`read`, shape (c, n), and the gradient in x of w·s(x), shape (d, n), for weights w, shape (c, n).

    Differentiable in all three.
    """
    return _ReadWithSlope.apply(coefficients, index, weights)


def read_with_jacobian(coefficients: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """`read`, shape (c, n), and its derivative in the index, shape (c, d, n); differentiable in both."""
    if not (torch.is_grad_enabled() and (coefficients.requires_grad or index.requires_grad)):
        return spline_loops_for(coefficients).read_with_jacobian(coefficients, index)
    one = torch.ones_like(index[:1])
    values, slopes = zip(*(read_with_slope(c[None], index, one) for c in coefficients), strict=True)
    return torch.cat(values), torch.stack(slopes)


def _loops(values: Tensor) -> SplineLoops:
    return DenseSplines() if torch.is_grad_enabled() else spline_loops_for(values)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, index: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(weights, index)
        return spline_loops_for(weights).spread(weights, index, shape)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        weights, index = ctx.saved_tensors
        return *_loops(weights).read_with_slope(cotangents[0], index, weights), None


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(coefficients, index)
        return spline_loops_for(coefficients).read(coefficients, index)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (coefficients, index), (g,) = ctx.saved_tensors, cotangents
        loops = _loops(coefficients)
        in_coefficients = loops.spread(g, index, coefficients.shape[1:]) if ctx.needs_input_grad[0] else None
        return in_coefficients, loops.read_with_slope(coefficients, index, g)[1] if ctx.needs_input_grad[1] else None


class _ReadWithSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, index: Tensor, weights: Tensor) -> Any:
        ctx.save_for_backward(coefficients, index, weights)
        return spline_loops_for(coefficients).read_with_slope(coefficients, index, weights)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return _loops(cotangents[0]).pull(*ctx.saved_tensors, *cotangents)


def symbol(shape: Sequence[int]) -> Tensor:
    """The Fourier transform of β at whole numbers, periodic in a grid, as `torch.fft.rfftn` orders it; float64."""
    total = torch.ones((), dtype=torch.float64)
    for axis, n in enumerate(shape):
        last = axis == len(shape) - 1
        f = torch.fft.rfftfreq(n, dtype=torch.float64) if last else torch.fft.fftfreq(n, dtype=torch.float64)
        along = (3 + torch.cos(2 * math.pi * f)) / 4 if n > 1 else torch.ones_like(f)
        total = total[..., None] * along
    return total


def bumps(x: Tensor, n: int) -> Tensor:
    """β(x − k) for k = 0 … n − 1, shape (len(x), n): the matrix from coefficients along an axis to values at x."""
    if n == 1:
        return torch.ones(len(x), 1, dtype=x.dtype, device=x.device)
    t = (x[:, None] - torch.arange(n, dtype=x.dtype, device=x.device)).abs()
    return torch.where(t < 0.5, 0.75 - t.square(), 0.5 * (1.5 - t).clamp(min=0).square())
