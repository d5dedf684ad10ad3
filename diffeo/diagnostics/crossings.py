"""Where a surface runs through itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffeo.shapes import Mesh

Array = NDArray[Any]

_PAIRS = 1_000_000  # pairs of boxes looked at together


def crossing_faces(mesh: Mesh) -> Tensor:
    """The faces that cross another face; see ``crossing_pairs``.

    Returns: face numbers in increasing order, int64, shape (k,).
    """
    return torch.unique(crossing_pairs(mesh))


def crossing_pairs(mesh: Mesh) -> Tensor:
    """The pairs of faces that run through each other.

    Each has corners strictly on both sides of the other's plane, and what they share is a segment of positive length.
    Faces with a common vertex are left out, so are faces that only touch (up to the rounding of the coordinates in the
    mesh's own precision), and pairs in one plane.

    Returns: pairs of face numbers, the smaller first, in increasing order, int64, shape (p, 2).
    Source: T. Möller, A fast triangle-triangle intersection test, J. Graphics Tools 2(2), 1997.
    """
    faces = mesh.faces.cpu().numpy()
    corners = mesh.x.detach().cpu().double().numpy()[faces]
    rounding = 2 * torch.finfo(mesh.x.dtype).eps * np.abs(corners).max()
    found = [p[_cross(corners[p[:, 0]], corners[p[:, 1]], rounding)] for p in _candidates(corners, faces)]
    pairs = np.sort(np.concatenate([np.zeros((0, 2), np.int64), *found]), 1)
    return torch.from_numpy(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])


def _candidates(corners: Array, faces: Array) -> Iterator[Array]:
    """Pairs (p, 2) of faces whose boxes overlap and that share no vertex, in batches.

    Sweep: in the order of the boxes' lower ends along one axis, a box overlaps a run of those that follow it.
    """
    low, high = corners.min(1), corners.max(1)
    order, last = _sweep(low, high)
    counts = last - np.arange(len(order)) - 1
    batches = np.cumsum(counts) // _PAIRS
    for some in np.split(np.arange(len(order)), np.flatnonzero(np.diff(batches)) + 1):
        first = np.repeat(some, counts[some])
        start = np.cumsum(counts[some]) - counts[some]
        second = first + 1 + np.arange(len(first)) - np.repeat(start, counts[some])
        a, b = order[first], order[second]
        overlap = ((low[a] <= high[b]) & (low[b] <= high[a])).all(1)
        a, b = a[overlap], b[overlap]
        apart = (faces[a][:, :, None] != faces[b][:, None, :]).all((1, 2))
        yield np.stack([a[apart], b[apart]], 1)


def _sweep(low: Array, high: Array) -> tuple[Array, Array]:
    """The boxes in order along the axis with the least overlaps, and where the run that each overlaps ends."""
    sweeps = []
    for k in range(low.shape[1]):
        order = np.argsort(low[:, k], kind="stable")
        sweeps.append((order, np.searchsorted(low[order, k], high[order, k], side="right")))
    return min(sweeps, key=lambda sweep: int(sweep[1].sum()))


def _cross(a: Array, b: Array, rounding: float) -> Array:
    """Whether triangles a and b, each (p, 3, 3), cross, pair by pair; booleans (p,). ``rounding`` is a length."""
    middle = (a.mean(1, keepdims=True) + b.mean(1, keepdims=True)) / 2
    a, b = a - middle, b - middle  # far from the origin, digits are lost
    line = np.cross(_normal(a), _normal(b))
    from_a, to_a, error_a, split_a = _section(a, b, line, rounding)
    from_b, to_b, error_b, split_b = _section(b, a, line, rounding)
    overlap = np.minimum(to_a, to_b) - np.maximum(from_a, from_b)
    return split_a & split_b & (overlap > error_a + error_b + rounding * np.linalg.norm(line, axis=1))


def _normal(corners: Array) -> Array:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _section(corners: Array, other: Array, line: Array, rounding: float) -> tuple[Array, Array, Array, Array]:
    """Where triangles meet the planes of other triangles, as intervals of the common line.

    Returns: from, to, the error of both, and whether there are corners strictly on both sides of the plane; each (p,).
    """
    arms = corners - other[:, :1]
    heights = np.einsum("pki,pi->pk", arms, _normal(other))  # times the length of the normal
    longest = np.linalg.norm(other - np.roll(other, 1, 1), axis=2).max(1)
    error = rounding * longest * (longest + np.linalg.norm(arms, axis=2).max(1))
    sides = np.where(np.abs(heights) > error[:, None], heights, 0.0)
    along = np.einsum("pki,pi->pk", corners, line)
    ends, errors = zip(*(_end(sides, along, error, i, j) for i, j in ((0, 1), (1, 2), (2, 0))), strict=True)
    split = (sides.max(1) > 0) & (sides.min(1) < 0)
    return np.fmin.reduce(ends), np.fmax.reduce(ends), np.fmax.reduce(errors), split


def _end(sides: Array, along: Array, error: Array, i: int, j: int) -> tuple[Array, Array]:
    """Where the edges from corner i to corner j pass through the plane, and how sure that is; NaN where they do not."""
    fall, stretch = sides[:, i] - sides[:, j], along[:, j] - along[:, i]
    through = (sides[:, i] * sides[:, j] <= 0) & (fall != 0)
    slope = np.divide(stretch, fall, out=np.full_like(fall, np.nan), where=through)
    return along[:, i] + sides[:, i] * slope, error * np.abs(slope)
