"""Exact distances between shapes: from the points of one to the surface, the segments or the points of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from diffeo.shapes import Curve, Mesh, PointShape

Array = NDArray[Any]

_PAIRS = 200_000  # candidate pairs (point, cell) looked at together: some tens of megabytes


class Distance(NamedTuple):
    """What is left between two shapes, in their length units; from both sides, pooled."""

    mean: float
    p95: float
    """The 95th percentile."""
    max: float
    """The Hausdorff distance between the points of each and the other shape."""


def symmetric_distance(a: PointShape, b: PointShape) -> Distance:
    """Distances from the points of a to b and from the points of b to a, all together.

    Raises: ValueError if a and b live in different dimensions.
    """
    d = torch.cat([distances(a, b), distances(b, a)]).numpy()
    return Distance(float(d.mean()), float(np.percentile(d, 95)), float(d.max()))


def distances(a: PointShape, b: PointShape) -> Tensor:
    """The distance from each point of a to b: to its triangles (mesh), its segments (curve) or its points.

    Args:
        a: n points; connectivity does not matter.
        b: a shape in the same dimension; points that belong to no cell are no part of a mesh or a curve.
    Returns: float64 on the CPU, shape (n,), in length units; exact up to rounding, not differentiable.
    Raises: ValueError if a and b live in different dimensions.
    """
    x, y = _positions(a), _positions(b)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"distances expects two shapes in the same dimension, and got {x.shape[1]} and {y.shape[1]}.")
    if isinstance(b, Mesh | Curve):
        index = b.faces if isinstance(b, Mesh) else b.edges
        d = _to_cells(x, y[index.cpu().numpy()])
    else:
        d = KDTree(y).query(x)[0]
    return torch.from_numpy(np.asarray(d, np.float64))


def _positions(shape: PointShape) -> Array:
    return shape.x.detach().cpu().double().numpy()


def _to_cells(x: Array, cells: Array) -> Array:
    """Distances from points (n, d) to the nearest of the segments (m, 2, d) or triangles (m, 3, d).

    A cell lies in the ball of its radius r around its center c, so |x - c| - r bounds its distance from below. They are
    sorted into classes of similar radius, each with a tree of its centers, so that a few large cells cost little.
    """
    middle = (cells.min(1) + cells.max(1)) / 2
    radius = np.linalg.norm(cells - middle[:, None], axis=2).max(1)
    classes = _by_size(radius)
    trees = [KDTree(middle[chosen]) for chosen in classes]
    best = np.full(len(x), np.inf)
    for tree, chosen in zip(trees, classes, strict=True):  # the cell with the nearest center: a first bound
        best = np.minimum(best, _exact(x, cells[chosen[tree.query(x)[1]]]))
    for tree, chosen in zip(trees, classes, strict=True):
        _improve(best, x, tree, cells[chosen], middle[chosen], radius[chosen])
    return best


def _by_size(radius: Array) -> list[Array]:
    """The cells sorted into classes whose radii differ by at most a factor of four; all very small ones together."""
    largest = radius.max()
    if largest == 0:
        return [np.arange(len(radius))]
    level = np.floor(np.log2(largest / np.maximum(radius, largest * 1e-6)) / 2).astype(int)
    return [np.flatnonzero(level == k) for k in np.unique(level)]


def _improve(best: Array, x: Array, tree: KDTree, cells: Array, middle: Array, radius: Array) -> None:
    """Lower ``best`` to the distances from x to cells of one class, where these are nearer."""
    reach = best + radius.max()
    counts = tree.query_ball_point(x, reach, return_length=True)
    for some in _batches(counts):
        found = tree.query_ball_point(x[some], reach[some])
        cell = np.concatenate([np.asarray(f, np.int64) for f in found])
        point = np.repeat(some, counts[some])
        near = np.linalg.norm(x[point] - middle[cell], axis=1) - radius[cell] < best[point]
        point, cell = point[near], cell[near]
        np.minimum.at(best, point, _exact(x[point], cells[cell]))


def _batches(counts: Array) -> Iterator[Array]:
    """The points that have candidates, in groups with about ``_PAIRS`` candidates together."""
    points = np.flatnonzero(counts)
    group = np.cumsum(counts[points]) // _PAIRS
    return iter(np.split(points, np.flatnonzero(np.diff(group)) + 1) if len(points) else [])


def _exact(x: Array, cells: Array) -> Array:
    """The distance of each point (n, d) from its own cell, (n, 2, d) or (n, 3, d)."""
    if cells.shape[1] == 2:
        return _to_segment(x, cells[:, 0], cells[:, 1])
    a, b, c = cells[:, 0], cells[:, 1], cells[:, 2]
    return _to_triangle(x, a, b, c)


def _to_segment(x: Array, a: Array, b: Array) -> Array:
    """Distances from points to segments; a segment of length 0 is a point."""
    along, from_a = b - a, x - a
    squares = _dot(along, along)
    t = np.clip(_dot(from_a, along) / np.where(squares > 0, squares, 1), 0, 1)
    return np.linalg.norm(from_a - t[:, None] * along, axis=1)


def _to_triangle(x: Array, a: Array, b: Array, c: Array) -> Array:
    """Distances from points to triangles: to the plane above the inside, to the nearest edge elsewhere.

    A triangle without area (up to rounding) is its edges.
    """
    u, v, w = b - a, c - a, x - a
    normal = np.cross(u, v)
    squares = _dot(normal, normal)
    flat = squares > 1e-24 * _dot(u, u) * _dot(v, v)
    safe = np.where(flat, squares, 1)
    beta, gamma = _dot(np.cross(w, v), normal) / safe, _dot(np.cross(u, w), normal) / safe
    inside = flat & (beta >= 0) & (gamma >= 0) & (beta + gamma <= 1)
    result = np.abs(_dot(w, normal)) / np.sqrt(safe)
    out = np.flatnonzero(~inside)
    xo, ao, bo, co = x[out], a[out], b[out], c[out]
    edges = (_to_segment(xo, ao, bo), _to_segment(xo, bo, co), _to_segment(xo, co, ao))
    result[out] = np.minimum.reduce(edges)
    return result


def _dot(u: Array, v: Array) -> Array:
    return np.einsum("ij,ij->i", u, v)
