"""Where the panels of an image registration are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PANELS = (
    "Fixed", "Moving", "Moved", "Checkerboard", "Difference before", "Difference after", "Deformed grid", "log det Dφ",
)  # fmt: skip
"""In the order in which they are read."""

LEFT, RIGHT, GAP = 0.65, 0.3, 0.09
TOP, CAPTION, STRIP, COURSE, BOTTOM = 0.8, 0.3, 0.62, 2.0, 0.6
"""Inches: header, title of a panel, what is written below one, the course of the fit and what is below it."""
FOOT = CAPTION + COURSE + BOTTOM
"""Inches: what is below the panels, where there is a course of the fit."""
NARROWEST, LOWEST = 1.75, 0.9
"""Inches: room that a panel has at least, for its title and the name of its row."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Layout:
    """Bands of panels, in each a row per plane; all lengths in inches from the upper left corner.

    Attributes:
        columns: panels beside each other.
        scale: inches per length unit, the same in all panels.
        width: the room for a panel.
        rows: the height of the room for each row of a band.
        foot: the height of what is drawn below the panels, over their whole width; 0 for nothing.
        panels: their names, in the order in which they are read.
    """

    columns: int
    scale: float
    width: float
    rows: tuple[float, ...]
    foot: float = 0.0
    panels: tuple[str, ...] = PANELS

    @property
    def total_width(self) -> float:
        """That of the figure."""
        return LEFT + self.columns * self.width + (self.columns - 1) * GAP + RIGHT

    @property
    def total_height(self) -> float:
        """That of the figure."""
        return self._end + self.foot

    @property
    def course(self) -> Box:
        """Room for the course of the fit, in the foot: left, top, width, height."""
        left = LEFT + 0.1
        return left, self._end + CAPTION, self.total_width - left - RIGHT, self.foot - CAPTION - BOTTOM

    @property
    def _band(self) -> float:
        return CAPTION + sum(self.rows) + GAP * (len(self.rows) - 1) + STRIP

    @property
    def _end(self) -> float:
        return TOP + self._band * (len(self.panels) // self.columns)

    def room(self, panel: str, row: int) -> Box:
        """Room for a panel: left, top, width, height; the row after the last one is the strip below the band."""
        band, column = divmod(self.panels.index(panel), self.columns)
        top = TOP + band * self._band + CAPTION + sum(self.rows[:row]) + GAP * row
        height = self.rows[row] if row < len(self.rows) else STRIP - GAP
        return LEFT + column * (self.width + GAP), top, self.width, height

    def panel(self, panel: str, row: int, size: tuple[float, float]) -> Box:
        """The panel in its room: as large as ``size``, in length units, says."""
        left, top, width, height = self.room(panel, row)
        w, h = self.scale * size[0], self.scale * size[1]
        return left + (width - w) / 2, top + (height - h) / 2, w, h

    def place(self, left: float, top: float, width: float, height: float) -> Box:
        """Left, bottom, width and height in parts of the figure, as matplotlib takes them."""
        w, h = self.total_width, self.total_height
        return left / w, 1 - (top + height) / h, width / w, height / h


def arranged(sizes: Sequence[tuple[float, float]], foot: float = 0.0) -> Layout:
    """Two bands of four panels for one plane, one band of eight for several.

    Args:
        sizes: width and height of each plane, in length units.
        foot: the height of what is drawn below, in inches.
    """
    return fitted(sizes, PANELS, 4, 3.2, 3.0, foot) if len(sizes) == 1 else fitted(sizes, PANELS, 8, 1.83, 4.0, foot)


def fitted(
    sizes: Sequence[tuple[float, float]],
    panels: tuple[str, ...],
    columns: int,
    widest: float,
    tallest: float,
    foot: float = 0.0,
) -> Layout:
    """Panels as large as they may be.

    Args:
        sizes: width and height of each plane, in length units.
        panels: their names.
        columns: panels beside each other, a divisor of their number.
        widest, tallest: inches that a panel has at most.
        foot: the height of what is drawn below, in inches.
    """
    scale = min(widest / max(w for w, _ in sizes), tallest / max(h for _, h in sizes))
    width = max(NARROWEST, *(scale * w for w, _ in sizes))
    return Layout(columns, scale, width, tuple(max(LOWEST, scale * h) for _, h in sizes), foot, panels)
