"""Films of densities: rows are carried to the base; then draws of the base become draws of the density."""

from __future__ import annotations

from diffeo.viz.density_way import DensityWay, said
from diffeo.viz.film import Film
from diffeo.viz.films.board import Board
from diffeo.viz.films.density_panels import Line, Pairs, Panels, Plane


class DensityFilm(Film):
    """Rows on their way to the base, then draws on their way back, over the density that each moment has.

    In one and two dimensions the density of a moment is computed, also that of one column given another; for more
    columns it is told by draws. Coordinates are those of the flow.

    Args:
        way: what to show.
        title: written above.

    Attributes:
        moments: twice those of the way: there, and back.
        panels: what is drawn on.
    """

    def __init__(self, way: DensityWay, title: str | None = None) -> None:
        self.way, self.panels = way, panels_of(way)
        self.board = Board(
            self.panels.width, self.panels.height, title or "Density flow", remark(way), clock="rows",
            ends=("", "base"),
        )  # fmt: skip
        self.figure = self.board.figure
        self.panels.place(self.board)
        self.moments = 2 * len(way.times)
        self.rests = (len(way.times) - 1, len(way.times))

    def draw(self, k: int) -> None:
        """Rows at the moment k, or draws at the moment 2T − 1 − k."""
        there = k < len(self.way.times)
        moment = k if there else self.moments - 1 - k
        self.board.show_time(float(self.way.times[moment]))
        self.panels.draw(self.board, moment, "rows" if there else "draws")


def panels_of(way: DensityWay) -> Panels:
    """What can be shown of so many columns."""
    if len(way.low) == 1:
        return Line(way)
    return Plane(way) if len(way.low) == 2 else Pairs(way)


def remark(way: DensityWay) -> str:
    """How far it is to the base, and what that is."""
    if way.moves:
        return f"rows go {way.moved:.2g} standard deviations\non average, to {said(way.law)}"
    only = "φ only opens bounds up" if way.opened else "φ is affine and only changes units"
    return f"nothing moves: {only};\n{said(way.law)} is the density"
