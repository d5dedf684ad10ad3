"""What an image format has to provide, and what it holds before it becomes an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffeo.io.geometry import Array

PICTURE = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
"""From (row, column) to (x = column, y = row): the affine map of every picture."""
SLICE = "slice"
"""The attribute of an image of the plane that was a slice of space: the step to the next one, and its height z, RAS."""


@dataclass
class Raster:
    """The content of an image file, as arrays, not yet checked."""

    values: Array
    """Shape (c, n_1, …, n_d), in the number type of the file, or scaled as the file says."""
    affine: Array
    """Index to position, shape (d + 1, d + 1): RAS+ millimeters, or pixels."""
    pixels: bool = False
    """Whether positions are pixels, x = column and y = row, as they are in pictures."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What JSON can hold of the rest: the number type of the file as ``dtype``, and so on."""

    @property
    def dim(self) -> int:
        """The number d of axes."""
        return self.values.ndim - 1

    def in_itk(self) -> tuple[Array, Array]:
        """Values and affine as ITK has them: LPS millimeters; pixels as they are, first the column, then the row."""
        if self.pixels:
            return self.values.swapaxes(1, 2), self.affine[:, [1, 0, 2]]
        return self.values, half_turn(self.dim) @ self.affine


def from_itk(values: Array, affine: Array, pixels: bool, attributes: dict[str, Any]) -> Raster:
    """The inverse of `Raster.in_itk`."""
    if pixels:
        return Raster(values.swapaxes(1, 2), affine[:, [1, 0, 2]], True, attributes)
    return Raster(values, half_turn(len(affine) - 1) @ affine, False, attributes)


class ImageFormat(ABC):
    """A family of image files. Methods may raise ValueError with a reason; the caller names the file."""

    suffixes: tuple[str, ...]
    """Extensions, in lower case, with the dot."""

    @abstractmethod
    def read(self, path: Path) -> Raster:
        """The content of the file."""

    @abstractmethod
    def dtype(self, path: Path) -> np.dtype:
        """The number type of the values that ``read`` gives."""

    @abstractmethod
    def write(self, path: Path, raster: Raster, dtype: np.dtype | None, like: Path | None) -> None:
        """A new file.

        Args:
            path: where to; nothing is there yet.
            raster: what to write; floating point.
            dtype: the number type to write if the format has it; None leaves it to the format.
            like: a file of this format whose header is taken, positions aside.
        """


def half_turn(d: int) -> Array:
    """From RAS to LPS and back, shape (d + 1, d + 1): x and y change sign."""
    return np.diag([-1.0, -1.0] + [1.0] * (d - 1))


def is_picture(affine: Array) -> bool:
    """Whether an affine map, shape (d + 1, d + 1), is that of a picture, up to its origin and the size of its pixels.

    A scan of the plane whose first axis points forward and whose second points right looks the same.
    """
    if len(affine) != 3:
        return False
    size = affine[0, 1]
    return bool(size > 0) and np.allclose(affine[:2, :2] / size, PICTURE[:2, :2], atol=1e-6)


def plane(values: Array, affine: Array) -> tuple[Array, Array]:
    """An image of space whose third axis has one point as an image of the plane; others as they are.

    Args:
        values: shape (c, n_1, n_2, n_3).
        affine: shape (4, 4); RAS or LPS.

    Raises: ValueError if the one slice does not lie in a plane z = const, or one of the other axes has one point.
    """
    shape = values.shape[1:]
    if shape[2] == 1 and min(shape[:2]) > 1:
        scale = np.abs(affine[:2, :2]).max()
        if np.abs(affine[2, :2]).max() > 1e-4 * scale:
            raise ValueError(
                "it is a single slice that does not lie in a plane z = const, and images of the plane need x and y: "
                "give the whole volume, or set an affine of the plane"
            )
        return values[..., 0], affine[np.ix_([0, 1, 3], [0, 1, 3])]
    return values, affine


def stored(values: Array, dtype: np.dtype | None) -> Array:
    """Values in a number type: rounded and clipped to what it holds if that is integers; as they are for None."""
    if dtype is None or dtype.kind not in "iu":
        return values if dtype is None or dtype.kind != "f" else values.astype(dtype)
    limit = np.iinfo(dtype)
    low, high = max(limit.min, -(2**53)), min(limit.max, 2**53)  # beyond, float64 has no whole numbers to round to
    return np.rint(values).clip(low, high).astype(dtype)


def whole_numbers(values: Array, dtype: np.dtype) -> bool:
    """Whether all values are integers that a number type holds."""
    if dtype.kind not in "iu":
        return False
    limit = np.iinfo(dtype)
    inside = limit.min <= values.min() and values.max() <= limit.max
    return bool(inside) and bool((values == np.rint(values)).all())
