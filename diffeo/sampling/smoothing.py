"""Gaussian smoothing and anti-aliased shrinking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.dense.grids import DenseGrids
from diffeo.backends.grids import loops_for

REACH = 3.0  # standard deviations at which a Gaussian's taps end


def gaussian_taps(sigma: float) -> Tensor:
    """Samples of a Gaussian of standard deviation sigma (in steps), of odd length and sum 1; a single 1 for sigma 0."""
    radius = math.ceil(REACH * sigma)
    if radius == 0:
        return torch.ones(1, dtype=torch.float64)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    taps = torch.exp(-0.5 * (x / sigma) ** 2)
    return taps / taps.sum()


def gaussian_smooth(values: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Convolution with a Gaussian; the values are 0 outside of the grid.

    Args:
        values: shape (c, *S).
        sigmas: standard deviation along each axis, in steps of the grid.

    Returns: shape (c, *S); differentiable, and self-adjoint.
    """
    return convolve(values, [gaussian_taps(s) for s in sigmas])


def convolve(values: Tensor, taps: Sequence[Tensor]) -> Tensor:
    """Convolution with symmetric taps of odd length, one tensor per axis; the values, (c, *S), are 0 outside."""
    return _Convolve.apply(values, list(taps))


def shrink(values: Tensor, factors: Sequence[int], background: float = 0.0) -> Tensor:
    """Values on `Grid.shrunk(factors)`: smoothed, then averaged over blocks, so that nothing is aliased.

    Args:
        values: shape (c, *S).
        factors: points per block along each axis.
        background: what the values are outside of the grid.
    """
    factors = [min(n, k) for n, k in zip(values.shape[1:], factors, strict=True)]
    if all(k == 1 for k in factors):
        return values
    smooth = gaussian_smooth(values - background, [0.25 * k if k > 1 else 0.0 for k in factors])
    for axis, k in enumerate(factors, start=1):
        if k > 1:
            blocks = smooth.narrow(axis, 0, smooth.shape[axis] // k * k).unflatten(axis, (-1, k))
            smooth = blocks.mean(axis + 1)
    return smooth + background


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, taps: list[Tensor]) -> Tensor:
        ctx.taps = taps
        return loops_for(values).convolve(values, taps)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (g,) = cotangents
        if torch.is_grad_enabled():
            return DenseGrids().convolve(g, ctx.taps), None
        return loops_for(g).convolve(g, ctx.taps), None
