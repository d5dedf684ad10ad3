"""How well two label maps agree: Dice coefficients, volumes, and distances between the borders of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from diffeo.diagnostics.distance import symmetric_distance
from diffeo.grid import Grid
from diffeo.shapes import Image, Nearest, Points

Array = NDArray[Any]

LARGEST = 2**31 - 1
EXACT = 2**24  # the whole numbers that single precision holds


class LabelOverlap(NamedTuple):
    """One label in two maps; volumes and lengths in physical units (areas in the plane)."""

    label: int
    dice: float
    """2 |A ∩ B| / (|A| + |B|)."""
    volume_fixed: float
    volume_moved: float
    surface_distance: float
    """Mean distance between the borders, from both sides, pooled; NaN if a map lacks the label."""
    hausdorff95: float
    """The 95th percentile of these distances."""


class Overlap(NamedTuple):
    """Two label maps, compared."""

    labels: tuple[LabelOverlap, ...]
    """In ascending order; those that neither map has are left out."""
    mean_dice: float
    """The mean over the labels."""
    union_dice: float
    """The Dice coefficient of all these labels taken for one."""
    resampled: bool
    """Whether the second map was brought to the grid of the first, by nearest points, to be compared."""


def overlap(fixed: Image, moved: Image, labels: Collection[int] | None = None) -> Overlap:
    """Compare two label maps, label by label.

    The border of a label is made of the points that have a neighbor along an axis with another label, or none; between
    borders the distances are those of the points, in space: spacing and obliqueness of the grid are respected.

    Args:
        fixed: whole numbers, one channel.
        moved: the same, in the same space; on another grid, it is resampled.
        labels: which to compare; by default all but 0.
    Raises: ValueError if one is not a label map, or they have none of the labels in common.
    """
    check_same_space(fixed, moved)
    resampled = not fixed.grid.same(moved.grid)
    a = label_array(fixed, "fixed")
    label_array(moved, "moved")
    b = label_array(as_labels(moved).resampled(fixed.grid), "moved")
    chosen = _chosen(a, b, labels, resampled)
    a, b = _codes(a, chosen), _codes(b, chosen)
    n = len(chosen) + 1
    count_a, count_b, both = (np.bincount(codes, minlength=n)[1:] for codes in (a.ravel(), b.ravel(), a[a == b]))
    dice = 2 * both / (count_a + count_b)
    distances = [_between(x, y) for x, y in zip(_borders(a, n, fixed.grid), _borders(b, n, fixed.grid), strict=True)]
    volumes = fixed.grid.cell * np.stack([count_a, count_b], 1)
    rows = [
        LabelOverlap(int(label), float(d), float(va), float(vb), *between)
        for label, d, (va, vb), between in zip(chosen, dice, volumes, distances, strict=True)
    ]
    inside_a, inside_b = a > 0, b > 0
    union = 2 * (inside_a & inside_b).sum() / (inside_a.sum() + inside_b.sum())
    return Overlap(tuple(rows), float(dice.mean()), float(union), resampled)


def as_labels(image: Image) -> Image:
    """The image as a map of labels: copied by nearest points, and 0 outside."""
    assert image.background is not None
    return dataclasses.replace(image, interpolation=Nearest(), background=torch.zeros_like(image.background))


def label_array(image: Image, name: str) -> Array:
    """The labels of an image, int32, in the shape of its grid. Raises ValueError unless they are labels."""
    if len(image.values) != 1:
        raise ValueError(f"a label map expects one channel, and the {name} image has {len(image.values)}.")
    values = image.values[0].detach().cpu().numpy()
    if values.dtype == np.float32 and np.abs(values).max() > EXACT:
        raise ValueError(
            f"the {name} image has labels up to {np.abs(values).max():.0f}, and single precision holds whole numbers "
            f"up to {EXACT} only: read it in double precision."
        )
    labels = values.clip(-LARGEST, LARGEST).astype(np.int32)
    odd = labels != values
    if odd.any():
        raise ValueError(
            f"a label map expects whole numbers, and the {name} image has others, such as {values[odd][0]:g}: "
            "compare intensities instead, or carry labels by nearest points."
        )
    return labels


def check_same_space(fixed: Image, moved: Image) -> None:
    """Raise ValueError unless the two images have the same number of axes."""
    if fixed.grid.dim != moved.grid.dim:
        raise ValueError(
            f"two images in the same space are expected, and got one of {fixed.grid.dim} and one of {moved.grid.dim} "
            "dimensions."
        )


def _chosen(a: Array, b: Array, labels: Collection[int] | None, resampled: bool) -> Array:
    """The labels to compare, ascending. Raises ValueError if the maps share none of them."""
    found_a, found_b = np.unique(a), np.unique(b)
    wanted = None if labels is None else np.unique(np.array(sorted(labels), dtype=np.int64))
    found_a, found_b = (f[f != 0] if wanted is None else f[np.isin(f, wanted)] for f in (found_a, found_b))
    if not len(np.intersect1d(found_a, found_b)):
        there = " on the grid of the fixed one" if resampled else ""
        among = "" if wanted is None else f" among {_listed(wanted)}"
        raise ValueError(
            f"the two maps have no label in common{among}: fixed has {_listed(found_a)}, moved has "
            f"{_listed(found_b)}{there}."
        )
    return np.union1d(found_a, found_b)


def _listed(labels: Array) -> str:
    if not len(labels):
        return "none"
    return ", ".join(map(str, labels[:6])) + (f", … ({len(labels)} labels)" if len(labels) > 6 else "")


def _codes(labels: Array, chosen: Array) -> Array:
    """1 for the first of the chosen labels, 2 for the second, …, 0 for all others."""
    at = np.searchsorted(chosen, labels).clip(max=len(chosen) - 1)
    return np.where(chosen[at] == labels, at + 1, 0)


def _borders(codes: Array, n: int, grid: Grid) -> list[Array]:
    """The positions of the borders of the codes 1, …, n − 1, each of shape (points, d)."""
    edge = np.zeros(codes.shape, bool)
    for axis in range(codes.ndim):
        line, steps = np.moveaxis(edge, axis, 0), np.moveaxis(np.diff(codes, axis=axis) != 0, axis, 0)
        line[1:] |= steps
        line[:-1] |= steps
        line[[0, -1]] = True
    at = np.flatnonzero(edge & (codes > 0))
    at = at[np.argsort(codes.ravel()[at], kind="stable")]
    index = np.stack(np.unravel_index(at, codes.shape), 1)
    x = grid.to_space(torch.from_numpy(index).double()).numpy()
    return np.split(x, np.searchsorted(codes.ravel()[at], np.arange(2, n)))


def _between(a: Array, b: Array) -> tuple[float, float]:
    """Mean and 95th percentile of the distances between two borders."""
    if not len(a) or not len(b):
        return float("nan"), float("nan")
    d = symmetric_distance(Points(torch.from_numpy(a)), Points(torch.from_numpy(b)))
    return d.mean, d.p95
