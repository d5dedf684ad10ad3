"""Pictures of an image on its way: how it looks, how it differs from the fixed one, what the map does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from diffeo.core import Diffeo
from diffeo.shapes import Image, Nearest, PointShape
from diffeo.viz.differences import compared, meaning
from diffeo.viz.images import Window, pixels, reach, window
from diffeo.viz.planes import Plane, planes
from diffeo.viz.view import Array
from diffeo.viz.warps import spacing
from diffeo.viz.way import ImageWay, image_way


@dataclass(frozen=True, eq=False)
class Moments:
    """An image at T moments, on P planes of the fixed one.

    Attributes:
        way: of the image, and of what goes along.
        levels: what is black and white, of the moving image and of the fixed one.
        fixed: pixels of the fixed image, P times (rows, columns) or (rows, columns, 3).
        shown: pixels of the moving image, P times T times the like.
        apart: moving minus fixed, P times T times (rows, columns).
    """

    way: ImageWay
    levels: tuple[Window, Window]
    fixed: list[Array]
    shown: list[list[Array]]
    apart: list[list[Array]]

    @property
    def planes(self) -> list[Plane]:
        """As they are drawn."""
        return [way.plane for way in self.way.planes]

    @property
    def meaning(self) -> str:
        """Of the differences."""
        return meaning(*self.levels)

    @cached_property
    def farthest(self) -> float:
        """Where the colors of differences saturate, at all moments."""
        return reach([part[0] for part in self.apart])

    @cached_property
    def growth(self) -> float:
        """Where the colors of log-determinants saturate, at all moments."""
        return reach([way.logdet[-1] for way in self.way.planes], 1e-3)

    @cached_property
    def step(self) -> float:
        """How far apart the lines of the grid are, in length units of the moving image."""
        return spacing([way.pulled(-1) for way in self.way.planes])


def image_moments(
    source: Image,
    target: Image,
    phi: Diffeo,
    points: Sequence[tuple[PointShape, PointShape]],
    moments: int,
    most: int,
) -> Moments:
    """Follow an image along a map; a picture is seen whole, of a volume three slices through its foreground's center.

    Args:
        source: the moving image.
        target: the fixed one, of which the planes are.
        phi: the map.
        points: shapes that go along, as (before, its target).
        moments: T, at least 2.
        most: points along a side of a plane; finer ones are shrunk.
    """
    drawn = [replace(plane, most=most) for plane in planes(target)]
    way = image_way(phi, source, drawn, moments, [shape.x for shape, _ in points])
    levels = window(source), window(target)
    coarse = light(source, drawn)
    fixed, shown, apart = [], [], []
    for part in way.planes:
        goal, values = part.plane.of(target), [part.carried(coarse, k) for k in range(moments)]
        fixed.append(pixels(goal, levels[1], part.plane))
        shown.append([pixels(v, levels[0], part.plane) for v in values])
        apart.append([compared(v, goal, levels) for v in values])
    return Moments(way, levels, fixed, shown, apart)


def light(image: Image, drawn: Sequence[Plane]) -> Image:
    """An image that is no finer than the pictures that are made of it, so that nothing is aliased; labels stay."""
    if isinstance(image.interpolation, Nearest):
        return image
    step = min(min(plane.factors[k] * plane.grid.spacing[k] for k in plane.axes) for plane in drawn)
    return image.shrunk(tuple(max(1, int(step / s + 0.1)) for s in image.grid.spacing))
