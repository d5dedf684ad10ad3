"""Films of networks: rows flow through the layers, with the plane that they lie in, to where they are told apart."""

from __future__ import annotations

import textwrap

from diffeo.viz.film import Film
from diffeo.viz.films.board import Board
from diffeo.viz.learned import Learned, course, view
from diffeo.viz.learned_panel import draw_read_out, draw_sheet, dress_panel, far_out, limits
from diffeo.viz.style import INK, SMALL
from diffeo.viz.view import sample

LEFT, SIDE, RIGHT = 0.85, 4.0, 0.3
FOOT, AXIS, LINE, HEAD, REMARK = 0.6, 0.55, 0.2, 0.65, 0.17
"""Inches: beside the panel, its side; the time line, what is under the panel, a line of the key, what is above all."""
MOST_DOTS = 700
LETTERS, MOST_LINES = 62, 3  # of a remark or a key that fit on a line; lines of the key


class LearningFilm(Film):
    """Rows on their way through the layers; in the last picture also what is read out there, and what is wrong.

    Args:
        learned: the network, with the rows to show.
        moments: from the first layer to the last, evenly along the way.
        title: written above.
    """

    def __init__(self, learned: Learned, moments: int = 25, *, title: str | None = None) -> None:
        self.learned, self.moments = learned, moments
        self.seen = view(learned)
        self.course = course(learned, self.seen, moments)
        self.extent = limits(self.course, range(moments))
        self.rows = sample(len(learned.rows), MOST_DOTS)
        key = learned.target.key(LETTERS, MOST_LINES)
        remark = wrapped(f"{self.seen.remark} {far_out(self.course, [self.extent] * moments)}")
        head = HEAD + REMARK * len(remark)
        strip = LINE * key.lines
        bottom = FOOT + strip + AXIS
        self.board = Board(
            LEFT + SIDE + RIGHT, bottom + SIDE + head, title or "Residual network", clock="layer",
            ends=("0", f"{self.course.layers}"),
        )  # fmt: skip
        self.figure = self.board.figure
        for k, line in enumerate(remark):
            place = 0.25 / self.board.width, 1 - (0.55 + REMARK * k) / self.board.height
            self.figure.text(*place, line, fontsize=SMALL, color=INK, va="center_baseline")
        self.ax = self.board.panel(LEFT, bottom, SIDE, SIDE)
        dress_panel(self.ax, self.seen, self.extent)
        self._sheet = draw_sheet(self.ax, self.course, 0)
        self._dots = learned.target.dots(self.ax, self.course.rows[0], self.rows)
        key.draw(self.board.panel(LEFT - 0.6, FOOT, SIDE + 0.6, strip))

    def draw(self, k: int) -> None:
        """Show rows where they are after so many layers."""
        at, last = float(self.course.at[k]), k == self.moments - 1
        self.board.show_time(at / max(1, self.course.layers))
        for dots in self._dots:
            dots.artist.set_offsets(self.course.rows[k][dots.rows])
        if self._sheet is not None and self.course.sheet is not None:
            self._sheet.set_segments(list(self.course.sheet[k]))
        with self.board.redrawn(self.ax):
            if last:
                draw_read_out(self.ax, self.learned, self.extent)
                self.learned.target.rings(self.ax, self.course.rows[k], self.rows)


def wrapped(remark: str) -> list[str]:
    """Lines of a remark, none too long."""
    return textwrap.wrap(remark, LETTERS)
