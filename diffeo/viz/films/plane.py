"""Films of points and curves in the plane, with the grid that is deformed along."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.shapes import PointShape
from diffeo.viz.deform import Sheet, draw_sheet, growth_label, lattice, symmetric
from diffeo.viz.draw import draw_thin
from diffeo.viz.films.shapes import ShapeFilm
from diffeo.viz.style import DIVERGING, INK, ROLES, axis_names, color_bar, dress
from diffeo.viz.timeline import timeline
from diffeo.viz.view import array

WIDEST, TALLEST, LOWEST = 5.2, 4.6, 1.6
"""Inches, of the panel."""
MARGIN = 0.08
"""How far the grid goes beyond the source, as a part of the extent."""
LINES = 24
"""Of the grid, along its longer side."""


class PlaneFilm(ShapeFilm):
    """Two dimensions, or three that are flat: the grid is colored by growth, and the shape is in front of it."""

    def __init__(self, source: PointShape, target: PointShape, phi: Diffeo, moments: int, title: str) -> None:
        points = _around(source.x)
        n, rows, columns = len(source.x), *points.shape[:2]
        way, grid = timeline(phi, torch.cat([source.x, points.flatten(0, 1)]), moments, measured=n).split(n)
        seen = [part[..., :2].reshape(-1, 2) for part in (grid.positions, way.positions, array(target.x))]
        lo, hi = (bound(np.concatenate(seen), axis=0) for bound in (np.min, np.max))
        room = 0.02 * (hi - lo).max()
        aspect = (hi - lo + 2 * room)[0] / (hi - lo + 2 * room)[1]
        size = min(WIDEST, TALLEST * aspect), min(TALLEST, max(LOWEST, WIDEST / aspect))
        super().__init__(source, target, way, size, title)
        self._sheets = [
            Sheet(moved.reshape(rows, columns, -1)[..., :2], logdet.reshape(rows, columns))
            for moved, logdet in zip(grid.positions, grid.logdet, strict=True)
        ]
        self._norm = symmetric(grid.logdet)
        self.ax.set(xlim=(lo[0] - room, hi[0] + room), ylim=(lo[1] - room, hi[1] + room))
        self.ax.set_aspect("equal", adjustable="datalim")
        self.ax.set_autoscale_on(False)
        dress(self.ax, *axis_names(source.x.shape[1], range(2)))
        color_bar(self.ax, ScalarMappable(self._norm, DIVERGING), growth_label(grid.logdet))
        draw_thin(self.ax, target, ROLES["target"], strength=2.4, alpha=0.8, zorder=3)
        draw_thin(self.ax, source, ROLES["source"], strength=0.6, zorder=3.1)
        self._legend(INK)

    def _show(self, k: int) -> None:
        draw_sheet(self.ax, self._sheets[k], self._norm)
        draw_thin(self.ax, self._at(k), INK, zorder=4)


def _around(x: Tensor) -> Tensor:
    """The points of a grid over the box of a shape, shape (a, b, d)."""
    lo, hi = x.amin(0), x.amax(0)
    margin = MARGIN * (hi - lo).max()
    return lattice(lo - margin, hi + margin, LINES, (0, 1))
