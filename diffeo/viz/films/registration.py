"""Films of registrations: which film for which shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffeo.core import Diffeo, Shape
from diffeo.shapes import PointShape
from diffeo.viz.film import Film
from diffeo.viz.films.images import ImageFilm
from diffeo.viz.films.shapes import ShapeFilm
from diffeo.viz.parts import images_of, pairs_of


def registration_film(
    source: Shape,
    target: Shape,
    moved: Shape,
    phi: Diffeo,
    records: Sequence[Any],
    *,
    moments: int = 25,
    title: str = "Registration",
) -> Film:
    """The film of a registration, whatever its shapes are.

    Args:
        source: before; of a compound its first image is shown, and all points, curves and surfaces on it.
        target: what it was registered to, of the same kind or another that the loss compares.
        moved: φ · source.
        phi: the map, in the dtype and on the device of the source.
        records: one per outer iteration, as ``plot.history`` takes them.
        moments: frames from the start to the end, at least 2.
        title: written above.

    Raises: ValueError for shapes of which there are no films, and for fewer moments.
    """
    moving, fixed = images_of(source), images_of(target)
    if moving and fixed:
        return ImageFilm(moving[0], fixed[0], phi, points=pairs_of(source, target), moments=moments, title=title)
    if isinstance(source, PointShape) and isinstance(target, PointShape):
        return ShapeFilm(source, target, phi, moments=moments, title=title)
    raise ValueError(f"there is no film of a {type(source).__name__} that goes to a {type(target).__name__}.")
