"""What radial kernels have in common, and how they add: a sum of kernels, a positive multiple of one."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import lru_cache
from numbers import Real
from typing import Any, Self

import torch
from torch import Tensor

from diffeo.backends.auto import AutoBackend
from diffeo.backends.base import Backend
from diffeo.core import Kernel
from diffeo.kernels import spectra
from diffeo.kernels.matrix import KernelMatrix


@dataclass(frozen=True)
class Radial(Kernel):
    """A positive-definite function of the distance, with what is needed to differentiate it twice.

    ``jet`` may use + − * / ** on numbers and u, and ``.exp()``, ``.sqrt()`` of u: the same lines run on torch tensors,
    become compiled loops, and become KeOps formulas.
    """

    backend: Backend = field(default=AutoBackend(), kw_only=True, repr=False, compare=False)

    smoothness = math.inf
    """How many derivatives of k(u) exist at u = 0."""

    @abstractmethod
    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k'' as functions of u = |x − y|²."""

    @abstractmethod
    def rescaled(self, factor: float) -> Self:
        """The kernel for lengths in other units: its scales times ``factor``."""

    @property
    def at_zero(self) -> float:
        """k(0): the square of the largest speed |v(x)| that ‖v‖_V = 1 allows."""
        return float(self.jet(torch.zeros((), dtype=torch.float64))[0])

    @property
    def slope_at_zero(self) -> float:
        """k'(0), which bounds ‖Dv‖ ≤ √(−2k'(0)) ‖v‖_V; −inf where it does not exist."""
        return float(self.jet(torch.zeros((), dtype=torch.float64))[1]) if self.smoothness >= 1 else -math.inf

    @property
    @abstractmethod
    def scales(self) -> tuple[float, ...]:
        """The lengths in the kernel, widest first."""

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """The Fourier transform k̂(ξ) = ∫ k(|x|²) e^{-iξ·x} dx over R^d, d = 1, 2, 3, as a function of u = |ξ|².

        Infinite at 0 where the kernel is not integrable. Unless a kernel says better, found numerically from ``jet``.
        """
        return spectra.numerical(self.jet, u, d, self.scales[0])

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """n draws from the spectral measure, shape (n, d), float64: k(|x − y|²) = k(0) E cos(ω·(x − y)).

        Unless a kernel says better, by inverting the distribution of |ω| that ``spectrum`` gives, up to d = 3, and
        beyond, where no numerical transform is exact enough, as a mixture of Gaussians.

        Raises: ValueError for d > 3 where it is none.
        """
        if d <= 3:
            return spectra.radial_draws(lambda u: self.spectrum(u, d), n, d, self.scales, generator)
        return spectra.gaussian_mixture_draws(*_gaussians_in(self), n, d, generator)

    def __call__(self, x: Tensor, y: Tensor | None = None) -> KernelMatrix:
        """The lazy matrix K(x, y)."""
        return KernelMatrix(self, x, x if y is None else y)

    def on(self, backend: Backend) -> Self:
        """The same kernel, computed by the given backend."""
        return replace(self, backend=backend)

    def __add__(self, other: Radial) -> Radial:
        return SumKernel((self, other), backend=self.backend) if isinstance(other, Radial) else NotImplemented

    def __rmul__(self, weight: float) -> Radial:
        return ScaledKernel(weight, self, backend=self.backend)


@lru_cache(maxsize=16)
def _gaussians_in(kernel: Radial) -> tuple[Tensor, Tensor]:
    """Exponents and weights, found once: fields that are drawn anew need them again and again."""
    return spectra.scale_mixture(kernel.jet, kernel.scales)


@dataclass(frozen=True)
class SumKernel(Radial):
    """The sum of kernels: fields that are sums of fields, each paid at its own price."""

    terms: tuple[Radial, ...]

    def __post_init__(self) -> None:
        flat = [t for term in self.terms for t in (term.terms if isinstance(term, SumKernel) else (term,))]
        if not flat:
            raise ValueError("SumKernel expects at least one kernel, and got none.")
        object.__setattr__(self, "terms", tuple(flat))

    @property
    def smoothness(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the roughest term."""
        return min(term.smoothness for term in self.terms)

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        k, k1, k2 = self.terms[0].jet(u)
        for term in self.terms[1:]:
            t, t1, t2 = term.jet(u)
            k, k1, k2 = k + t, k1 + t1, k2 + t2
        return k, k1, k2

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """The sum of theirs."""
        return torch.stack([term.spectrum(u, d) for term in self.terms]).sum(0)

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """From the terms' measures, each as often as its share of k(0)."""
        shares = torch.tensor([term.at_zero for term in self.terms], dtype=torch.float64)
        which = torch.multinomial(shares, n, replacement=True, generator=generator)
        draws = torch.stack([term.frequencies(n, d, generator) for term in self.terms])
        return draws[which, torch.arange(n)]

    def rescaled(self, factor: float) -> Self:
        """Every term in the other units."""
        return replace(self, terms=tuple(term.rescaled(factor) for term in self.terms))

    @property
    def scales(self) -> tuple[float, ...]:
        """All scales, widest first."""
        return tuple(sorted((s for term in self.terms for s in term.scales), reverse=True))


@dataclass(frozen=True)
class ScaledKernel(Radial):
    """A positive multiple of a kernel: the larger the weight, the cheaper its fields."""

    weight: float
    kernel: Radial

    def __post_init__(self) -> None:
        number = isinstance(self.weight, Real) and not isinstance(self.weight, bool)
        if not (number and math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"a kernel can be multiplied by a positive number only, and got {self.weight!r}.")
        object.__setattr__(self, "weight", float(self.weight))

    @property
    def smoothness(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the kernel."""
        return self.kernel.smoothness

    def jet(self, u: Any) -> tuple[Any, Any, Any]:
        """k, k', k''."""
        k, k1, k2 = self.kernel.jet(u)
        return self.weight * k, self.weight * k1, self.weight * k2

    def spectrum(self, u: Tensor, d: int) -> Tensor:
        """The multiple."""
        return self.weight * self.kernel.spectrum(u, d)

    def frequencies(self, n: int, d: int, generator: torch.Generator) -> Tensor:
        """Those of the kernel: the weight is in k(0)."""
        return self.kernel.frequencies(n, d, generator)

    def rescaled(self, factor: float) -> Self:
        """The kernel in the other units, with the same weight."""
        return replace(self, kernel=self.kernel.rescaled(factor))

    @property
    def scales(self) -> tuple[float, ...]:
        """Those of the kernel."""
        return self.kernel.scales
