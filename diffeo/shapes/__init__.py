"""Shapes: what a diffeomorphism acts on. One shape per file."""

from diffeo.shapes.base import Measure, PointShape
from diffeo.shapes.compound import Compound
from diffeo.shapes.curve import Curve
from diffeo.shapes.encoded import Encoded
from diffeo.shapes.image import Image
from diffeo.shapes.interpolation import Cubic, Interpolation, Linear, Nearest
from diffeo.shapes.labels import labels_of, one_hot
from diffeo.shapes.mesh import Mesh
from diffeo.shapes.points import Points
from diffeo.shapes.samples import Samples

__all__ = [
    "Compound",
    "Cubic",
    "Curve",
    "Encoded",
    "Image",
    "Interpolation",
    "Linear",
    "Measure",
    "Mesh",
    "Nearest",
    "PointShape",
    "Points",
    "Samples",
    "labels_of",
    "one_hot",
]
