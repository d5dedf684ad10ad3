"""Triangle surfaces in space."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffeo.shapes.base import Measure, PointShape, check_connectivity
from diffeo.shapes.curve import length_and_direction


@dataclass(frozen=True, eq=False)
class Mesh(PointShape):
    """A triangle mesh in R³, open or closed, in any number of components.

    Attributes:
        x: vertices, shape (n, 3), in length units.
        faces: triangles as vertex indices, integers of shape (f, 3), counter-clockwise seen from outside.
    """

    faces: Tensor = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.x.shape[1] != 3:
            raise ValueError(f"Mesh expects vertices in space, shape (n, 3), and got {tuple(self.x.shape)}.")
        object.__setattr__(self, "faces", check_connectivity(self.faces, len(self.x), 3, "Mesh's faces"))

    def measure(self) -> Measure:
        """Faces as Diracs: centers, areas, unit normals; a degenerate face has area and normal 0."""
        a, b, c = (self.x[self.faces[:, k]] for k in range(3))
        double, normals = length_and_direction(torch.linalg.cross(b - a, c - a))
        return Measure((a + b + c) / 3, double / 2, normals)
