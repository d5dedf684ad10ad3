"""Shapes: what a diffeomorphism acts on. One shape per file."""

from diffeo.shapes.base import Measure, PointShape
from diffeo.shapes.curve import Curve
from diffeo.shapes.mesh import Mesh
from diffeo.shapes.points import Points

__all__ = ["Curve", "Measure", "Mesh", "PointShape", "Points"]
