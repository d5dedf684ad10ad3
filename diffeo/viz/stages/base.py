"""What shapes on their way have in common, whatever their dimension."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from diffeo.shapes import PointShape
from diffeo.viz.draw import handle
from diffeo.viz.quantities import Quantity, telling
from diffeo.viz.style import ROLES, color_bar
from diffeo.viz.timeline import Timeline
from diffeo.viz.view import Array


class Stage(ABC):
    """A shape on its way, the target as a ghost, and where the way began.

    Args:
        source: before; of more than three coordinates the first three are shown.
        target: where it goes, of the same dimension, if that is to be shown.
        way: that of the source's points.
        quantity: what the moving shape is colored by; by default what tells more.

    Attributes:
        projection: what axes it is drawn on, as matplotlib names them.
        aspect: width of what is seen, relative to its height.
        strength: lines are so many times as wide, and points as large: less than 1 in small panels.
    """

    projection: str | None = None
    aspect: float
    strength: float = 1.0

    def __init__(
        self, source: PointShape, target: PointShape | None, way: Timeline, quantity: Quantity | None = None
    ) -> None:
        self.source, self.target, self.way = source, target, way
        self.quantity = telling(way) if quantity is None else quantity
        self._values, self._scale = self.quantity.values(way), self.quantity.scale(way)

    @abstractmethod
    def prepare(self, ax: Axes, named: bool = True) -> None:
        """Set limits, the same for all moments, and draw what does not move; say what the axes are, if wanted."""

    @abstractmethod
    def show(self, ax: Axes, k: int) -> None:
        """Draw what moves, as it is at the k-th moment."""

    def bar(self, ax: Axes) -> None:
        """Draw the color bar beside axes."""
        color_bar(ax, self._scale, self.quantity.label(self.way))

    def handles(self) -> list[Any]:
        """What the legend consists of."""
        shown = [("source", self.source, ROLES["source"])]
        if self.target is not None:
            shown.append(("target", self.target, ROLES["target"]))
        shown.append(("moving", self.source, self._moving()))
        return [handle(name, shape, color) for name, shape, color in shown]

    def _moving(self) -> Any:
        """The color that stands for the moving shape in the legend."""
        return self._scale.get_cmap()(0.6)

    def _at(self, k: int) -> PointShape:
        """The shape on its way."""
        return self.source.with_positions(torch.as_tensor(self.way.positions[k]).to(self.source.x))

    def _colors(self, k: int) -> Array:
        """One color per point, shape (n, 4)."""
        return np.asarray(self._scale.to_rgba(self._values[k]))
