"""Films of points, curves and surfaces on their way."""

from __future__ import annotations

from diffeo.core import Diffeo
from diffeo.shapes import PointShape
from diffeo.viz.draw import legend
from diffeo.viz.film import Film
from diffeo.viz.films.board import Board
from diffeo.viz.quantities import Quantity
from diffeo.viz.stages.choice import stage
from diffeo.viz.view import remark

WIDEST, TALLEST, LOWEST = 5.2, 4.7, 1.6
"""Inches, of the panel."""
LEFT, RIGHT, ABOVE, BELOW = 0.75, 1.35, 0.85, 1.0
"""Inches: what is beside, above and below it."""


class ShapeFilm(Film):
    """A shape on its way, with the target as a ghost, and where the way began.

    Args:
        source: before; of more than three coordinates the first three are shown, and it says so.
        target: where it goes, of the same dimension.
        phi: the map, in the dtype and on the device of the source.
        moments: at least 2.
        title: written above.
        quantity: see `stage`.
    """

    def __init__(
        self,
        source: PointShape,
        target: PointShape,
        phi: Diffeo,
        *,
        moments: int = 25,
        title: str = "Registration",
        quantity: Quantity | None = None,
    ) -> None:
        self.moments = moments
        self.stage = stage(source, target, phi, moments, quantity)
        width = min(WIDEST, TALLEST * self.stage.aspect)
        height = max(LOWEST, min(TALLEST, width / self.stage.aspect))
        self.board = Board(LEFT + width + RIGHT, BELOW + height + ABOVE, title, remark(source))
        self.figure = self.board.figure
        self.ax = self.board.panel(LEFT, BELOW, width, height, projection=self.stage.projection)
        self.stage.prepare(self.ax)
        self.stage.bar(self.ax)
        legend(self.ax, self.stage.handles())

    def draw(self, k: int) -> None:
        """Show the shape after the k-th part of the way."""
        self.board.show_time(float(self.stage.way.times[k]))
        with self.board.redrawn(self.ax):
            self.stage.show(self.ax, k)
