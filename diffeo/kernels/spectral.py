"""Kernels on grids: multipliers in Fourier space on a periodic box around the grid."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor

from diffeo.grid import Grid
from diffeo.kernels.algebra import Radial

PADDING = 3.0  # in widest scales: the square root of a Gaussian is e^-9 there
RESOLVED = 0.9  # of k(0): what a grid must hold of a kernel


class GridKernel:
    r"""The operator K of a kernel on functions sampled on a grid: $(Km)(x_i) = \sum_j k(x_i - x_j)\,m_j$ · cell.

    It multiplies by the kernel's spectrum on a box that is periodic and larger than the grid, which lies in its middle.
    What the sum above has and this has not: frequencies beyond the grid's, which matter for kernels hardly wider than
    its steps. What this has in addition: the periodic copies of m, one padding away.

    Args:
        kernel: any radial kernel whose spectrum is finite.
        grid: where functions are sampled; rotations, shears and different steps along the axes are accounted for.
        padding: the distance (length units) between the grid and its periodic copies; three times the kernel's widest
            scale if left out, but no more than the size of the grid. It is rounded up to lengths good for FFTs.

    Attributes:
        box: the grid with half of the padding on every side.
        before: the index of the grid's first point in the box.

    Raises: ValueError if the spectrum is infinite, or the grid is too coarse to hold nine tenths of k(0).
    """

    def __init__(self, kernel: Radial, grid: Grid, padding: float | None = None) -> None:
        if padding is not None and not (math.isfinite(padding) and padding >= 0):
            raise ValueError(f"a padding is a length, 0 or positive, and got {padding}.")
        self.kernel, self.grid, self.padding = kernel, grid, padding
        sizes = [fast_length(n + self._gap(n, step)) for n, step in zip(grid.shape, grid.spacing, strict=True)]
        self.before = tuple((p - n) // 2 for p, n in zip(sizes, grid.shape, strict=True))
        self.box = grid.box([-b for b in self.before], [p - b for p, b in zip(sizes, self.before, strict=True)])
        self._spectrum = spectrum_of(kernel, self.box)
        self._like: dict[Any, tuple[Tensor, Tensor]] = {}
        self._check()

    def _gap(self, n: int, step: float) -> int:
        """Steps between the grid and its copies along an axis of n points."""
        if self.padding is not None:
            return math.ceil(self.padding / step)
        return max(2, min(n, math.ceil(PADDING * self.kernel.scales[0] / step)))

    def _check(self) -> None:
        if not bool(torch.isfinite(self._spectrum).all()):
            raise ValueError(
                f"{self.kernel!r} is not integrable in {self.grid.dim} dimensions: its spectrum is infinite at 0, and "
                "it has no multiplier on a grid. Take GaussianKernel, Matern52Kernel, Matern32Kernel, or sums of them."
            )
        held = self.held
        if held < RESOLVED:
            steps = " × ".join(f"{s:.3g}" for s in self.grid.spacing)
            raise ValueError(
                f"a grid with steps of {steps} is too coarse for {self.kernel!r}: it can hold {held:.0%} of k(0), and "
                f"{RESOLVED:.0%} are needed. Take a finer grid, or a kernel whose scales are longer than a step."
            )

    @property
    def held(self) -> float:
        """The part of k(0) that the frequencies of the grid hold, in [0, 1] but for what the periodic copies add."""
        last = self.box.shape[-1]
        twice = torch.full((last // 2 + 1,), 2.0, dtype=torch.float64)  # a half spectrum: all but its ends count twice
        twice[0] = 1
        if last % 2 == 0:
            twice[-1] = 1
        return float((self._spectrum * twice).sum()) / (self.box.size * self.grid.cell) / self.kernel.at_zero

    def apply(self, m: Tensor) -> Tensor:
        """K m, shape (c, *grid.shape), for a density m of that shape; linear, self-adjoint and positive."""
        return self.crop(multiplied(self.pad(m), self._multipliers(m)[0]))

    def root(self, z: Tensor) -> Tensor:
        """R z on the box, shape (c, *box.shape), for z of that shape, or of the grid's: then it is 0 around it.

        R is self-adjoint, and R² p = Σ_j k(· − x_j) p_j for vectors p on the box (densities times cell). With v = R z,
        therefore, ‖v‖²_V = Σ z².
        """
        return multiplied(z if z.shape[1:] == self.box.shape else self.pad(z), self._multipliers(z)[1])

    def pad(self, values: Tensor) -> Tensor:
        """From the grid to the box, zeros around."""
        if values.shape[1:] != self.grid.shape:
            raise ValueError(f"expected values of shape (c, *{self.grid.shape}), and got {tuple(values.shape)}.")
        margins = [(b, p - n - b) for b, n, p in zip(self.before, self.grid.shape, self.box.shape, strict=True)]
        return torch.nn.functional.pad(values, [k for pair in reversed(margins) for k in pair])

    def crop(self, values: Tensor) -> Tensor:
        """From the box to the grid."""
        within = tuple(slice(b, b + n) for b, n in zip(self.before, self.grid.shape, strict=True))
        return values[(slice(None), *within)]

    def _multipliers(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """k̂ and the square root of k̂ / cell, in the dtype and on the device of a tensor."""
        key = like.dtype, like.device
        if key not in self._like:
            root = (self._spectrum / self.grid.cell).sqrt()
            self._like[key] = self._spectrum.to(like), root.to(like)
        return self._like[key]

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # nothing in it ever changes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_like": {}}

    def __repr__(self) -> str:
        return f"GridKernel({self.kernel!r}, {' × '.join(map(str, self.grid.shape))})"


def multiplied(values: Tensor, multiplier: Tensor) -> Tensor:
    """Values, shape (c, *S), times a real, even function of the frequency, shaped as `torch.fft.rfftn` shapes S."""
    return _Multiplied.apply(values, multiplier)


class _Multiplied(torch.autograd.Function):
    """Multiplication by a real, even function of the frequency: its own adjoint, and so its own derivative."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, multiplier: Tensor) -> Tensor:
        ctx.multiplier = multiplier
        axes = tuple(range(1, values.ndim))
        return torch.fft.irfftn(torch.fft.rfftn(values, dim=axes).mul_(multiplier), s=values.shape[1:], dim=axes)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return _Multiplied.apply(cotangents[0], ctx.multiplier), None


