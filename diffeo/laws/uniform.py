"""Uniform laws."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffeo.laws.base import Law, check_draws, check_points


class Uniform(Law):
    """Uniform on a box: low < x < high.

    Args:
        low, high: its corners, shape (d,).

    Raises: ValueError unless low < high in every dimension.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        if low.ndim != 1 or low.shape != high.shape or not bool((low < high).all()):
            raise ValueError(f"Uniform expects corners low < high of shape (d,), and got {low} and {high}.")
        self.register_buffer("low", low.detach().clone())
        self.register_buffer("high", high.detach().clone())

    @property
    def dim(self) -> int:
        """d."""
        return len(self.low)

    def log_prob(self, x: Tensor) -> Tensor:
        """−log of the volume within the box, −∞ outside."""
        check_points(x, self.dim, "Uniform")
        inside = ((x >= self.low) & (x <= self.high)).all(1)
        return torch.where(inside, -(self.high - self.low).log().sum(), -math.inf)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Each coordinate on its own."""
        u = torch.rand(check_draws(n, "Uniform"), self.dim, generator=generator, dtype=torch.float64).to(self.low)
        return self.low + u * (self.high - self.low)

    def arguments(self) -> dict[str, Any]:
        """The corners."""
        return {"low": self.low, "high": self.high}

    def rescaled(self, factor: float, shift: Tensor) -> Uniform:
        """Another box."""
        shift = shift.to(self.low)
        return Uniform(factor * self.low + shift, factor * self.high + shift)
