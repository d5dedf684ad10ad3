"""Faces that must not turn over."""

from __future__ import annotations

from torch import Tensor

from diffeo.core import Loss
from diffeo.shapes.base import PointShape


class FacingLoss(Loss):
    """Keeps chosen faces (segments) facing given directions: Σ_f max(0, margin − n_f·d_f)².

    A map can be one-to-one while a thin triangle, carried by its three corners, turns over. Added to a data term, this
    loss holds such faces where the map's own Jacobian says they should face.

    Args:
        faces: which, integers of shape (k,).
        directions: unit vectors d_f, shape (k, d).
        margin: a cosine; faces that agree better than that cost nothing.
    """

    def __init__(self, faces: Tensor, directions: Tensor, margin: float = 0.5) -> None:
        super().__init__()
        if faces.ndim != 1 or directions.shape[:1] != faces.shape:
            raise ValueError(
                f"FacingLoss expects indices (k,) and directions (k, d), got {tuple(faces.shape)} and "
                f"{tuple(directions.shape)}."
            )
        self.faces, self.directions, self.margin = faces, directions, margin

    def forward(self, moved: PointShape, target: PointShape) -> Tensor:
        """The penalty; the target does not matter."""
        normals = moved.measure().directions
        if normals is None:
            raise ValueError(f"FacingLoss expects a shape with faces or segments, and got {type(moved).__name__}.")
        cosines = (normals[self.faces] * self.directions.to(normals)).sum(1)
        return (self.margin - cosines).clamp(min=0).square().sum()

    def rescaled(self, factor: float) -> FacingLoss:
        """The same: directions have no length."""
        return self
