"""What a shape, or each of several that one map carries, is drawn as."""

from __future__ import annotations

from diffeo.core import Shape
from diffeo.shapes import Compound, Image, PointShape


def images_of(shape: Shape) -> list[Image]:
    """The images in a shape."""
    if isinstance(shape, Compound):
        return [image for part in shape.parts for image in images_of(part)]
    return [shape] if isinstance(shape, Image) else []


def points_of(shape: Shape) -> list[PointShape]:
    """The points, curves and meshes in a shape."""
    if isinstance(shape, Compound):
        return [points for part in shape.parts for points in points_of(part)]
    return [shape] if isinstance(shape, PointShape) else []


def pairs_of(source: Shape, target: Shape) -> list[tuple[PointShape, PointShape]]:
    """Points, curves and meshes of two shapes, one to one as far as both have them."""
    return list(zip(points_of(source), points_of(target), strict=False))