def spectrum_of(kernel: Radial, box: Grid) -> Tensor:
    """k̂ at the frequencies of a periodic box as `torch.fft.rfftn` orders them, float64.

    At the Nyquist frequency of an axis, f and −f are one. On a sheared box their |ξ| differ, and the mean is taken.
    """
    d = box.dim
    to_angular = 2 * math.pi * torch.linalg.inv(box.linear).T  # ξ = 2π A⁻ᵀ f, f in cycles per step

    def squares(nyquist: float) -> Tensor:
        axes = [torch.fft.fftfreq(n, dtype=torch.float64) for n in box.shape[:-1]]
        axes.append(torch.fft.rfftfreq(box.shape[-1], dtype=torch.float64))
        f = torch.meshgrid(*(torch.where(a.abs() == 0.5, nyquist, a) for a in axes), indexing="ij")
        xi = (sum(to_angular[a, b] * f[b] for b in range(d)) for a in range(d))
        return torch.stack([torch.as_tensor(x).square() for x in xi]).sum(0)

    return 0.5 * (kernel.spectrum(squares(0.5), d) + kernel.spectrum(squares(-0.5), d))


@lru_cache
def fast_length(n: int) -> int:
    """The next number from n on with no prime factor above 7: FFTs of such lengths are fast."""
    return next(m for m in itertools.count(max(1, n)) if _smooth(m))


def _smooth(m: int) -> bool:
    for prime in (2, 3, 5, 7):
        while m % prime == 0:
            m //= prime
    return m == 1
