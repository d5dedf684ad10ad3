"""Films of images on their way, with all that goes along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from diffeo.core import Diffeo
from diffeo.shapes import Image, PointShape
from diffeo.viz.differences import sizes
from diffeo.viz.film import Film
from diffeo.viz.films.board import LEFT, Board
from diffeo.viz.image_words import bar_below, names, note, orient, remark
from diffeo.viz.images import show, signed
from diffeo.viz.layout import fitted
from diffeo.viz.marks import mark
from diffeo.viz.moments import image_moments
from diffeo.viz.planes import Plane
from diffeo.viz.style import DIVERGING, INK, ROLES, SMALL
from diffeo.viz.warps import lines, logdet_label

FIXED, MOVING, DIFFERENCE, MAP = PANELS = ("Fixed", "On its way", "Difference", "log det Dφₜ")
FOOT, UNDER = 0.55, 0.72
"""Inches: below the panels, for the time line; from the top to the legend."""
MOST = 256
"""Points along a side of a panel; finer ones are shrunk."""
SIZES = {1: (3.0, 3.0), 3: (1.75, 4.0)}
"""Inches: how wide and how high panels are at most, by the number of planes."""


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
        pictures: what is shown of the images.
        axes: those of each panel, one per plane.
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
        self.moments, self.points = moments, points
        self.pictures = image_moments(source, target, phi, points, moments, MOST)
        extents = [plane.size for plane in self.pictures.planes]
        self.layout = fitted(extents, PANELS, len(PANELS), *SIZES.get(len(extents), SIZES[3]), FOOT)
        size = self.layout.total_width, self.layout.total_height
        self.board = Board(*size, title, f"fixed: {remark(target)}\nmoving: {remark(source)}")
        self.figure = self.board.figure
        self.axes = {
            name: [
                self.figure.add_axes(self.layout.place(*self.layout.panel(name, k, extent)))
                for k, extent in enumerate(extents)
            ]
            for name in PANELS
        }
        self._drawn = self._first()
        self._write()
        self.draw(0)

    def _first(self) -> dict[str, list[AxesImage]]:
        """What stays, and the pictures that change."""
        pictures = self.pictures
        found: dict[str, list[AxesImage]] = {MOVING: [], DIFFERENCE: [], MAP: []}
        for k, (plane, way) in enumerate(zip(pictures.planes, pictures.way.planes, strict=True)):
            at = {name: axes[k] for name, axes in self.axes.items()}
            show(at[FIXED], plane, pictures.fixed[k])
            found[MOVING].append(show(at[MOVING], plane, pictures.shown[k][0]))
            found[DIFFERENCE].append(signed(at[DIFFERENCE], plane, pictures.apart[k][0], pictures.farthest))
            found[MAP].append(signed(at[MAP], plane, way.logdet[-1], pictures.growth, DIVERGING, smooth=True))
            for _, aim in self.points:
                for name in (FIXED, MOVING):
                    mark(at[name], plane, aim, ROLES["target"])
        return found

    def _write(self) -> None:
        """Names, color bars, and what the panels show."""
        figure, layout, pictures = self.figure, self.layout, self.pictures
        names(figure, layout)
        orient(self.axes[FIXED], pictures.planes)
        note(figure, layout, MOVING, "φₜ · moving = moving ∘ φₜ⁻¹")
        bar_below(figure, layout, self.axes, (DIFFERENCE,), pictures.meaning)
        grid = f"grid of {pictures.step:g} {pictures.planes[0].space.unit}"
        growth = logdet_label([way.pulled(-1) for way in pictures.way.planes])
        bar_below(figure, layout, self.axes, (MAP,), f"{growth}; {grid}")
        if self.points:
            above = (1 - LEFT / layout.total_width, 1 - UNDER / layout.total_height)
            handles = [Line2D([], [], color=ROLES[role], lw=3, label=role) for role in ("target", "moved")]
            figure.legend(
                handles=handles, loc="center right", bbox_to_anchor=above, ncols=2, frameon=False, fontsize=SMALL,
                borderaxespad=0.0, borderpad=0.0,
            )  # fmt: skip
        ax = self.axes[DIFFERENCE][0]
        self._error = ax.text(0.03, 0.97, "", va="top", fontsize=SMALL, color=INK, transform=ax.transAxes)
        self._error.set_bbox({"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5})

    def draw(self, k: int) -> None:
        """Show the moment k."""
        pictures = self.pictures
        self.board.show_time(float(pictures.way.times[k]))
        self._error.set_text(sizes([[part[k] for part in pictures.apart]], pictures.levels))
        for j, (plane, way) in enumerate(zip(pictures.planes, pictures.way.planes, strict=True)):
            self._drawn[MOVING][j].set_data(pictures.shown[j][k])
            self._drawn[DIFFERENCE][j].set_data(pictures.apart[j][k])
            self._drawn[MAP][j].set_data(np.ma.masked_invalid(way.logdet[k]))
            with self.board.redrawn(self.axes[MAP][j]):
                lines(self.axes[MAP][j], way.pulled(k), pictures.step, INK)
            with self.board.redrawn(self.axes[MOVING][j]):
                self._marks(self.axes[MOVING][j], plane, k)

    def _marks(self, ax: Axes, plane: Plane, k: int) -> None:
        """What goes along."""
        for (shape, _), positions in zip(self.points, self.pictures.way.points, strict=True):
            mark(ax, plane, shape.with_positions(torch.as_tensor(positions[k]).to(shape.x)), ROLES["moved"])
