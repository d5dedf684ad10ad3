"""Sums over the points of a grid, v_i = Σ_j k(x_i − x_j) m_j: in Fourier space, or with a few taps per axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from diffeo.grid import Grid
from diffeo.kernels.algebra import Radial, ScaledKernel, SumKernel
from diffeo.kernels.radial import GaussianKernel
from diffeo.kernels.spectral import GridKernel
from diffeo.sampling.smoothing import REACH, convolve

WIDEST = 4.0  # steps: for wider Gaussians Fourier transforms are faster


def summed(kernel: Radial, grid: Grid) -> Callable[[Tensor], Tensor]:
    """The operator m ↦ Σ_j k(· − x_j) m_j on functions (c, *grid.shape): self-adjoint, without a volume element.

    A Gaussian that is no wider than a few steps is a product of short filters along the axes, if these are orthogonal.
    """
    if isinstance(kernel, SumKernel):
        return partial(_total, [summed(term, grid) for term in kernel.terms])
    if isinstance(kernel, ScaledKernel):
        return partial(_multiple, kernel.weight, summed(kernel.kernel, grid))
    if isinstance(kernel, GaussianKernel) and orthogonal(grid) and kernel.scale <= WIDEST * min(grid.spacing):
        return partial(convolve, taps=[sampled_gaussian(kernel.scale / step) for step in grid.spacing])
    return partial(_multiplied, GridKernel(kernel, grid))


# not lambdas: what has them cannot be pickled


def _total(terms: Sequence[Callable[[Tensor], Tensor]], m: Tensor) -> Tensor:
    return torch.stack([term(m) for term in terms]).sum(0)


def _multiple(weight: float, term: Callable[[Tensor], Tensor], m: Tensor) -> Tensor:
    return weight * term(m)


def _multiplied(kernel: GridKernel, m: Tensor) -> Tensor:
    return kernel.apply(m) / kernel.grid.cell


def orthogonal(grid: Grid) -> bool:
    """Whether the axes of a grid are at right angles."""
    gram = grid.linear.T @ grid.linear
    return bool((gram - torch.diag(gram.diagonal())).abs().max() < 1e-6 * gram.diagonal().min())


def sampled_gaussian(sigma: float) -> Tensor:
    """exp(−t²/2σ²) at whole t up to three σ: the kernel between points of a line, σ in steps."""
    radius = max(1, math.ceil(REACH * sigma))
    t = torch.arange(-radius, radius + 1, dtype=torch.float64)
    return torch.exp(-0.5 * (t / sigma) ** 2)
