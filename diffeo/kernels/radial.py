r"""Radial kernels k(u), u = |x − y|²: a few lines of arithmetic each, from which every backend follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Self

import torch
from torch import Tensor

from diffeo.kernels import spectra
from diffeo.kernels.algebra import Radial

TINY = 1e-30  # added under square roots: at u = 0 the derivative is finite, and times D = 0 exactly 0
SMALL = 1e-16  # the same in what is infinite at 0: in float32, with TINY it would overflow, and ∞ · 0 is NaN


@dataclass(frozen=True)
class RadialKernel(Radial):
    """A radial kernel with one length scale σ, in the data's units, and k(0) = 1.

    A subclass writes ``jet`` and, if k' does not exist at 0 or k'' does not, ``smoothness``.
    """

    scale: float

    def __post_init__(self) -> None:
        if isinstance(self.scale, bool) or not isinstance(self.scale, Real):
            raise ValueError(f"{type(self).__name__} expects its scale as a number, and got {self.scale!r}.")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(
                f"{type(self).__name__} expects a positive, finite scale (a length in the data's units), "
                f"and got {self.scale}."
            )
        object.__setattr__(self, "scale", float(self.scale))

    def rescaled(self, factor: float) -> Self:
        """The kernel with its scale times ``factor``."""
        return replace(self, scale=self.scale * factor)

    @property
    def scales(self) -> tuple[float, ...]:
        """(σ,)."""
        return (self.scale,)


class GaussianKernel(RadialKernel):
    r"""$k(u) = \exp(-u / 2\sigma^2)$: the smoothest, and the default."""

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        c = -0.5 / self.scale**2
        k = (c * u).exp()
        return k, c * k, c**2 * k

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """Draws from the spectral measure, shape (n, d)."""
        return spectra.gaussian_draws(self.scale, n, d, generator)

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """k̂: another Gaussian."""
        return spectra.gaussian(u, d, self.scale)


class CauchyKernel(RadialKernel):
    r"""$k(u) = 1 / (1 + u/\sigma^2)$: long tails, no exponential."""

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        c = 1 / self.scale**2
        k = 1 / (1 + c * u)
        return k, -c * k * k, 2 * c**2 * k * k * k

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """Draws from the spectral measure, shape (n, d)."""
        return spectra.mixture_draws(1.0, self.scale, n, d, generator)

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """k̂: infinite at 0 in dimensions 2 and 3."""
        return spectra.inverse_power(u, d, self.scale, 1.0)


class InverseMultiquadricKernel(RadialKernel):
    r"""$k(u) = (1 + u/\sigma^2)^{-1/2}$: tails like 1/r."""

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        c = 1 / self.scale**2
        inverse = 1 / (1 + c * u)
        k = inverse.sqrt()
        return k, -0.5 * c * k * inverse, 0.75 * c**2 * k * inverse * inverse

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """Draws from the spectral measure, shape (n, d)."""
        return spectra.mixture_draws(0.5, self.scale, n, d, generator)

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """k̂: infinite at 0."""
        return spectra.inverse_power(u, d, self.scale, 0.5)


class Matern52Kernel(RadialKernel):
    r"""$k = (1 + s + s^2/3)\,e^{-s}$, $s = \sqrt5\,r/\sigma$: the least smooth Matérn kernel that geodesics allow."""

    smoothness = 2

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        c = 5 / self.scale**2
        s = (c * u + TINY).sqrt()
        e = (-1.0 * s).exp()
        return (1 + s + c / 3 * u) * e, -c / 6 * (1 + s) * e, c**2 / 12 * e

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """Draws from the spectral measure, shape (n, d)."""
        return spectra.student_draws(2.5, self.scale, n, d, generator)

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """k̂."""
        return spectra.matern(u, d, self.scale, 2.5)


class Matern32Kernel(RadialKernel):
    r"""$k = (1 + s)\,e^{-s}$, $s = \sqrt3\,r/\sigma$: no second derivative in u at 0, for losses only."""

    smoothness = 1

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        c = 3 / self.scale**2
        s = (c * u + TINY).sqrt()
        e = (-1.0 * s).exp()
        return (1 + s) * e, -c / 2 * e, c**2 / 4 * e / (c * u + SMALL).sqrt()

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """Draws from the spectral measure, shape (n, d)."""
        return spectra.student_draws(1.5, self.scale, n, d, generator)

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """k̂."""
        return spectra.matern(u, d, self.scale, 1.5)


class LaplacianKernel(RadialKernel):
    r"""$k = e^{-r/\sigma}$ (Matérn 1/2): not differentiable at 0, for losses only."""

    smoothness = 0

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        c = 1 / self.scale**2
        s, inverse = (c * u + TINY).sqrt(), 1 / (c * u + SMALL).sqrt()
        k = (-1.0 * s).exp()
        return k, -c / 2 * k / s, c**2 / 4 * k * (1 + s) * (inverse * inverse * inverse)

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """Draws from the spectral measure, shape (n, d)."""
        return spectra.student_draws(0.5, self.scale, n, d, generator)

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """k̂."""
        return spectra.matern(u, d, self.scale, 0.5)
