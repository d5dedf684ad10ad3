"""What all films have in common: a title, a remark, panels, and a line that says how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from diffeo.viz.picture import Picture
from diffeo.viz.style import FAINT, GREEN, INK, LARGE, SMALL

LEFT, TOP, FOOT = 0.25, 0.32, 0.3
"""Inches: where the title begins, how far its line is from the upper border, and the time line from the lower one."""


class Board:
    """A figure for a film; all lengths in inches.

    Args:
        width, height: of the figure.
        title: above, at the left.
        remark: above, at the right, small.
        clock: what the time line is called.
        ends: what is written at its two ends.
    """

    def __init__(
        self,
        width: float,
        height: float,
        title: str,
        remark: str = "",
        *,
        clock: str = "part of the way",
        ends: tuple[str, str] = ("0", "1"),
    ) -> None:
        self.width, self.height = width, height
        self.figure = Picture(figsize=(width, height), facecolor="white")
        self._passing: dict[Axes, list[Artist]] = {}
        self._write(LEFT, height - TOP, title, LARGE + 2, "left")
        self._write(width - LEFT, height - TOP, remark, SMALL, "right")
        self._write(LEFT, FOOT, clock, SMALL, "left")
        begin, end = LEFT + 0.085 * len(clock) + 0.25, width - LEFT - 0.09 * len(ends[1])
        self._write(begin - 0.08, FOOT, ends[0], SMALL, "right")
        self._write(end + 0.08, FOOT, ends[1], SMALL, "left")
        self._span = (begin / width, end / width)
        self._done = self._stroke(GREEN, 2.5)
        self._dot = self._stroke(GREEN, 0, marker="o", ms=6)
        self.show_time(0)

    def panel(self, left: float, bottom: float, width: float, height: float, **options: Any) -> Axes:
        """Axes at a place from the lower left corner; ``projection="3d"`` for space."""
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place, **options)

    def show_time(self, part: float) -> None:
        """Move the time line to a part between 0 and 1."""
        begin, end = self._span
        at = begin + part * (end - begin)
        self._done.set_xdata([begin, at])
        self._dot.set_xdata([at])

    @contextmanager
    def redrawn(self, ax: Axes) -> Iterator[None]:
        """Whatever the block draws on the axes takes the place of what the block before it drew there."""
        for artist in self._passing.pop(ax, []):
            artist.remove()
        before = set(ax.get_children())
        yield
        self._passing[ax] = [artist for artist in ax.get_children() if artist not in before]

    def _write(self, x: float, y: float, text: str, size: float, ha: str) -> None:
        place = x / self.width, y / self.height
        self.figure.text(*place, text, fontsize=size, color=INK, ha=ha, va="center_baseline")

    def _stroke(self, color: str, width: float, **look: Any) -> Line2D:
        """A stretch of the time line, over its grey whole."""
        begin, end = self._span
        y = FOOT / self.height
        if width:
            self.figure.add_artist(Line2D([begin, end], [y, y], color=FAINT, lw=1))
        drawn = Line2D([begin, begin] if width else [begin], [y, y] if width else [y], color=color, lw=width, **look)
        self.figure.add_artist(drawn)
        return drawn
