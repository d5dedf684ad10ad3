"""What laws have in common: a density, and a way to draw from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Law(nn.Module, ABC):
    """A probability law on R^d with a density; its parameters, where it has any, are trained together with φ."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """The dimension d."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), shape (n,), for x of shape (n, d), in nats per unit of volume; −∞ where the law has no mass."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n points, shape (n, d), in the dtype and on the device of the law."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What to call the class with to build this law again: tensors, numbers, other laws."""

    @abstractmethod
    def rescaled(self, factor: float, shift: Tensor) -> Law:
        """The law of ``factor * x + shift``, factor being positive."""

    def forward(self, x: Tensor) -> Tensor:
        """log p(x)."""
        return self.log_prob(x)


def check_draws(n: int, name: str) -> int:
    """The number of points to draw, if it is one. Raises ValueError otherwise."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"{name} draws a whole number of points, 0 or more, and was asked for {n!r}.")
    return n


def check_points(x: Tensor, dim: int, name: str) -> None:
    """Raise ValueError unless x is a floating-point tensor of shape (n, dim)."""
    if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != dim or not x.is_floating_point():
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name} knows the density of points in a floating-point tensor (n, {dim}), and got {got}.")
