"""Films of points, curves and surfaces in space."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpl_toolkits.mplot3d import Axes3D

from diffeo.core import Diffeo
from diffeo.shapes import Mesh, PointShape
from diffeo.viz.draw import draw_thin
from diffeo.viz.films.shapes import ShapeFilm
from diffeo.viz.quantities import Quantity
from diffeo.viz.solids import draw_surfaces, surface
from diffeo.viz.style import ROLES, axis_names
from diffeo.viz.timeline import timeline
from diffeo.viz.view import dominant_plane, face_plane, frame, scale_bar, visible

SIDE = 4.7
"""Inches, of the panel."""
GHOST, OUTLINE, NUMBERS = {"fill": 0.25, "outline": 0.9}, {"fill": 0.0, "outline": 0.7}, {"ambient": 0.7}
"""How surfaces look: the target, the source, and what is colored by numbers."""


class SpaceFilm(ShapeFilm):
    """Three dimensions, or the first three of more: surfaces hide what is behind them, the target is seen through."""

    def __init__(
        self, source: PointShape, target: PointShape, phi: Diffeo, moments: int, title: str, quantity: Quantity | None
    ) -> None:
        way = timeline(phi, source.x, moments)
        super().__init__(source, target, way, (SIDE, SIDE), title, quantity, space=True)
        assert isinstance(self.ax, Axes3D)
        every = np.concatenate([way.positions[..., :3].reshape(-1, 3), visible(target.x, 3)])
        face_plane(self.ax, dominant_plane(every.min(0), every.max(0)))
        frame(self.ax, every)
        self.ax.computed_zorder = False  # the target stays behind, and the moving shape in front
        scale_bar(self.ax, axis_names(source.x.shape[1], range(3)))
        self._bar()
        self._legend()

    def _show(self, k: int) -> None:
        assert isinstance(self.ax, Axes3D)
        looks: list[tuple[PointShape, Any, dict[str, float], dict[str, Any]]] = [
            (
                self.target,
                ROLES["target"],
                {"fill": 0.25, "outline": 0.9},
                {"strength": 1.6, "alpha": 0.5, "zorder": 3},
            ),
            (self.source, ROLES["source"], {"fill": 0.0, "outline": 0.7}, {"strength": 0.5, "alpha": 0.4, "zorder": 2}),
            (self._at(k), self._colors(k), {"ambient": 0.7}, {"zorder": 4}),
        ]
        surfaces = []
        for shape, color, solid, thin in looks:
            if isinstance(shape, Mesh):
                surfaces.append(surface(shape, color[:, :3] if isinstance(color, np.ndarray) else color, **solid))
            else:
                draw_thin(self.ax, shape, color, **thin)
        draw_surfaces(self.ax, surfaces)
