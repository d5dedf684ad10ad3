"""Curves, and bundles of curves, as sets of segments."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffeo.shapes.base import Measure, PointShape, check_connectivity


@dataclass(frozen=True, eq=False)
class Curve(PointShape):
    """A polygonal curve (or many: components need not touch) in any dimension.

    Attributes:
        x: points, shape (n, d), in length units.
        edges: segments as pairs of point indices, integers of shape (e, 2); their order is the orientation.
    """

    edges: Tensor = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "edges", check_connectivity(self.edges, len(self.x), 2, "Curve's edges"))

    def measure(self) -> Measure:
        """Segments as Diracs: midpoints, lengths, unit tangents; a segment of length 0 has weight and tangent 0."""
        a, b = self.x[self.edges[:, 0]], self.x[self.edges[:, 1]]
        return Measure((a + b) / 2, *length_and_direction(b - a))


def length_and_direction(v: Tensor) -> tuple[Tensor, Tensor]:
    """|v|, shape (n,), and v/|v|, shape (n, d); both exactly 0, with zero gradient, where v = 0."""
    squares = v.square().sum(1)
    degenerate = squares == 0
    length = torch.where(degenerate, 1.0, squares).sqrt()
    direction = torch.where(degenerate[:, None], 0.0, v) / length[:, None]
    return torch.where(degenerate, 0.0, length), direction
