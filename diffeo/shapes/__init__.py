"""Shapes: what a diffeomorphism acts on. One shape per file."""

from diffeo.shapes.base import Measure, PointShape
from diffeo.shapes.compound import Compound
from diffeo.shapes.curve import Curve
from diffeo.shapes.image import Image, Interpolation, Linear
from diffeo.shapes.mesh import Mesh
from diffeo.shapes.points import Points

__all__ = ["Compound", "Curve", "Image", "Interpolation", "Linear", "Measure", "Mesh", "PointShape", "Points"]
