"""Activation functions of perceptrons, with what certificates need to know of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation(ABC):
    """A function σ of one number with σ(0) = 0, applied to every entry of a tensor.

    Attributes:
        slopes: the smallest and the largest value of σ'.
    """

    slopes: ClassVar[tuple[float, float]]

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""

    @abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """σ'(z)."""

    @property
    def lipschitz(self) -> float:
        """The Lipschitz constant, max |σ'|; |σ(z)| ≤ it · |z|."""
        return max(map(abs, self.slopes))


@dataclass(frozen=True)
class ReLU(Activation):
    """max(z, 0): homogeneous, so that only directions and products of weights matter."""

    slopes = (0.0, 1.0)

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        return torch.relu(z)

    def slope(self, z: Tensor) -> Tensor:
        """σ'(z), 0 at the kink."""
        return (z > 0).to(z)


@dataclass(frozen=True)
class Tanh(Activation):
    """The hyperbolic tangent: smooth and bounded."""

    slopes = (0.0, 1.0)

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        return torch.tanh(z)

    def slope(self, z: Tensor) -> Tensor:
        """σ'(z)."""
        return 1 - torch.tanh(z).square()


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


_BEND = _normal_cdf(math.sqrt(2)) + math.exp(-1) / math.sqrt(math.pi)  # σ' of GELU is extreme at z = ±√2


@dataclass(frozen=True)
class GELU(Activation):
    r"""$z\,\Phi(z)$ with Φ the distribution function of a normal number: a smooth ReLU (Hendrycks & Gimpel, 2016)."""

    slopes = (1 - _BEND, _BEND)

    def __call__(self, z: Tensor) -> Tensor:
        """σ(z)."""
        return torch.nn.functional.gelu(z)

    def slope(self, z: Tensor) -> Tensor:
        """σ'(z)."""
        return torch.special.ndtr(z) + z * torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
