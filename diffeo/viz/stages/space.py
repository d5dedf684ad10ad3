"""Points, curves and surfaces in space."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d import Axes3D

from diffeo.core import Diffeo
from diffeo.shapes import Mesh, PointShape
from diffeo.viz.draw import draw_thin
from diffeo.viz.quantities import Quantity
from diffeo.viz.solids import draw_surfaces, surface
from diffeo.viz.stages.base import Stage
from diffeo.viz.style import ROLES, axis_names
from diffeo.viz.timeline import timeline
from diffeo.viz.view import dominant_plane, face_plane, frame, scale_bar, visible

GHOST, OUTLINE, NUMBERS = {"fill": 0.25, "outline": 0.9}, {"fill": 0.0, "outline": 0.7}, {"ambient": 0.7}
"""How surfaces look: the target, the source, and what is colored by numbers."""


class SpaceStage(Stage):
    """Three dimensions, or the first three of more: surfaces hide what is behind them, the target is seen through."""

    projection = "3d"
    aspect = 1.0

    def __init__(
        self, source: PointShape, target: PointShape | None, phi: Diffeo, moments: int, quantity: Quantity | None
    ) -> None:
        super().__init__(source, target, timeline(phi, source.x, moments), quantity)
        self._seen = np.concatenate([self.way.positions[..., :3].reshape(-1, 3), visible((target or source).x, 3)])

    def prepare(self, ax: Axes, named: bool = True) -> None:
        """Look at the plane in which most is seen; a bar tells lengths."""
        assert isinstance(ax, Axes3D)
        face_plane(ax, dominant_plane(self._seen.min(0), self._seen.max(0)))
        frame(ax, self._seen)
        ax.computed_zorder = False  # the target stays behind, and the moving shape in front
        if named:
            scale_bar(ax, axis_names(self.source.x.shape[1], range(3)))

    def show(self, ax: Axes, k: int) -> None:
        """All of them, since surfaces hide each other."""
        assert isinstance(ax, Axes3D)
        looks: list[tuple[PointShape | None, Any, dict[str, float], dict[str, Any]]] = [
            (self.target, ROLES["target"], GHOST, {"strength": 1.6 * self.strength, "alpha": 0.5, "zorder": 3}),
            (self.source, ROLES["source"], OUTLINE, {"strength": 0.5 * self.strength, "alpha": 0.4, "zorder": 2}),
            (self._at(k), self._colors(k), NUMBERS, {"strength": self.strength, "zorder": 4}),
        ]
        surfaces = []
        for shape, color, solid, thin in looks:
            if isinstance(shape, Mesh):
                surfaces.append(surface(shape, color[:, :3] if isinstance(color, np.ndarray) else color, **solid))
            elif shape is not None:
                draw_thin(ax, shape, color, **thin)
        draw_surfaces(ax, surfaces)
