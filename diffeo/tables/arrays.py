"""NumPy files as columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffeo.io.arrays import single, unpacked

Array = NDArray[Any]


def read_columns(path: Path) -> tuple[list[str] | None, list[Array]]:
    """The columns of an npy or npz file, each of shape (n,), and their names if they have any.

    A structured array has the names of its fields. In an archive, ``y`` of shape (n,) is a column y, and ``X`` of shape
    (n, p) the columns X1 … Xp. One array (n, p) alone has no names.

    Raises: ValueError for anything else.
    """
    arrays = {"": single(path)} if path.suffix.lower() == ".npy" else unpacked(path)
    if not arrays:
        raise ValueError("it holds no arrays")
    if len(arrays) == 1:
        (array,) = arrays.values()
        if array.dtype.names:
            return list(array.dtype.names), [_checked(array[name], f"its field {name!r}") for name in array.dtype.names]
        if array.ndim == 2:
            return None, [_checked(column, "it") for column in array.T]
        if "" in arrays:
            raise ValueError(f"it has shape {array.shape}, and a table of shape (n, p) is expected")
    return _named(arrays)


def _named(arrays: dict[str, Array]) -> tuple[list[str], list[Array]]:
    names: list[str] = []
    columns: list[Array] = []
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            raise ValueError(f"its array {name!r} has shape {array.shape}, and (n,) or (n, p) is expected")
        if len(set(counts.values())) > 1:
            raise ValueError(f"its arrays differ in their numbers of rows: {_listed(counts)}")
        if array.ndim == 1:
            names.append(name)
            columns.append(_checked(array, f"its array {name!r}"))
        else:
            names += [f"{name}{k + 1}" for k in range(array.shape[1])]
            columns += [_checked(column, f"its array {name!r}") for column in array.T]
    return names, columns


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} has {count:,}" for name, count in counts.items())


def _checked(column: Array, what: str) -> Array:
    """Numbers as float64, texts and booleans as texts."""
    if column.ndim != 1:
        raise ValueError(f"{what} has entries of shape {column.shape[1:]}, and single values are expected")
    if not len(column):
        raise ValueError("it has no rows")
    if column.dtype.kind in "iuf":
        return column.astype(np.float64)
    if column.dtype.kind in "bU":
        return column.astype(str).astype(object)
    raise ValueError(f"{what} holds values of type {column.dtype}, and numbers or texts are expected")
