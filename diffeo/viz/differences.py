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


def meaning(a: Window, b: Window) -> str:
    """What colors say of the difference of images with these windows."""
    if a.names and b.names:
        return "1 where labels differ"
    return f"image − fixed ({'intensity' if alike(a, b) else 'each in its own range'})"


def compared(a: Array, b: Array, levels: tuple[Window, Window]) -> Array:
    """a − b, shape (rows, columns), of values (channels, rows, columns): of the means of channels; of labels 1 or 0."""
    first, second = intensity(a), intensity(b)
    if all(level.names for level in levels):
        return (first != second).astype(float)
    if not alike(*levels):
        first, second = ((x - level.low) / level.width for x, level in zip((first, second), levels, strict=True))
    return first - second


def sizes(differences: Sequence[Sequence[Array]], levels: tuple[Window, Window]) -> str:
    """How large differences are, one after the other, each of several pictures: the root mean squares.

    Of labels it is said where they differ, in percent of the pictures.
    """
    squares = [float(np.mean(np.concatenate([part.ravel() for part in parts]) ** 2)) for parts in differences]
    if all(level.names for level in levels):
        return " → ".join(f"{100 * square:.3g}" for square in squares) + " % differ"
    return "RMS " + " → ".join(f"{square**0.5:.3g}" for square in squares)
