"""Shapes on axes: points, curves and shaded surfaces, one over the other or colored by a quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from torch import Tensor

from diffeo.shapes import Curve, Mesh, PointShape
from diffeo.viz.solids import draw_surfaces, surface
from diffeo.viz.style import SEQUENTIAL, SMALL, axis_names, color_bar, colors_of, dress
from diffeo.viz.surface import mesh_edges
from diffeo.viz.view import array, frame, sample, visible

MOST_VECTORS = 3000
"""Points and lines of which a vector format has each; more of them become an image in it."""


def shapes(ax: Axes, named: Mapping[str, PointShape], *, colors: Sequence[Any] | None = None) -> None:
    """Draw shapes one over the other, true to scale, with a legend above the panel.

    Args:
        ax: flat axes show the first two coordinates, mplot3d's the first three, in a parallel projection along
            the direction from which the axes look now. One call draws everything on an axes.
        named: the shapes by their names, all of one dimension d. Clouds above 6,000 points are thinned,
            and so are edges of meshes above 12,000 faces on flat axes, always in the same way.
        colors: one per shape; by default source, target and moved have their own.
    """
    if not named:
        raise ValueError("shapes expects at least one shape to draw, and got none.")
    palette = list(colors) if colors is not None else colors_of(list(named))
    pairs = list(zip(named.values(), palette, strict=True))
    _prepare(ax, list(named.values()))
    solid = []
    for order, (shape, color) in enumerate(pairs):
        if isinstance(ax, Axes3D) and isinstance(shape, Mesh):
            solid.append(surface(shape, color))
        else:
            draw_thin(ax, shape, color, order)
    if isinstance(ax, Axes3D):
        draw_surfaces(ax, solid)
    legend(ax, [handle(name, shape, color) for name, (shape, color) in zip(named, pairs, strict=True)])


def colored(ax: Axes, shape: PointShape, values: Tensor, label: str) -> None:
    """Draw one shape, colored by one number per point, with a labeled color bar.

    Args:
        ax: flat axes or mplot3d's, as for ``shapes``.
        values: shape (n,), in the units that ``label`` names.
    """
    if values.shape != shape.x.shape[:1]:
        raise ValueError(f"colored expects one value per point, ({len(shape.x)},), and got {tuple(values.shape)}.")
    numbers = array(values)
    low, high = min(0.0, float(numbers.min())), float(numbers.max())
    scale = ScalarMappable(Normalize(low, high if high > low else low + 1), SEQUENTIAL)
    _prepare(ax, [shape])
    if isinstance(ax, Axes3D) and isinstance(shape, Mesh):
        draw_surfaces(ax, [surface(shape, scale.to_rgba(numbers)[:, :3], ambient=0.7)])
    else:
        draw_thin(ax, shape, scale.to_rgba(numbers), 0)
    color_bar(ax, scale, label)


def legend(ax: Axes, handles: Sequence[Any]) -> None:
    """A legend in one row above the panel, at the right, where it hides nothing."""
    ax.legend(
        handles=handles, fontsize=SMALL, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles),
        frameon=False, borderaxespad=0.2, handlelength=1.8, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip


def _prepare(ax: Axes, drawn: Sequence[PointShape]) -> None:
    if isinstance(ax, Axes3D):
        frame(ax, np.concatenate([visible(shape.x, 3) for shape in drawn]))
        return
    d = drawn[0].x.shape[1]
    if d == 1:
        dress(ax, axis_names(d, [0])[0], "")
        ax.set_yticks([])
        ax.margins(y=1.0)
        return
    dress(ax, *axis_names(d, range(2)))
    ax.set_aspect("equal", adjustable="datalim")


def draw_thin(ax: Axes, shape: PointShape, color: Any, order: int = 0, *, strength: float = 1.0, **look: Any) -> None:
    """Draw a shape as points or lines, surfaces as their edges.

    Args:
        color: one, or an array (n, 4), one per point.
        order: later shapes are thinner, so that all are seen; in one dimension it is the row.
        strength: lines are so many times as wide, and points as large.
        look: alpha and zorder, as matplotlib has them.
    """
    width = 3 if isinstance(ax, Axes3D) else 2
    x = visible(shape.x, width)
    if shape.x.shape[1] == 1:
        x[:, 1] = -order  # on a line, one row per shape
    if isinstance(shape, Curve | Mesh):
        edges = mesh_edges(shape, width) if isinstance(shape, Mesh) else array(shape.edges).astype(int)
        shade = color[edges].mean(1) if isinstance(color, np.ndarray) else color
        thickness = 0.4 if isinstance(shape, Mesh) else (1.9 - 0.6 * order) * (0.7 if width == 3 else 1.0)
        look.setdefault("rasterized", len(edges) > MOST_VECTORS)
        _add_lines(ax, x[edges], colors=shade, linewidths=max(thickness, 0.4) * strength, **look)
        return
    rows = sample(len(x))
    # Colors that mean numbers must not fade with depth.
    fading = {"depthshade": False} if width == 3 and isinstance(color, np.ndarray) else {}
    size: Any = float(np.clip(6000 / len(rows), 3, 24)) / (1 + 0.5 * order) * strength  # the stubs say int
    shades = color[rows] if isinstance(color, np.ndarray) else [color]
    many = len(rows) > MOST_VECTORS
    ax.scatter(*x[rows].T, c=shades, s=size, linewidths=0, rasterized=many, **fading, **look)


def _add_lines(ax: Axes, segments: Any, **look: Any) -> None:
    if isinstance(ax, Axes3D):
        ax.add_collection3d(Line3DCollection(segments, **look))
    else:
        ax.add_collection(LineCollection(segments, capstyle="round", **look))
        ax.autoscale_view()


def handle(name: str, shape: PointShape, color: Any) -> Any:
    """What stands for a shape in a legend."""
    if isinstance(shape, Mesh):
        return Patch(color=color, label=name)
    if isinstance(shape, Curve):
        return Line2D([], [], color=color, lw=2, label=name)
    return Line2D([], [], color=color, marker="o", ls="", ms=5, mec="none", label=name)
