"""Squared error: regression."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffeo.heads.base import ReadOut
from diffeo.losses.readout import ReadOutLoss, checked_values, mean
from diffeo.shapes.points import Points


class SquaredLoss(ReadOutLoss):
    r"""$\tfrac12 |B z_i - y_i|^2$, on average over the points; the ½ is that of the energy.

    Args:
        head: from positions to values; where it is trained, its parameters are the loss's.
    """

    def __init__(self, head: ReadOut) -> None:
        super().__init__()
        self.head = head

    def forward(self, moved: Points, target: Tensor) -> Tensor:
        """The mean for values, shape (n, k), or (n,) behind a read-out with one output.

        Raises: ValueError for values that are not such.
        """
        values = checked_values("SquaredLoss", moved, target, self.head.outputs)
        return mean(0.5 * (self.predict(moved) - values.to(moved.x)).square().sum(1), moved)

    def predict(self, moved: Points) -> Tensor:
        """The predicted values, shape (n, k)."""
        return self.head(moved.x)

    def arguments(self) -> dict[str, Any]:
        """The read-out."""
        return {"head": self.head}

    def rescaled(self, factor: float) -> SquaredLoss:
        """A read-out for the other units: values keep theirs."""
        return SquaredLoss(self.head.rescaled(factor))
