"""Paired points."""

from __future__ import annotations

from torch import Tensor

from diffeo.core import Loss
from diffeo.shapes.base import PointShape


class LandmarkLoss(Loss):
    """Mean squared distance between paired points (units²).

    Args:
        pairs: rows (index in the source, index in the target), integers of shape (k, 2); if left out, all in order.
    """

    def __init__(self, pairs: Tensor | None = None) -> None:
        super().__init__()
        if pairs is not None and (
            pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.is_floating_point() or not len(pairs)
        ):
            raise ValueError(f"LandmarkLoss expects pairs as integers of shape (k, 2), and got {tuple(pairs.shape)}.")
        self.pairs = pairs

    def forward(self, moved: PointShape, target: PointShape) -> Tensor:
        """The mean of |x_i − y_i|²."""
        x, y = moved.x, target.x
        if self.pairs is not None:
            for points, column, name in ((x, 0, "source"), (y, 1, "target")):
                if int(self.pairs[:, column].max()) >= len(points) or int(self.pairs.min()) < 0:
                    raise ValueError(
                        f"LandmarkLoss pairs point {int(self.pairs[:, column].max())} of the {name}, which has "
                        f"{len(points)} (0..{len(points) - 1})."
                    )
            x, y = x[self.pairs[:, 0]], y[self.pairs[:, 1]]
        if x.shape != y.shape:
            raise ValueError(
                f"LandmarkLoss pairs points one to one: the source has {tuple(x.shape)}, the target has "
                f"{tuple(y.shape)}. For unpaired clouds use MMDLoss or SinkhornLoss."
            )
        return (x - y).square().sum(-1).mean()

    def rescaled(self, factor: float) -> LandmarkLoss:
        """The same pairs."""
        return LandmarkLoss(self.pairs)
