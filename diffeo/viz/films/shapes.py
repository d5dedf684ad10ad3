"""What films of points, curves and surfaces have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch

from diffeo.shapes import PointShape
from diffeo.viz.draw import handle, legend
from diffeo.viz.film import Film
from diffeo.viz.films.board import Board
from diffeo.viz.quantities import Quantity, telling
from diffeo.viz.style import ROLES, color_bar
from diffeo.viz.timeline import Timeline
from diffeo.viz.view import Array, remark

LEFT, RIGHT, ABOVE, BELOW = 0.75, 1.35, 0.85, 1.0
"""Inches: what is beside, above and below the panel."""


class ShapeFilm(Film):
    """A shape on its way, with the target as a ghost, and where the way began.

    Args:
        source: before; of more than three coordinates the first three are shown, and it says so.
        target: where it goes, of the same dimension.
        way: that of the source's points.
        size: of the panel, in inches.
        title: written above.
        quantity: what the moving shape is colored by; by default what tells more.
        space: whether the panel shows three dimensions.
    """

    def __init__(
        self,
        source: PointShape,
        target: PointShape,
        way: Timeline,
        size: tuple[float, float],
        title: str,
        quantity: Quantity | None = None,
        *,
        space: bool = False,
    ) -> None:
        self.source, self.target, self.way = source, target, way
        self.moments = len(way.times)
        self.quantity = telling(way) if quantity is None else quantity
        self._values, self._scale = self.quantity.values(way), self.quantity.scale(way)
        width, height = size
        self.board = Board(LEFT + width + RIGHT, BELOW + height + ABOVE, title, remark(source))
        self.figure = self.board.figure
        self.ax = self.board.panel(LEFT, BELOW, width, height, projection="3d" if space else None)

    def draw(self, k: int) -> None:
        """Show the shape after the k-th part of the way."""
        self.board.show_time(float(self.way.times[k]))
        with self.board.redrawn(self.ax):
            self._show(k)

    @abstractmethod
    def _show(self, k: int) -> None:
        """Draw what moves."""

    def _at(self, k: int) -> PointShape:
        """The shape on its way."""
        return self.source.with_positions(torch.as_tensor(self.way.positions[k]).to(self.source.x))

    def _colors(self, k: int) -> Array:
        """One color per point, shape (n, 4)."""
        return np.asarray(self._scale.to_rgba(self._values[k]))

    def _legend(self, moving: Any = None) -> None:
        """Names above the panel; ``moving`` is the color of the moving shape, if it has one."""
        middle = self._scale.to_rgba(np.mean(self._scale.get_clim()) + 0.1 * np.ptp(self._scale.get_clim()))
        shown = (
            ("source", self.source, ROLES["source"]),
            ("target", self.target, ROLES["target"]),
            ("moving", self.source, middle if moving is None else moving),
        )
        legend(self.ax, [handle(name, shape, color) for name, shape, color in shown])

    def _bar(self) -> None:
        """The colors of the moving shape."""
        color_bar(self.ax, self._scale, self.quantity.label(self.way))
