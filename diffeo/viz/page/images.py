"""What pages show of images: slices to swipe through, pictures on their way, what goes along, and the overview."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffeo.core import Diffeo
from diffeo.shapes import Curve, Image, Mesh, PointShape
from diffeo.viz.image_overview import image_registration
from diffeo.viz.images import Window, ends, pixels, show, signed, window
from diffeo.viz.marks import mark
from diffeo.viz.moments import Moments, image_moments
from diffeo.viz.page.panel import Panel
from diffeo.viz.page.picture import Picture
from diffeo.viz.page.shapes import shape_scene
from diffeo.viz.page.swipe import Pictures, Swipe, address
from diffeo.viz.planes import FOREGROUND, Plane, planes
from diffeo.viz.style import DIVERGING, INK, ROLES
from diffeo.viz.warps import lines
from diffeo.viz.way import like_of

MOMENTS = 17
WIDE, HIGH, DPI = 880, 440, 90
"""Pixels of the pictures on their way, at most; those of three planes are beside each other. And of the overview."""
MOST = 720
"""Points along a side of a slice."""
BYTES = 1_800_000
"""Of all slices of a volume, about, and of all moments; where there are more, every second one is shown, or fewer."""
MOVED, FIXED, MOVING = "moved", "fixed", "moving"


class Companion(NamedTuple):
    """Points, a curve or a surface that go along with an image."""

    before: PointShape
    after: PointShape
    aim: PointShape


def image_panels(
    source: Image, target: Image, moved: Image, phi: Diffeo, companions: Sequence[Companion] = ()
) -> list[Panel]:
    """All that a page shows of a registration of images.

    Args:
        source: the moving image, in two or three dimensions.
        target: the fixed image.
        moved: φ · source.
        phi: the map.
        companions: drawn on the pictures; of those in space there are scenes, too.
    """
    carried = [(one.after, one.aim) for one in companions]
    pairs = [(one.before, one.aim) for one in companions]
    overview = image_registration(source, target, moved, phi, [], "Images and map", points=carried)
    return [
        _way(image_moments(source, target, phi, pairs, MOMENTS, HIGH), pairs),
        *_slices(source, target, moved),
        *(_scene(*pair, phi) for pair in pairs if target.grid.dim == 3),
        Picture("In one picture", overview, "Every panel shows the space of the fixed image.", dpi=DPI),
    ]


# ---- slices


def _slices(source: Image, target: Image, moved: Image) -> list[Panel]:
    """Before and after, one over the other: a picture whole, a volume in all three directions."""
    on_grid = source.resampled(target.grid) if target.grid.dim == 3 else source
    images = {MOVED: (moved, window(source)), FIXED: (target, window(target)), MOVING: (on_grid, window(source))}
    drawn = [replace(plane, most=MOST) for plane in planes(target)]
    every = [_levels(plane, target) for plane in drawn]
    one = [sum(len(address(_picture(plane, *of))) for of in images.values()) for plane in drawn]
    stride = math.ceil(sum(cost * len(levels) for cost, levels in zip(one, every, strict=True)) / BYTES)
    return [
        _swipe(plane, [level for level in levels if (level - plane.level) % stride == 0], images)
        for plane, levels in zip(drawn, every, strict=True)
    ]


def _levels(plane: Plane, target: Image) -> list[int]:
    """The slices in which the fixed image is seen."""
    if plane.across is None:
        return [0]
    axis = plane.across.axis
    away = target.above_background.detach().abs().amax(0).cpu()
    seen = (away > FOREGROUND * away.max()).movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0].tolist()
    return list(range(seen[0], seen[-1] + 1)) if seen else [plane.level]


def _picture(plane: Plane, image: Image, levels: Window) -> Pictures:
    """Pixels with row 0 at the top, shape (h, w) or (h, w, 3)."""
    shades = np.round(255 * pixels(plane.of(image), levels, plane)).astype(np.uint8)
    return shades if plane.space.downward else shades[::-1]


def _swipe(plane: Plane, levels: Sequence[int], images: dict[str, tuple[Image, Window]]) -> Swipe:
    drawn = [replace(plane, level=level) for level in levels]
    found = {name: np.stack([_picture(at, *of) for at in drawn]) for name, of in images.items()}
    direction = "" if plane.across is None else plane.space.views[plane.across.coordinate]
    title = f"Before and after: {direction} slices" if direction else "Before and after"
    (columns, rows), up = plane.axes, plane.factors
    return Swipe(
        title,
        found.pop(MOVED),
        found.pop(FIXED),
        _directions(plane),
        names=(MOVED, FIXED),
        others=found,
        aspect=plane.grid.spacing[rows] * up[rows] / (plane.grid.spacing[columns] * up[columns]),
        slices=[at.name for at in drawn] if direction else None,
        start=int(np.argmin(np.abs(np.array(levels) - plane.level))),
    )


def _directions(plane: Plane) -> str:
    """How to look at it."""
    (left, right), (bottom, top) = (plane.space.ends[side.coordinate] for side in (plane.right, plane.up))
    said = "Drag the bar; what continues across it is aligned."
    return f"{said} {left} is at the left, {right} at the right, {top} above, {bottom} below." if left else said


# ---- on the way


def _way(pictures: Moments, points: Sequence[tuple[PointShape, PointShape]]) -> Swipe:
    """The moving image moment by moment, beside the fixed one, their difference, and the map."""
    canvas = Canvas(pictures.planes)
    unit = pictures.planes[0].space.unit

    def aims(ax: Axes, j: int) -> None:
        for _, aim in points:
            mark(ax, pictures.planes[j], aim, ROLES["target"])

    def fixed(ax: Axes, j: int, _: int) -> None:
        show(ax, pictures.planes[j], pictures.fixed[j])
        aims(ax, j)

    def moving(ax: Axes, j: int, k: int) -> None:
        show(ax, pictures.planes[j], pictures.shown[j][k])
        aims(ax, j)
        for (shape, _), x in zip(points, pictures.way.points, strict=True):
            mark(ax, pictures.planes[j], shape.with_positions(torch.as_tensor(x[k]).to(shape.x)), ROLES["moved"])

    def difference(ax: Axes, j: int, k: int) -> None:
        signed(ax, pictures.planes[j], pictures.apart[j][k], pictures.farthest)

    def growth(ax: Axes, j: int, k: int) -> None:
        way = pictures.way.planes[j]
        signed(ax, way.plane, way.logdet[k], pictures.growth, DIVERGING, smooth=True)
        lines(ax, way.pulled(k), pictures.step, INK)

    far = pictures.farthest
    span = f"from {-far:.3g} (purple) through 0 (white) to {far:.3g} (orange)"
    if all(level.names for level in pictures.levels):
        span = "0 (white) elsewhere"
    said = [
        "What is left and right of the bar can be chosen.",
        f"Difference: {pictures.meaning}, {span}.",
        f"Map: log det Dφ so far, from {-pictures.growth:.2g} (blue: shrunk) through 0 (white) to "
        f"{pictures.growth:.2g} (red: grown), and a grid of {pictures.step:g} {unit} of the moving image.",
    ]
    if points:
        said.append("Points, curves and surfaces: green those that move, orange where they are to go.")
    ways = moving, difference, growth
    cost = MOMENTS * sum(len(address(canvas.frames(paint, [MOMENTS // 2])[0])) for paint in ways)
    every = range(0, MOMENTS, next((k for k in (1, 2, 4) if cost < k * BYTES), 4))
    return Swipe(
        "On its way",
        canvas.frames(moving, every),
        canvas.frames(fixed, [0]),
        " ".join(said).replace("-", "−"),
        names=("on its way", FIXED),
        others={"difference": canvas.frames(difference, every), "map": canvas.frames(growth, every)},
        times=pictures.way.times[every].tolist(),
        clock="part of the way",
        smooth=True,
    )


class Canvas:
    """Planes beside each other, true to scale, with nothing around them.

    Args:
        drawn: the planes.
    """

    def __init__(self, drawn: Sequence[Plane]) -> None:
        self.planes = drawn
        total, tallest = sum(plane.size[0] for plane in drawn), max(plane.size[1] for plane in drawn)
        scale = min(WIDE / total, HIGH / tallest)
        width, height = round(scale * total), round(scale * tallest)
        self.figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="black")
        self.axes, left = [], 0.0
        for plane in drawn:
            w, h = plane.size[0] / total, plane.size[1] / tallest
            self.axes.append(self.figure.add_axes((left, (1 - h) / 2, w, h)))
            left += w

    def frames(self, paint: Callable[[Axes, int, int], None], moments: Sequence[int]) -> Pictures:
        """What ``paint`` draws on the axes of the plane j at the moment k, shape (moments, h, w, 3)."""
        found, canvas = [], FigureCanvasAgg(self.figure)
        for k in moments:
            for j, (ax, plane) in enumerate(zip(self.axes, self.planes, strict=True)):
                paint(ax, j, k)
                ends(ax, plane)
            canvas.draw()
            found.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
            for ax in self.axes:  # clearing them would take longer than drawing
                for artist in (*ax.images, *ax.collections, *ax.texts):
                    artist.remove()
        return np.stack(found)


# ---- in space


def _scene(before: PointShape, aim: PointShape, phi: Diffeo) -> Panel:
    """What goes along with a volume, by itself."""
    kind = {Mesh: "a surface", Curve: "a curve"}.get(type(before), "points")
    x = before.x.to(like_of(phi))
    return replace(shape_scene(before.with_positions(x), aim, phi), title=f"What goes along: {kind}")
