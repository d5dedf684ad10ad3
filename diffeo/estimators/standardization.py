"""Columns in comparable units: what a kernel, which measures distances, needs before anything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Standardization:
    """x ↦ (x − center) / spread, column by column.

    Attributes:
        center: means, shape (p,).
        spread: standard deviations, shape (p,); 1 for constant columns, which become 0.
    """

    center: Array
    spread: Array

    @classmethod
    def of(cls, x: Array) -> Standardization:
        """That of the columns of x, shape (n, p); finite for all finite x, however large."""
        size = np.abs(x).max(0)
        size[size == 0] = 1.0
        scaled = x / size
        center = scaled.mean(0)
        spread = scaled.std(0)
        spread[spread <= 1e-12] = 1.0  # a column of equal numbers has no spread but that of rounding
        return cls(center * size, spread * size)

    def forward(self, x: Array) -> Array:
        """To standard units."""
        return (x / self.spread) - (self.center / self.spread)

    def backward(self, z: Array) -> Array:
        """Back to the units of the data."""
        return z * self.spread + self.center
