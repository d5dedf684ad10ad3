"""Cross-entropy: classification."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from diffeo.heads.base import ReadOut
from diffeo.losses.readout import ReadOutLoss, checked_labels, mean
from diffeo.shapes.points import Points


class CrossEntropyLoss(ReadOutLoss):
    r"""$-\log$ of the probability of the right class, softmax of the scores, on average over the points.

    Args:
        head: from positions to one score per class; where it is trained, its parameters are the loss's.
        smoothing: the share of the target that is spread evenly over all classes, 0 to 1 (excluded).

    Raises: ValueError for fewer than two classes, or a smoothing that is none.
    """

    def __init__(self, head: ReadOut, smoothing: float = 0.0) -> None:
        super().__init__()
        if head.outputs < 2:
            raise ValueError(f"CrossEntropyLoss expects a read-out with two classes or more, and got {head.outputs}.")
        if not 0 <= smoothing < 1:
            raise ValueError(f"CrossEntropyLoss expects a smoothing from 0 to below 1, and got {smoothing}.")
        self.head, self.smoothing = head, smoothing

    def forward(self, moved: Points, target: Tensor) -> Tensor:
        """The mean cross-entropy for labels, shape (n,), of 0..k−1.

        Raises: ValueError for labels that are not such.
        """
        labels = checked_labels("CrossEntropyLoss", moved, target, self.head.outputs)
        scores = self.predict(moved)
        return mean(
            nn.functional.cross_entropy(scores, labels, reduction="none", label_smoothing=self.smoothing), moved
        )

    def predict(self, moved: Points) -> Tensor:
        """The scores, shape (n, k): log-probabilities up to a constant for each point."""
        return self.head(moved.x)

    def arguments(self) -> dict[str, Any]:
        """Read-out and smoothing."""
        return {"head": self.head, "smoothing": self.smoothing}

    def rescaled(self, factor: float) -> CrossEntropyLoss:
        """A read-out for the other units."""
        return CrossEntropyLoss(self.head.rescaled(factor), self.smoothing)
