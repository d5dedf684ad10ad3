"""What is left between paired landmarks: the target registration error."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from diffeo.shapes import PointShape

ID = "id"  # the attribute that says which landmark is which


class LandmarkError(NamedTuple):
    """Distances between paired landmarks, in their length units."""

    pairs: int
    mean: float
    median: float
    p95: float
    """The 95th percentile."""
    max: float
    by_id: bool
    """Whether they are paired by their attribute ``id``; by their order otherwise."""
    unpaired: int
    """The landmarks of either side whose id the other side lacks; they are left out."""


def landmark_error(fixed: PointShape, moved: PointShape) -> LandmarkError:
    """The target registration error: by id where both sides have an attribute ``id``, one per point, else by order.

    Raises: ValueError if they live in different dimensions, differ in number and have no ids, have an id twice, or
        have none in common.
    """
    if fixed.x.shape[1] != moved.x.shape[1]:
        raise ValueError(
            f"landmarks in the same dimension are expected, and got {fixed.x.shape[1]} and {moved.x.shape[1]}."
        )
    ids = _ids(fixed), _ids(moved)
    if ids[0] is None or ids[1] is None:
        rows = range(len(fixed.x)), range(len(moved.x))
        if len(fixed.x) != len(moved.x):
            raise ValueError(
                f"landmarks are paired by their order, and there are {len(fixed.x)} and {len(moved.x)} of them: "
                "give both files the same points, or a column id."
            )
    else:
        common = [name for name in ids[0] if name in ids[1]]
        if not common:
            raise ValueError(
                f"the landmarks have no id in common: the first are {next(iter(ids[0]))!r} and {next(iter(ids[1]))!r}."
            )
        rows = [ids[0][name] for name in common], [ids[1][name] for name in common]
    x, y = (shape.x.detach().cpu().double()[torch.tensor(k)] for shape, k in zip((fixed, moved), rows, strict=True))
    d = (x - y).norm(dim=1).numpy()
    unpaired = len(fixed.x) + len(moved.x) - 2 * len(d)
    mean, median, p95 = float(d.mean()), float(np.median(d)), float(np.percentile(d, 95))
    return LandmarkError(len(d), mean, median, p95, float(d.max()), None not in ids, unpaired)


def _ids(shape: PointShape) -> dict[Any, int] | None:
    """The row of each id; None without ids. Raises ValueError if one is there twice."""
    values = shape.attributes.get(ID)
    if values is None or np.ndim(values) != 1 or len(values) != len(shape.x):
        return None
    names = [_name(value) for value in np.asarray(values).tolist()]
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) < len(names):
        twice = next(name for row, name in enumerate(names) if rows[name] != row)
        raise ValueError(f"landmarks expect ids that differ, and {twice!r} is there more than once.")
    return rows


def _name(value: Any) -> str:
    """7, 7.0 and "7" are one id."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
