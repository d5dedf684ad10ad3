"""Shapes on axes: points, curves and shaded surfaces, one over the other or colored by a quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from torch import Tensor

from diffeo.shapes import Curve, Mesh, PointShape
from diffeo.viz.style import SEQUENTIAL, SMALL, axis_names, color_bar, colors_of, dress
from diffeo.viz.surface import add_facets, face_array, lit, mesh_edges
from diffeo.viz.view import array, frame, sample, visible


def shapes(ax: Axes, named: Mapping[str, PointShape], *, colors: Sequence[Any] | None = None) -> None:
    """Draw shapes one over the other, true to scale, with a legend above the panel.

    Args:
        ax: flat axes show the first two coordinates, mplot3d's the first three, in a parallel projection along
            the direction from which the axes look now. One call draws everything on an axes.
        named: the shapes by their names, all of one dimension d. Clouds above 6,000 points and meshes above
            12,000 faces are thinned, always in the same way.
        colors: one per shape; by default source, target and moved have their own.
    """
    if not named:
        raise ValueError("shapes expects at least one shape to draw, and got none.")
    palette = list(colors) if colors is not None else colors_of(list(named))
    pairs = list(zip(named.values(), palette, strict=True))
    _prepare(ax, list(named.values()))
    facets = []
    for order, (shape, color) in enumerate(pairs):
        if isinstance(ax, Axes3D) and isinstance(shape, Mesh):
            facets.append(lit(ax, shape, np.array([to_rgb(color)])))
        else:
            _draw_thin(ax, shape, color, order)
    if isinstance(ax, Axes3D):
        add_facets(ax, facets)
    legend(ax, [_handle(name, shape, color) for name, (shape, color) in zip(named, pairs, strict=True)])


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
        rgb = scale.to_rgba(numbers[face_array(shape)].mean(1))[:, :3]
        add_facets(ax, [lit(ax, shape, rgb, ambient=0.6)])
    else:
        _draw_thin(ax, shape, scale.to_rgba(numbers), 0)
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


def _draw_thin(ax: Axes, shape: PointShape, color: Any, order: int) -> None:
    """Points and lines; ``color`` is one color or an array (n, 4). Later shapes are thinner, so that both are seen."""
    width = 3 if isinstance(ax, Axes3D) else 2
    x = visible(shape.x, width)
    if shape.x.shape[1] == 1:
        x[:, 1] = -order  # on a line, one row per shape
    if isinstance(shape, Curve | Mesh):
        edges = mesh_edges(shape, width) if isinstance(shape, Mesh) else array(shape.edges).astype(int)
        shade = color[edges].mean(1) if isinstance(color, np.ndarray) else color
        thickness = 0.4 if isinstance(shape, Mesh) else (1.9 - 0.6 * order) * (0.7 if width == 3 else 1.0)
        _add_lines(ax, x[edges], shade, max(thickness, 0.4))
        return
    rows = sample(len(x))
    # Colors that mean numbers must not fade with depth.
    look: dict[str, Any] = {"depthshade": False} if width == 3 and isinstance(color, np.ndarray) else {}
    look["s"] = float(np.clip(6000 / len(rows), 3, 24)) / (1 + 0.5 * order)
    ax.scatter(*x[rows].T, c=color[rows] if isinstance(color, np.ndarray) else [color], linewidths=0, **look)


def _add_lines(ax: Axes, segments: Any, colors: Any, width: float) -> None:
    if isinstance(ax, Axes3D):
        ax.add_collection3d(Line3DCollection(segments, colors=colors, linewidths=width))
    else:
        ax.add_collection(LineCollection(segments, colors=colors, linewidths=width, capstyle="round"))
        ax.autoscale_view()


def _handle(name: str, shape: PointShape, color: Any) -> Any:
    if isinstance(shape, Mesh):
        return Patch(color=color, label=name)
    if isinstance(shape, Curve):
        return Line2D([], [], color=color, lw=2, label=name)
    return Line2D([], [], color=color, marker="o", ls="", ms=5, mec="none", label=name)
