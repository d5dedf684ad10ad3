"""Films of images on their way, with all that goes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from diffeo.core import Diffeo
from diffeo.shapes import Image, Nearest, PointShape
from diffeo.viz.differences import compared, root_mean_square, unit
from diffeo.viz.film import Film
from diffeo.viz.films.board import Board
from diffeo.viz.image_words import bar_below, legend, names, note, orient, remark
from diffeo.viz.images import pixels, reach, show, signed, window
from diffeo.viz.layout import fitted
from diffeo.viz.marks import mark
from diffeo.viz.planes import Plane, planes
from diffeo.viz.style import DIVERGING, INK, ROLES, SMALL
from diffeo.viz.view import Array
from diffeo.viz.warps import lines, logdet_label, spacing
from diffeo.viz.way import image_way

FIXED, MOVING, DIFFERENCE, MAP = "Fixed", "On its way", "Difference", "log det Dφₜ"
FOOT = 0.55
"""Inches: below the panels, for the time line."""
MOST = 256
"""Points along a side of a panel; finer ones are shrunk."""


class ImageFilm(Film):
    """The moving image on its way, how it differs from the fixed one, and the map so far.

    A picture is shown whole; of a volume the axial, the coronal and the sagittal slice through the center of the fixed
    image's foreground. Every panel shows the space of the fixed image, and no color changes its meaning on the way.

    Args:
        source: the moving image, in two or three dimensions.
        target: the fixed image.
        phi: the map.
        points: shapes that go along, as (before, its target): drawn where they meet the slices.
        moments: at least 2.
        title: written above.

    Attributes:
        way: of the image, and of the points.
    """

    def __init__(
        self,
        source: Image,
        target: Image,
        phi: Diffeo,
        *,
        points: Sequence[tuple[PointShape, PointShape]] = (),
        moments: int = 25,
        title: str = "Registration",
    ) -> None:
        drawn = [replace(plane, most=MOST) for plane in planes(target)]
        self.moments, self.points = moments, points
        self.way = image_way(phi, source, drawn, moments, [shape.x for shape, _ in points])
        self._levels = window(source), window(target)
        self._compute(light(source, drawn), target)
        panels = (FIXED, MOVING, DIFFERENCE, MAP)
        sizes = [plane.size for plane in drawn]
        self.layout = fitted(sizes, panels, 4, *((3.0, 3.0) if len(drawn) == 1 else (1.75, 4.0)), FOOT)
        self.board = Board(
            self.layout.total_width,
            self.layout.total_height,
            title,
            f"fixed: {remark(target)}\nmoving: {remark(source)}",
        )
        self.figure = self.board.figure
        self.axes = {
            name: [
                self.figure.add_axes(self.layout.place(*self.layout.panel(name, k, plane.size)))
                for k, plane in enumerate(drawn)
            ]
            for name in panels
        }
        self._step = spacing([way.pulled(moments - 1) for way in self.way.planes])
        self._pictures = self._first(target)
        self._write(source, target)
        self.draw(0)

    def _compute(self, source: Image, target: Image) -> None:
        """The pictures of all moments: what is shown, and how it differs."""
        self._shown: list[list[Array]] = []
        self._apart: list[list[Array]] = []
        for way in self.way.planes:
            values = [way.carried(source, k) for k in range(self.moments)]
            fixed = way.plane.of(target)
            self._shown.append([pixels(v, self._levels[0], way.plane) for v in values])
            self._apart.append([compared(v, fixed, self._levels) for v in values])

    def _first(self, target: Image) -> dict[str, list[AxesImage]]:
        """What stays, and the pictures that change."""
        apart = reach([part[0] for part in self._apart])
        growth = reach([way.logdet[-1] for way in self.way.planes], 1e-3)
        found: dict[str, list[AxesImage]] = {MOVING: [], DIFFERENCE: [], MAP: []}
        for k, way in enumerate(self.way.planes):
            plane = way.plane
            show(self.axes[FIXED][k], plane, pixels(plane.of(target), self._levels[1], plane))
            found[MOVING].append(show(self.axes[MOVING][k], plane, self._shown[k][0]))
            found[DIFFERENCE].append(signed(self.axes[DIFFERENCE][k], plane, self._apart[k][0], apart))
            found[MAP].append(signed(self.axes[MAP][k], plane, way.logdet[-1], growth, DIVERGING, smooth=True))
            for _, aim in self.points:
                mark(self.axes[FIXED][k], plane, aim, ROLES["target"])
                mark(self.axes[MOVING][k], plane, aim, ROLES["target"])
        return found

    def _write(self, source: Image, target: Image) -> None:
        """Names, color bars, and what the panels show."""
        figure, layout, (plane, *_) = self.figure, self.layout, [way.plane for way in self.way.planes]
        names(figure, layout)
        orient(self.axes[FIXED], [way.plane for way in self.way.planes])
        note(figure, layout, MOVING, "φₜ · moving = moving ∘ φₜ⁻¹")
        bar_below(figure, layout, self.axes, (DIFFERENCE,), f"image − fixed ({unit(*self._levels)})")
        growth = logdet_label([way.pulled(self.moments - 1) for way in self.way.planes])
        bar_below(figure, layout, self.axes, (MAP,), f"{growth}; grid of {self._step:g} {plane.space.unit}")
        legend(figure, bool(self.points), False)
        self._error = self.axes[DIFFERENCE][0].text(0.03, 0.97, "", va="top", fontsize=SMALL, color=INK)
        self._error.set_transform(self.axes[DIFFERENCE][0].transAxes)
        self._error.set_bbox({"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5})

    def draw(self, k: int) -> None:
        """Show the moment k."""
        self.board.show_time(float(self.way.times[k]))
        self._error.set_text(f"RMS {root_mean_square([part[k] for part in self._apart]):.3g}")
        for j, way in enumerate(self.way.planes):
            self._pictures[MOVING][j].set_data(self._shown[j][k])
            self._pictures[DIFFERENCE][j].set_data(self._apart[j][k])
            self._pictures[MAP][j].set_data(np.ma.masked_invalid(way.logdet[k]))
            with self.board.redrawn(self.axes[MAP][j]):
                lines(self.axes[MAP][j], way.pulled(k), self._step, INK)
            with self.board.redrawn(self.axes[MOVING][j]):
                self._marks(self.axes[MOVING][j], way.plane, k)

    def _marks(self, ax: Axes, plane: Plane, k: int) -> None:
        """What goes along."""
        for (shape, _), positions in zip(self.points, self.way.points, strict=True):
            mark(ax, plane, shape.with_positions(torch.as_tensor(positions[k]).to(shape.x)), ROLES["moved"])


def light(image: Image, drawn: Sequence[Plane]) -> Image:
    """An image that is no finer than the pictures that are made of it, so that nothing is aliased; labels stay."""
    if isinstance(image.interpolation, Nearest):
        return image
    step = min(min(plane.factors[k] * plane.grid.spacing[k] for k in plane.axes) for plane in drawn)
    return image.shrunk(tuple(max(1, int(step / s + 0.1)) for s in image.grid.spacing))
