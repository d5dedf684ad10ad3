"""Images that are subtracted, whatever their ranges are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffeo.viz.images import Window, intensity
from diffeo.viz.view import Array

ALIKE = 2.0
"""Images whose ranges differ by no more than this factor are subtracted as they are."""


def alike(a: Window, b: Window) -> bool:
    """Whether images with these windows are subtracted as they are; others each in parts of their range."""
    return max(a.width, b.width) <= ALIKE * min(a.width, b.width)


def unit(a: Window, b: Window) -> str:
    """What the difference of images with these windows is measured in."""
    return "intensity" if alike(a, b) else "each in its own range"


def compared(a: Array, b: Array, levels: tuple[Window, Window]) -> Array:
    """a − b, shape (rows, columns), of values of shape (channels, rows, columns); channels are averaged."""
    first, second = intensity(a), intensity(b)
    if not alike(*levels):
        first, second = ((x - level.low) / level.width for x, level in zip((first, second), levels, strict=True))
    return first - second


def root_mean_square(values: Sequence[Array]) -> float:
    """Of all values together."""
    return float(np.sqrt(np.mean(np.concatenate([v.ravel() for v in values]) ** 2)))
