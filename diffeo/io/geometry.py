"""What a file format has to provide, and what it holds before it becomes a shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Geometry:
    """The content of a shape file, as arrays, not yet checked."""

    x: Array
    """Positions, shape (n, d), in the number type of the file."""
    edges: Array | None = None
    """Segments as pairs of rows of x, shape (e, 2)."""
    faces: Array | None = None
    """Triangles as rows of x, shape (f, 3)."""
    attributes: dict[str, Array] = field(default_factory=dict)
    """Per-point data, each of shape (n,) or (n, k)."""


class Format(ABC):
    """A family of files. ``read`` and ``write`` may raise ValueError with a reason; the caller names the file."""

    suffixes: tuple[str, ...]
    """Extensions, in lower case, with the dot."""

    @abstractmethod
    def read(self, path: Path) -> Geometry:
        """The content of the file."""

    @abstractmethod
    def write(self, path: Path, geometry: Geometry) -> None:
        """A new file; attributes that the format has no place for are left out."""

    @abstractmethod
    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """A copy of the file ``like`` whose points are at x, shape (n, d), and all else is as it was."""


class Ragged(NamedTuple):
    """Lists of different lengths, one after the other."""

    flat: Array
    """All entries, shape (Σ sizes,)."""
    sizes: Array
    """The length of each list, shape (m,)."""


def fan(polygons: Ragged) -> Array:
    """Triangles (f, 3) that cover polygons (lists of corners), in order: each is cut into a fan at its first corner."""
    flat, sizes = polygons
    if (sizes < 3).any():
        row = int(np.argmax(sizes < 3))
        raise ValueError(f"face {row} has {int(sizes[row])} corners, and a face needs at least 3")
    first, k = pieces(sizes, 2)
    return np.stack([flat[first], flat[first + k + 1], flat[first + k + 2]], 1)


def chain(lines: Ragged) -> Array:
    """The segments (e, 2) of polylines (lists of points), in order."""
    flat, sizes = lines
    if (sizes < 2).any():
        row = int(np.argmax(sizes < 2))
        raise ValueError(f"line {row} has {int(sizes[row])} points, and a line needs at least 2")
    first, k = pieces(sizes, 1)
    return np.stack([flat[first + k], flat[first + k + 1]], 1)


def pieces(sizes: Array, less: int) -> tuple[Array, Array]:
    """For lists cut into size - ``less`` pieces each: where the list of a piece starts, and its number in the list."""
    starts = np.cumsum(sizes) - sizes
    count = sizes - less
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(starts, count), number


def whole(values: Array, dtype: np.dtype | type = np.int64) -> Array:
    """Numbers that have to be integers of a type, as such; ValueError with the first that is not."""
    if values.dtype.kind in "iu":
        return values.astype(dtype)
    limit = np.iinfo(dtype)
    good = (values == np.round(values)) & (values >= limit.min) & (values <= min(limit.max, 2**53))
    if not good.all():
        raise ValueError(f"{values[~good][0]:g} is where an integer of type {np.dtype(dtype)} is expected")
    return values.astype(dtype)


def scalar_columns(attributes: dict[str, Array]) -> dict[str, Array]:
    """Attributes of shape (n, k) as k numeric columns ``name_0``, ``name_1``, ...; those that are text are left out."""
    columns: dict[str, Array] = {}
    for name, values in attributes.items():
        if values.dtype.kind not in "biuf":
            continue
        if values.ndim == 1:
            columns[name] = values
        else:
            flat = values.reshape(len(values), -1)
            columns |= {f"{name}_{k}": flat[:, k] for k in range(flat.shape[1])}
    return columns


def in_space(x: Array) -> Array:
    """x, shape (n, 2) or (n, 3), as points of space: z = 0 is added to points of the plane."""
    return np.pad(x, ((0, 0), (0, 3 - x.shape[1]))) if x.shape[1] < 3 else x


def like_numbers(x: Array, dtype: np.dtype) -> Array:
    """x in the number type of the original if that is floating-point of at least 32 bits; x itself otherwise."""
    return x.astype(dtype) if dtype.kind == "f" and dtype.itemsize >= 4 else x
