"""Points on a line: they rise from the source to the target, and leave their ways behind."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from diffeo.core import Diffeo
from diffeo.shapes import PointShape
from diffeo.viz.quantities import Quantity
from diffeo.viz.stages.base import Stage
from diffeo.viz.style import INK, ROLES, axis_names, dress
from diffeo.viz.timeline import timeline
from diffeo.viz.view import Array, array, sample

MOST_WAYS = 400


class LineStage(Stage):
    """One dimension: the position to the right, the part of the way upward."""

    aspect = 1.5

    def __init__(
        self, source: PointShape, target: PointShape | None, phi: Diffeo, moments: int, quantity: Quantity | None
    ) -> None:
        super().__init__(source, target, timeline(phi, source.x, moments), quantity)
        self._ends = [(array(shape.x)[:, 0], role) for shape, role in ((source, "source"), (target, "target")) if shape]

    def prepare(self, ax: Axes, named: bool = True) -> None:
        """Source and target below and above."""
        every = np.concatenate([self.way.positions.ravel(), *(x for x, _ in self._ends)])
        room = 0.05 * (float(np.ptp(every)) or 1.0)
        ax.set(xlim=(every.min() - room, every.max() + room), ylim=(-0.22, 1.22))
        dress(ax, axis_names(1, [0])[0], "part of the way" if named else "")
        ax.tick_params(labelleft=named)
        for x, role in self._ends:
            self._row(ax, x, -0.1 if role == "source" else 1.1, ROLES[role])

    def show(self, ax: Axes, k: int) -> None:
        """The points at the height of the moment, and their ways so far."""
        rows = sample(len(self.source.x), MOST_WAYS)
        ax.plot(self.way.positions[: k + 1, rows, 0], self.way.times[: k + 1], color=INK, lw=0.5, alpha=0.35)
        self._row(ax, self.way.positions[k, :, 0], float(self.way.times[k]), self._colors(k))

    def _row(self, ax: Axes, x: Array, height: float, color: Any) -> None:
        ax.scatter(x, np.full(len(x), height), s=70 * self.strength, marker="|", c=color, linewidths=1.2)
