"""What goes along with a shape: the grid it is drawn on, and the ways that its points leave behind."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffeo.viz.deform import FINE, around, lattice
from diffeo.viz.page.scene import Layer
from diffeo.viz.style import FAINT
from diffeo.viz.view import Array, array, dominant_plane, sample

MOST_WAYS = 300


def grid_lines(x: Tensor, width: int, lines: int) -> tuple[Tensor, NDArray[np.intp]]:
    """Lines of a square grid over the box of a shape, in the plane in which it is largest, through its center.

    Args:
        x: points of the shape, shape (n, d), d ≥ 2.
        width: how many coordinates are shown: the plane is the first two of them, or the largest of three.
        lines: how many along the longer side.

    Returns: points on the lines, shape (k, d), and pairs of them, shape (m, 2).
    """
    lo, hi = around(x)
    plane = (0, 1) if width == 2 else dominant_plane(array(lo), array(hi))
    points = lattice(lo, hi, lines, plane)
    rows, columns = points.shape[:2]
    on = (np.arange(rows)[:, None] % FINE == 0) | (np.arange(columns) % FINE == 0)
    number = np.cumsum(on).reshape(on.shape) - 1
    down, right = (on[:-1] & on[1:], number[:-1], number[1:]), (on[:, :-1] & on[:, 1:], number[:, :-1], number[:, 1:])
    edges = np.concatenate([np.stack([a[both], b[both]], 1) for both, a, b in (down, right)])
    return points[torch.as_tensor(on, device=points.device)], edges


def ways(positions: Array, visible: bool = False, size: float = 1.2) -> Layer:
    """The lines along which points go, for at most 300 of them.

    Args:
        positions: shape (T, n, d), d = 2 or 3.
        visible: whether they are shown at first.
        size: in pixels.
    """
    chosen = positions[:, sample(positions.shape[1], MOST_WAYS)]
    moments, n, d = chosen.shape
    at = np.arange(moments * n).reshape(moments, n)
    edges = np.stack([at[:-1].T.ravel(), at[1:].T.ravel()], 1)
    return Layer("ways", chosen.reshape(1, -1, d), FAINT, edges, size=size, visible=visible)
