"""The picture of a whole registration of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffeo.core import Diffeo
from diffeo.shapes import Image, PointShape
from diffeo.viz.curves import history
from diffeo.viz.differences import compared, meaning, sizes
from diffeo.viz.image_words import MASK, Panels, bar_below, head, legend, names, note, orient
from diffeo.viz.images import Window, pixels, reach, show, signed, tiled, window
from diffeo.viz.layout import FOOT, PANELS, Layout, arranged
from diffeo.viz.marks import link, mark
from diffeo.viz.picture import Picture
from diffeo.viz.planes import Plane, planes
from diffeo.viz.style import DIVERGING, INK, ROLES, caption
from diffeo.viz.view import Array
from diffeo.viz.warps import lines, logdet_label, pulled, spacing

FAINTNESS = 0.25
"""Of the picture under the grid."""


class View(NamedTuple):
    """The images in one plane, ready to be drawn: pixels of each, and moving and moved minus fixed."""

    plane: Plane
    fixed: Array
    moving: Array
    moved: Array
    before: Array
    after: Array


def image_registration(
    source: Image,
    target: Image,
    moved: Image,
    phi: Diffeo,
    records: Sequence[Any],
    title: str | None = None,
    *,
    points: Sequence[tuple[PointShape, PointShape]] = (),
) -> Figure:
    """Draw a registration of images: before, after, their differences, the map, and the course of the fit.

    Pictures are drawn whole; of volumes the axial, the coronal and the sagittal slice through the center of the
    target's foreground. Every panel shows the space of the target.

    Args:
        source: the moving image, in two or three dimensions.
        target: the fixed image.
        moved: φ · source.
        phi: the map.
        records: one per outer iteration, as ``history`` takes them; with none their panel is left away.
        title: written above.
        points: what was carried along, as (φ · shape, its target): drawn over the images, where it meets the slices.

    Returns: a figure about 16 by 10 inches, not registered with pyplot; ``figure.savefig("report.png", dpi=110)``.
    """
    drawn = planes(target)
    layout = arranged([plane.size for plane in drawn], FOOT if len(records) else 0.0)
    figure = Picture(figsize=(layout.total_width, layout.total_height), facecolor="white")
    axes = {
        name: [figure.add_axes(layout.place(*layout.panel(name, k, plane.size))) for k, plane in enumerate(drawn)]
        for name in PANELS
    }
    black_to_white = window(source), window(target)
    views = [_view(plane, source, target, moved, *black_to_white) for plane in drawn]
    _images(axes, views)
    _differences(figure, layout, axes, views, black_to_white)
    _map(figure, layout, axes, views, phi)
    _marks(axes, drawn, phi, points)
    _mask(axes["Fixed"], drawn, target)
    orient(axes["Fixed"], drawn)
    head(figure, layout, title, source, target)
    names(figure, layout)
    note(figure, layout, "Moving", "on the fixed grid,\nbefore φ")
    note(figure, layout, "Moved", "φ · moving = moving ∘ φ⁻¹")
    note(figure, layout, "Checkerboard", "fixed (upper left)\nand moved in turn")
    legend(figure, bool(points), target.mask is not None)
    if len(records):
        course = figure.add_axes(layout.place(*layout.course))
        caption(course, "Fit")
        history(course, records)
    return figure


def _view(plane: Plane, source: Image, target: Image, moved: Image, moving: Window, fixed: Window) -> View:
    images = [plane.of(image) for image in (target, source, moved)]
    levels = (fixed, moving, moving)
    shown = [pixels(values, window, plane) for values, window in zip(images, levels, strict=True)]
    before, after = (compared(values, images[0], (moving, fixed)) for values in images[1:])
    return View(plane, shown[0], shown[1], shown[2], before, after)


def _images(axes: Panels, views: Sequence[View]) -> None:
    for k, view in enumerate(views):
        show(axes["Fixed"][k], view.plane, view.fixed)
        show(axes["Moving"][k], view.plane, view.moving)
        show(axes["Moved"][k], view.plane, view.moved)
        show(axes["Checkerboard"][k], view.plane, tiled(view.plane, view.fixed, view.moved))


def _differences(
    figure: Figure, layout: Layout, axes: Panels, views: Sequence[View], levels: tuple[Window, Window]
) -> None:
    limit = reach([view.before for view in views])
    for k, view in enumerate(views):
        signed(axes["Difference before"][k], view.plane, view.before, limit)
        signed(axes["Difference after"][k], view.plane, view.after, limit)
    both = [[getattr(view, name) for view in views] for name in ("before", "after")]
    label = f"{meaning(*levels)}; {sizes(both, levels)}"
    bar_below(figure, layout, axes, ("Difference before", "Difference after"), label)


def _map(figure: Figure, layout: Layout, axes: Panels, views: Sequence[View], phi: Diffeo) -> None:
    maps = [pulled(phi, view.plane) for view in views]
    step, limit = spacing(maps), reach([m.logdet for m in maps], 1e-3)
    for k, (view, found) in enumerate(zip(views, maps, strict=True)):
        show(axes["Deformed grid"][k], view.plane, view.moved, alpha=FAINTNESS)
        lines(axes["Deformed grid"][k], found, step)
        signed(axes["log det Dφ"][k], found.plane, found.logdet, limit, DIVERGING, smooth=True)
    unit = views[0].plane.space.unit
    note(figure, layout, "Deformed grid", f"grid of {step:g} {unit} of the moving\nimage, carried by φ")
    bar_below(figure, layout, axes, ("log det Dφ",), logdet_label(maps))


def _mask(axes: Sequence[Axes], drawn: Sequence[Plane], target: Image) -> None:
    """The border of where the target counts."""
    if target.mask is None:
        return
    weights = dataclasses.replace(target, values=target.mask[None], mask=None, background=target.mask.new_zeros(1))
    for ax, plane in zip(axes, drawn, strict=True):
        inside = plane.of(weights)[0]
        if inside.min() < 0.5 < inside.max():
            ax.contour(*plane.ticks, inside, levels=[0.5], colors=MASK, linewidths=1.0)


def _marks(axes: Panels, drawn: Sequence[Plane], phi: Diffeo, points: Sequence[tuple[PointShape, PointShape]]) -> None:
    for after, target in points:
        with torch.no_grad():
            before = after.with_positions(phi.inverse(after.x))
        for k, plane in enumerate(drawn):
            mark(axes["Fixed"][k], plane, target, ROLES["target"])
            for name, shape, role in (("Moving", before, "source"), ("Moved", after, "moved")):
                link(axes[name][k], plane, shape, target, INK)
                mark(axes[name][k], plane, target, ROLES["target"])
                mark(axes[name][k], plane, shape, ROLES[role])
