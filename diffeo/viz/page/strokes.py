"""Edges as strokes of a pen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LIFT = -1
"""Where the pen is lifted."""


def strokes(edges: NDArray[np.integer]) -> NDArray[np.int64]:
    """Walk along all edges, each once, and lift the pen as rarely as is easily done.

    A line with a join at each point looks better than segments do, and takes a third of the room.

    Args:
        edges: pairs of points, shape (m, 2).

    Returns: the points in the order of the walk, with −1 where the pen is lifted.
    """
    ways: dict[int, list[int]] = {}
    pairs: list[list[int]] = np.asarray(edges).tolist()
    for row, (a, b) in enumerate(pairs):
        ways.setdefault(a, []).append(row)
        ways.setdefault(b, []).append(row)
    done = [False] * len(pairs)
    walk: list[int] = []
    ends = sorted((point for point, rows in ways.items() if len(rows) % 2), key=lambda point: len(ways[point]))
    for start in [*ends, *ways]:  # a closed line has no ends
        while (stroke := _stroke(start, ways, pairs, done)) is not None:
            walk += [*stroke, LIFT]
    return np.array(walk[:-1], dtype=np.int64)


def _stroke(start: int, ways: dict[int, list[int]], pairs: Any, done: list[bool]) -> list[int] | None:
    """A walk from a point along edges that are not done yet, until there are none; None where there is none."""
    stroke = [start]
    while True:
        rows = ways[stroke[-1]]
        while rows and done[rows[-1]]:
            rows.pop()
        if not rows:
            return stroke if len(stroke) > 1 else None
        row = rows.pop()
        done[row] = True
        a, b = pairs[row]
        stroke.append(b if a == stroke[-1] else a)
