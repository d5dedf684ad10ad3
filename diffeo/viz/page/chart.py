"""Curves over an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from diffeo.viz.page.panel import Panel, plain
from diffeo.viz.style import colors_of


@dataclass(frozen=True)
class Chart(Panel):
    """Curves, told apart by color and by dashes.

    Attributes:
        title: what it shows.
        series: x and y by name, each of shape (n,); gaps where y is not finite, or not positive on a log scale.
        xlabel, ylabel: of the axes, with units.
        log: whether y is on a log scale.
        note: how to read it.
        marks: places on the x axis with their names, drawn as dotted lines.
        colors: one per series; by default the palette's.
        points: whether the series are points without a line.
        wide: whether it takes a row of its own where there is room for two.

    Raises: ValueError for series without values, or of two lengths.
    """

    title: str
    series: Mapping[str, tuple[Any, Any]]
    xlabel: str
    ylabel: str
    log: bool = False
    note: str = ""
    marks: Mapping[float, str] = field(default_factory=dict)
    colors: Sequence[str] | None = None
    points: bool = False
    wide: bool = False
    kind: ClassVar[str] = "chart"
    plotly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.series:
            raise ValueError(f"the chart {self.title} expects at least one series, and got none.")
        for name, (x, y) in self.series.items():
            if len(x) != len(y) or not len(x):
                raise ValueError(
                    f"the series {name} expects as many y as x, at least one, and got {len(y)} and {len(x)}."
                )

    def body(self) -> str:
        """An empty box, which the script fills."""
        return '<div class="plot"></div>'

    def data(self) -> dict[str, Any]:
        """The series, and what is written on the axes."""
        colors = self.colors or colors_of(list(self.series))
        series = [
            {"name": name, "x": plain(x), "y": self._drawable(y), "color": color}
            for (name, (x, y)), color in zip(self.series.items(), colors, strict=True)
        ]
        marks = [{"x": float(x), "name": name} for x, name in self.marks.items()]
        words = {"xlabel": self.xlabel, "ylabel": self.ylabel, "log": self.log, "points": self.points}
        return {"series": series, "marks": marks, **words}

    def _drawable(self, y: Any) -> list[float | None]:
        values = np.asarray(y, dtype=float)
        return plain(np.where(values > 0, values, np.nan) if self.log else values)
