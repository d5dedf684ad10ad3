"""Points, curves and surfaces on the planes of an image."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke

from diffeo.shapes import Curve, Mesh, Points, PointShape
from diffeo.viz.planes import Plane
from diffeo.viz.surface import mesh_edges, section
from diffeo.viz.view import Array, array, sample

NEAR = 0.015
"""Of the longer side of a plane: points that far from it are drawn on it."""
MOST_MARKS = 500


def mark(ax: Axes, plane: Plane, shape: PointShape, color: str) -> None:
    """Draw what of a shape lies in a plane of an image: near points and curves, a surface's section.

    Args:
        ax: shows the plane already.
        shape: in the space of the image, of its dimension.
        color: of lines and dots.

    Raises: ValueError if the dimensions differ.
    """
    d = shape.x.shape[1]
    if d != plane.grid.dim:
        raise ValueError(f"an image in {plane.grid.dim} dimensions shows shapes in as many, and got one in {d}.")
    index = plane.grid.to_index(shape.x.detach().cpu().double())
    if isinstance(shape, Mesh) and d == 3 and plane.across is not None:
        moved = Mesh(index, faces=shape.faces.cpu())
        cut = section(moved, plane.across.axis, plane.level).reshape(-1, 3)
        _strokes(ax, plane.seen(torch.as_tensor(cut)).reshape(-1, 2, 2), color)
        return
    seen, near = plane.seen(index), plane.distance(index) <= NEAR * max(plane.size)
    if isinstance(shape, Curve | Mesh):
        edges = mesh_edges(shape, 2) if isinstance(shape, Mesh) else array(shape.edges).astype(int)
        _strokes(ax, seen[edges[near[edges].all(1)]], color)
        return
    dots = seen[near][sample(int(near.sum()), MOST_MARKS)]
    ax.scatter(*dots.T, s=9, color=color, edgecolors="white", linewidths=0.4, zorder=4)


def link(ax: Axes, plane: Plane, a: PointShape, b: PointShape, color: str) -> None:
    """Join paired points of two clouds that are both near a plane; other shapes and unpaired clouds are left alone."""
    if not (isinstance(a, Points) and isinstance(b, Points)) or len(a.x) != len(b.x):
        return
    index = [plane.grid.to_index(shape.x.detach().cpu().double()) for shape in (a, b)]
    near = np.logical_and(*(plane.distance(i) <= NEAR * max(plane.size) for i in index))
    rows = np.flatnonzero(near)[sample(int(near.sum()), MOST_MARKS)]
    _strokes(ax, np.stack([plane.seen(i)[rows] for i in index], 1), color, 0.8)


def _strokes(ax: Axes, segments: Array, color: str, width: float = 1.2) -> None:
    drawn = LineCollection(list(segments), colors=color, linewidths=width, capstyle="round", zorder=3)
    drawn.set_path_effects([withStroke(linewidth=width + 0.8, foreground="white", alpha=0.6)])
    ax.add_collection(drawn, autolim=False)
