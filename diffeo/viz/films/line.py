"""Films of points on a line: they rise from the source to the target, and leave their ways behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffeo.core import Diffeo
from diffeo.shapes import PointShape
from diffeo.viz.films.shapes import ShapeFilm
from diffeo.viz.quantities import Quantity
from diffeo.viz.style import INK, ROLES, axis_names, dress
from diffeo.viz.timeline import timeline
from diffeo.viz.view import Array, array, sample

MOST_WAYS = 400


class LineFilm(ShapeFilm):
    """One dimension: the position to the right, the part of the way upward."""

    def __init__(
        self, source: PointShape, target: PointShape, phi: Diffeo, moments: int, title: str, quantity: Quantity | None
    ) -> None:
        super().__init__(source, target, timeline(phi, source.x, moments), (5.0, 3.4), title, quantity)
        ends = array(source.x)[:, 0], array(target.x)[:, 0]
        every = np.concatenate([self.way.positions.ravel(), *ends])
        room = 0.05 * (float(np.ptp(every)) or 1.0)
        self.ax.set(xlim=(every.min() - room, every.max() + room), ylim=(-0.22, 1.22))
        dress(self.ax, axis_names(1, [0])[0], "part of the way")
        for x, height, role in zip(ends, (-0.1, 1.1), ("source", "target"), strict=True):
            self._row(x, height, ROLES[role])
        self._legend()
        self._bar()

    def _row(self, x: Array, height: float, color: Any) -> None:
        self.ax.scatter(x, np.full(len(x), height), s=70, marker="|", c=color, linewidths=1.2)

    def _show(self, k: int) -> None:
        rows = sample(len(self.source.x), MOST_WAYS)
        self.ax.plot(self.way.positions[: k + 1, rows, 0], self.way.times[: k + 1], color=INK, lw=0.5, alpha=0.35)
        self._row(self.way.positions[k, :, 0], float(self.way.times[k]), self._colors(k))
