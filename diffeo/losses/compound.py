"""Compounds compared part by part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffeo.core import Loss
from diffeo.shapes.compound import Compound


class CompoundLoss(Loss):
    """Σ_k w_k D_k of the parts of two compounds: an image by its intensities, its landmarks by their distances.

    Args:
        losses: D_k, one for each part, in the order of the parts.
        weights: w_k > 0; all 1 if left out.
    """

    def __init__(self, losses: Sequence[Loss], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.weights = [1.0] * len(losses) if weights is None else [float(w) for w in weights]
        if not losses or len(self.weights) != len(losses) or not all(w > 0 for w in self.weights):
            raise ValueError(
                f"CompoundLoss expects one loss or more and a positive weight for each, and got {len(losses)} losses "
                f"and the weights {self.weights}."
            )
        self.losses = nn.ModuleList(losses)

    def forward(self, moved: Compound, target: Compound) -> Tensor:
        """Σ_k w_k D_k(moved part, target part).

        Raises: ValueError unless both are compounds of as many parts as there are losses.
        """
        for shape in (moved, target):
            if not isinstance(shape, Compound) or len(shape.parts) != len(self.losses):
                parts = f" of {len(shape.parts)} parts" if isinstance(shape, Compound) else ""
                raise ValueError(
                    f"CompoundLoss has {len(self.losses)} losses for compounds of as many parts, and got a "
                    f"{type(shape).__name__}{parts}."
                )
        parts = zip(self.terms, moved.parts, target.parts, strict=True)
        return torch.stack([w * loss(a, b) for (w, loss), a, b in parts]).sum()

    def rescaled(self, factor: float) -> CompoundLoss:
        """Every loss in the other units, with the same weights."""
        return CompoundLoss([loss.rescaled(factor) for _, loss in self.terms], self.weights)

    @property
    def terms(self) -> list[tuple[float, Loss]]:
        """Weights and losses, in the order of the parts."""
        losses = [loss for loss in self.losses if isinstance(loss, Loss)]
        return list(zip(self.weights, losses, strict=True))

    def __repr__(self) -> str:
        return f"CompoundLoss({', '.join(f'{w:g} * {loss!r}' for w, loss in self.terms)})"
