"""What a moving shape can be colored by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from diffeo.viz.deform import growth_label, symmetric
from diffeo.viz.style import DIVERGING, SEQUENTIAL
from diffeo.viz.timeline import Timeline
from diffeo.viz.view import Array

ALIKE = 0.2
"""Where displacements spread less than this part of their mean, how far points go tells nothing: all go alike."""


class Quantity(ABC):
    """A number per point and moment of a way, its name and its colors."""

    @abstractmethod
    def values(self, way: Timeline) -> Array:
        """Shape (T, n)."""

    @abstractmethod
    def label(self, way: Timeline) -> str:
        """With the unit."""

    @abstractmethod
    def scale(self, way: Timeline) -> ScalarMappable:
        """Colors, the same at all moments."""


@dataclass(frozen=True)
class Displacement(Quantity):
    """How far each point is from where it began, in the data's units."""

    def values(self, way: Timeline) -> Array:
        """Distances."""
        return way.displacement

    def label(self, way: Timeline) -> str:
        """In the data's units."""
        return "|φ(x) − x|   (data units)"

    def scale(self, way: Timeline) -> ScalarMappable:
        """From zero to the largest."""
        return ScalarMappable(Normalize(0, float(way.displacement.max()) or 1.0), SEQUENTIAL)


@dataclass(frozen=True)
class Growth(Quantity):
    """log det Dφ, by which volume grows around each point; NaN where the map folds."""

    def values(self, way: Timeline) -> Array:
        """Logarithms."""
        return way.logdet

    def label(self, way: Timeline) -> str:
        """With the meaning of the sign."""
        return growth_label(way.logdet)

    def scale(self, way: Timeline) -> ScalarMappable:
        """Zero in the middle."""
        colors = ScalarMappable(symmetric(way.logdet), DIVERGING)
        colors.cmap = colors.cmap.with_extremes(bad="black")
        return colors


def telling(way: Timeline) -> Quantity:
    """The displacement, or the growth where all points go about equally far."""
    end = way.displacement[-1]
    return Growth() if np.std(end) < ALIKE * np.mean(end) else Displacement()
