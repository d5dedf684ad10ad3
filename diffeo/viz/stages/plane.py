"""Points and curves in the plane, in front of the grid that is deformed along."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from diffeo.core import Diffeo
from diffeo.shapes import PointShape
from diffeo.viz.deform import Sheet, around, draw_sheet, growth_label, lattice, symmetric
from diffeo.viz.draw import draw_thin
from diffeo.viz.stages.base import Stage
from diffeo.viz.style import DIVERGING, INK, ROLES, axis_names, color_bar, dress
from diffeo.viz.timeline import timeline
from diffeo.viz.view import array

LINES = 24
"""Of the grid, along its longer side."""


class PlaneStage(Stage):
    """Two dimensions, or three that are flat: the grid is colored by growth, and the shape is not colored."""

    def __init__(self, source: PointShape, target: PointShape | None, phi: Diffeo, moments: int) -> None:
        points = lattice(*around(source.x), LINES, (0, 1))
        n, rows, columns = len(source.x), *points.shape[:2]
        way, grid = timeline(phi, torch.cat([source.x, points.flatten(0, 1)]), moments, measured=n).split(n)
        super().__init__(source, target, way)
        self._sheets = [
            Sheet(moved.reshape(rows, columns, -1)[..., :2], logdet.reshape(rows, columns))
            for moved, logdet in zip(grid.positions, grid.logdet, strict=True)
        ]
        self._norm, self._label = symmetric(grid.logdet), growth_label(grid.logdet)
        parts = [grid.positions, way.positions, array((target or source).x)]
        seen = np.concatenate([part[..., :2].reshape(-1, 2) for part in parts])
        room = 0.02 * np.ptp(seen, axis=0).max()
        self._box = seen.min(0) - room, seen.max(0) + room
        width, height = self._box[1] - self._box[0]
        self.aspect = float(width / height)

    def prepare(self, ax: Axes, named: bool = True) -> None:
        """The target, thick and light; the source, thin."""
        (left, bottom), (right, top) = self._box
        ax.set(xlim=(left, right), ylim=(bottom, top))
        ax.set_aspect("equal", adjustable="box")
        ax.set_autoscale_on(False)
        x, y = axis_names(self.source.x.shape[1], range(2))
        dress(ax, x, y if named else "")
        ax.tick_params(labelleft=named)
        if self.target is not None:
            draw_thin(ax, self.target, ROLES["target"], strength=2.4 * self.strength, alpha=0.8, zorder=3)
        draw_thin(ax, self.source, ROLES["source"], strength=0.6 * self.strength, zorder=3.1)

    def show(self, ax: Axes, k: int) -> None:
        """The grid, and the shape in front of everything."""
        draw_sheet(ax, self._sheets[k], self._norm)
        draw_thin(ax, self._at(k), INK, strength=self.strength, zorder=4)

    def bar(self, ax: Axes) -> None:
        """That of the grid."""
        color_bar(ax, ScalarMappable(self._norm, DIVERGING), self._label)

    def _moving(self) -> Any:
        return INK
