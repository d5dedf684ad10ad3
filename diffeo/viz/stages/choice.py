"""Which stage for which shape."""

from __future__ import annotations

from diffeo.core import Diffeo
from diffeo.shapes import PointShape
from diffeo.shapes.sampling import trimmed
from diffeo.viz.quantities import Quantity
from diffeo.viz.stages.base import Stage
from diffeo.viz.stages.line import LineStage
from diffeo.viz.stages.plane import PlaneStage
from diffeo.viz.stages.space import SpaceStage
from diffeo.viz.view import is_flat, visible


def stage(
    source: PointShape, target: PointShape | None, phi: Diffeo, moments: int, quantity: Quantity | None = None
) -> Stage:
    """The way of a shape along a map: on a line, in the plane with the grid that is deformed, or in space.

    Args:
        source: points, a curve or a mesh; of more than three coordinates the first three are shown.
        target: where it goes, of the same dimension, if that is to be shown.
        phi: the map, in the dtype and on the device of the source.
        moments: at least 2.
        quantity: what the shape is colored by; by default displacement, or growth where all points go alike. In the
            plane the grid is colored, by growth, and the shape is not.

    Raises: ValueError for fewer moments.
    """
    source, target = trimmed(source), None if target is None else trimmed(target)
    d = source.x.shape[1]
    if d == 1:
        return LineStage(source, target, phi, moments, quantity)
    if d == 2 or (d == 3 and all(is_flat(visible(shape.x, 3)) for shape in (source, target) if shape is not None)):
        return PlaneStage(source, target, phi, moments)
    return SpaceStage(source, target, phi, moments, quantity)
