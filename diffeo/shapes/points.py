"""Point clouds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffeo.shapes.base import Measure, PointShape


@dataclass(frozen=True, eq=False)
class Points(PointShape):
    """A cloud of points, with optional weights.

    Attributes:
        x: positions, shape (n, d), in length units.
        weights: masses, shape (n,), not negative and not all zero; None means 1/n each.
    """

    weights: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        w = self.weights
        if w is None:
            return
        if w.shape != self.x.shape[:1]:
            raise ValueError(f"Points expects one weight per point, shape ({len(self.x)},), and got {tuple(w.shape)}.")
        if not bool(torch.isfinite(w).all()) or bool((w < 0).any()) or not bool((w > 0).any()):
            raise ValueError("Points expects weights that are finite, not negative and not all zero.")

    def measure(self) -> Measure:
        """Σ w_i δ(x_i)."""
        w = self.x.new_full((len(self.x),), 1 / len(self.x)) if self.weights is None else self.weights
        return Measure(self.x, w, None)
