"""Sums over the points of a grid, v_i = Σ_j k(x_i − x_j) m_j: axis by axis, or in Fourier space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from diffeo.grid import Grid
from diffeo.kernels.algebra import Radial, ScaledKernel, SumKernel
from diffeo.kernels.radial import GaussianKernel
from diffeo.kernels.spectral import fast_length
from diffeo.sampling.smoothing import REACH, convolve

WIDEST = 4.0  # steps: wider Gaussians have so many taps that whole matrices are as fast, and nothing is cut off
SMALL = 0.01  # of k(0): what may come from beyond the border, where sums are periodic


def summed(kernel: Radial, grid: Grid) -> Callable[[Tensor], Tensor]:
    """The operator m ↦ Σ_j k(· − x_j) m_j on functions (c, *grid.shape): self-adjoint, without a volume element.

    Where the axes are orthogonal, a Gaussian is a product along them: of short filters, if it is no wider than a few
    steps. Every other kernel is sampled and multiplies in Fourier space, on a box with room for the whole of it.
    """
    if isinstance(kernel, SumKernel):
        return partial(_total, [summed(term, grid) for term in kernel.terms])
    if isinstance(kernel, ScaledKernel):
        return partial(_multiple, kernel.weight, summed(kernel.kernel, grid))
    if isinstance(kernel, GaussianKernel) and orthogonal(grid):
        if kernel.scale <= WIDEST * min(grid.spacing):
            return partial(convolve, taps=[sampled_gaussian(kernel.scale / step) for step in grid.spacing])
        steps = zip(grid.shape, grid.spacing, strict=True)
        return partial(_along_axes, [gaussian_matrix(n, kernel.scale / step) for n, step in steps])
    return Multiplier(kernel, grid)


# not lambdas: what has them cannot be pickled


def _total(terms: Sequence[Callable[[Tensor], Tensor]], m: Tensor) -> Tensor:
    return torch.stack([term(m) for term in terms]).sum(0)


def _multiple(weight: float, term: Callable[[Tensor], Tensor], m: Tensor) -> Tensor:
    return weight * term(m)


def _along_axes(matrices: Sequence[Tensor], m: Tensor) -> Tensor:
    for axis, matrix in enumerate(matrices, start=1):
        m = (m.movedim(axis, -1) @ matrix.to(m)).movedim(-1, axis)
    return m.contiguous()


class Multiplier:
    """The sum over the points of a grid as a multiplication in Fourier space, by the transform of k itself.

    The box is periodic, and larger than the grid: by twice, or by the distance at which the kernel is `SMALL`.
    """

    def __init__(self, kernel: Radial, grid: Grid) -> None:
        self.kernel, self.shape = kernel, grid.shape
        gaps = [self._reach(n, step) for n, step in zip(grid.shape, grid.spacing, strict=True)]
        self.box = tuple(fast_length(n + gap) for n, gap in zip(grid.shape, gaps, strict=True))
        axes = [(torch.fft.fftfreq(n, dtype=torch.float64) * n).round() for n in self.box]
        steps = torch.meshgrid(*axes, indexing="ij")
        x = [sum(a * step for a, step in zip(row, steps, strict=True)) for row in grid.linear.tolist()]
        sampled = kernel.jet(torch.stack([torch.as_tensor(c).square() for c in x]).sum(0))[0]
        self._multiplier = torch.fft.rfftn(sampled).real.contiguous()
        self._like: dict[Any, Tensor] = {}

    def _reach(self, n: int, step: float) -> int:
        """Steps along an axis of n points at which the kernel is not small."""
        line = self.kernel.jet((step * torch.arange(1, n, dtype=torch.float64)) ** 2)[0]
        return int((line > SMALL * self.kernel.at_zero).sum())

    def __call__(self, m: Tensor) -> Tensor:
        """Σ_j k(· − x_j) m_j, shape (c, *grid.shape), for m of that shape."""
        key, axes = (m.dtype, m.device), tuple(range(1, m.ndim))
        if key not in self._like:
            self._like[key] = self._multiplier.to(m)
        product = torch.fft.rfftn(m, s=self.box, dim=axes) * self._like[key]
        within = tuple(slice(n) for n in self.shape)
        return torch.fft.irfftn(product, s=self.box, dim=axes)[(slice(None), *within)]

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # nothing in it ever changes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_like": {}}


def orthogonal(grid: Grid) -> bool:
    """Whether the axes of a grid are at right angles."""
    gram = grid.linear.T @ grid.linear
    return bool((gram - torch.diag(gram.diagonal())).abs().max() < 1e-6 * gram.diagonal().min())


def sampled_gaussian(sigma: float) -> Tensor:
    """exp(−t²/2σ²) at whole t up to three σ: the kernel between points of a line, σ in steps."""
    radius = max(1, math.ceil(REACH * sigma))
    t = torch.arange(-radius, radius + 1, dtype=torch.float64)
    return torch.exp(-0.5 * (t / sigma) ** 2)


def gaussian_matrix(n: int, sigma: float) -> Tensor:
    """exp(−(i − j)²/2σ²) for the n points i, j of a line, σ in steps."""
    t = torch.arange(n, dtype=torch.float64)
    return torch.exp(-0.5 * ((t[:, None] - t) / sigma) ** 2)
