"""The page of a registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from diffeo.core import Diffeo, Shape
from diffeo.shapes import PointShape
from diffeo.viz import overview
from diffeo.viz.page.document import check_page, write_page
from diffeo.viz.page.figures import course_table, details, figures_table, fit_chart, verdict
from diffeo.viz.page.images import Companion, image_panels
from diffeo.viz.page.panel import Panel
from diffeo.viz.page.picture import Picture
from diffeo.viz.page.shapes import shape_scene
from diffeo.viz.parts import images_of, points_of
from diffeo.viz.planes import space_of

DPI = 90


def registration_page(
    path: str | PathLike[str],
    source: Shape,
    target: Shape,
    moved: Shape,
    phi: Diffeo,
    records: Sequence[Any],
    report: Mapping[str, Any],
    title: str | None = None,
) -> Path:
    """Write the page of a registration: the shapes on their way, the course of the fit, and all its figures.

    Args:
        path: ends in .html.
        source: before.
        target: what it was registered to.
        moved: φ · source.
        phi: the map, in the dtype and on the device of the source.
        records: one per outer iteration, as ``plot.history`` takes them; with none their panel is left away.
        report: figures by name; mappings among them, such as parameters and versions, stand at the foot.
        title: of the page.

    Returns: the path.
    Raises: ValueError for another suffix, for shapes of which there are no pages, and if it cannot be written.
    """
    check_page(path)
    panels: list[Panel] = [*_views(source, target, moved, phi), figures_table(report, *_units(target))]
    if len(records):
        panels.append(fit_chart(records))
    panels.append(course_table(report))
    if isinstance(source, PointShape) and isinstance(target, PointShape) and isinstance(moved, PointShape):
        figure = overview.registration(source, target, moved, phi, [], "Shapes and map")
        panels.append(Picture("In one picture", figure, "The same on paper, and where nothing moves.", dpi=DPI))
    return write_page(path, title or "Registration", panels, verdict(report), details(report))


def _views(source: Shape, target: Shape, moved: Shape, phi: Diffeo) -> list[Panel]:
    """What there is to be seen of shapes of each kind."""
    moving, fixed, carried = (images_of(shape) for shape in (source, target, moved))
    if moving and fixed:
        along = zip(points_of(source), points_of(moved), points_of(target), strict=False)
        return image_panels(moving[0], fixed[0], carried[0], phi, [Companion(*three) for three in along])
    if isinstance(source, PointShape) and isinstance(target, PointShape):
        return [shape_scene(source, target, phi)]
    raise ValueError(f"there is no page of a {type(source).__name__} that goes to a {type(target).__name__}.")


def _units(target: Shape) -> list[str]:
    """That of lengths, if it is known: images know it."""
    return [space_of(image).unit for image in images_of(target)[:1]]
