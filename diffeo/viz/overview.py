"""The picture of a whole registration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from diffeo.core import Diffeo
from diffeo.shapes import Curve, Mesh, PointShape
from diffeo.shapes.sampling import trimmed
from diffeo.viz.curves import history
from diffeo.viz.deform import around, grid
from diffeo.viz.draw import colored, shapes
from diffeo.viz.picture import Picture
from diffeo.viz.style import INK, LARGE, NORMAL, axis_names, caption
from diffeo.viz.surface import section
from diffeo.viz.view import Array, array, dominant_plane, face_plane, frame, is_flat, remark, scale_bar, visible

WIDTH, HEIGHT, SIDE, RIGHT = 10.0, 7.1, 2.5, 9.85
"""Inches: the figure, the side of a panel, where the rightmost panel ends."""
LEFT, STEP, UPPER, LOWER, BETWEEN = 0.62, 3.02, 3.9, 0.55, 1.6
"""Inches: where panels begin, from one to the next, both rows; and between the grid and the course of the fit."""


def registration(
    source: PointShape,
    target: PointShape,
    moved: PointShape,
    phi: Diffeo,
    records: Sequence[Any],
    title: str | None = None,
) -> Figure:
    """Draw a registration: shapes before and after, displacement, the deformed grid, and the course of the fit.

    Args:
        source: the shape before, d coordinates; d > 3 shows the first three, and says so.
        target: what it was registered to.
        moved: φ · source.
        phi: the map, in the dtype and on the device of the source.
        records: one per outer iteration, as ``history`` takes them; with none their panel is left away.
        title: written above.

    Returns: a figure of 10 by 7.1 inches, not registered with pyplot; ``figure.savefig("report.png", dpi=150)``.
    """
    words = remark(source)
    source, target, moved = trimmed(source), trimmed(target), trimmed(moved)
    d = source.x.shape[1]
    figure = Picture(figsize=(WIDTH, HEIGHT), facecolor="white")
    both = np.concatenate([visible(source.x, 3), visible(target.x, 3)])
    before, after, length = (_panel(figure, LEFT + STEP * k, d, both) for k in range(3))
    shapes(before, {"source": source, "target": target})
    shapes(after, {"moved": moved, "target": target})
    colored(length, moved, (moved.x - source.x).norm(dim=1), "|φ(x) − x|   (data units)")
    _widen(length, np.concatenate([visible(moved.x, 3), visible(target.x, 3)]))
    for ax, text in ((before, "Before"), (after, "After"), (length, "Displacement")):
        caption(ax, text)
        if isinstance(ax, Axes3D):
            scale_bar(ax, axis_names(d, range(3)))
        elif ax is not before:
            ax.set_ylabel("")  # that of the first panel, where there is room
    width = _map(figure, source, moved, phi)
    if len(records):
        left = LEFT + width + BETWEEN
        course = _axes(figure, left, LOWER, RIGHT - left)
        caption(course, "Fit")
        history(course, records)
    figure.text(LEFT / WIDTH, 0.955, title or "Registration", fontsize=LARGE + 3, color=INK)
    figure.text(RIGHT / WIDTH, 0.955, words, fontsize=NORMAL, color=INK, ha="right")
    return figure


def _axes(figure: Figure, left: float, bottom: float, width: float, **options: Any) -> Axes:
    """Axes at a place given in inches."""
    return figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, SIDE / HEIGHT), **options)


def _panel(figure: Figure, left: float, d: int, both: Array) -> Axes:
    if d < 3 or is_flat(both):
        return _axes(figure, left, UPPER, SIDE)
    ax = _axes(figure, left, UPPER, SIDE, projection="3d")
    assert isinstance(ax, Axes3D)
    face_plane(ax, dominant_plane(both.min(0), both.max(0)))
    return ax


def _widen(ax: Axes, x: Array) -> None:
    """Make a panel show a region as large as one with the points x, shape (n, 3), in it."""
    if isinstance(ax, Axes3D):
        frame(ax, x)
    else:
        ax.update_datalim(x[:, :2])
        ax.autoscale_view()


def _map(figure: Figure, source: PointShape, moved: PointShape, phi: Diffeo) -> float:
    """The deformed grid over the box of the source, and what of the source lies in it, moved along; its width."""
    d = source.x.shape[1]
    lo, hi = around(source.x)
    plane = dominant_plane(array(lo), array(hi)) if d > 1 else (0, 0)
    aspect = float((hi - lo)[plane[0]] / (hi - lo)[plane[1]])
    in_space = d > 2 and not is_flat(visible(source.x, 3))
    width = SIDE * min(max(aspect, 0.8 if in_space else 0.6), 1.6)  # no less than the caption needs
    ax = _axes(figure, LEFT, LOWER, width)
    ax.set_anchor("W")
    grid(ax, phi, lo, hi, 24)
    caption(ax, "Deformed grid" if d > 1 else "The map")
    if in_space:
        names = axis_names(d, range(d))
        caption(ax, f"Deformed grid: {names[plane[0]]}{names[plane[1]]} plane through the center")
    if d > 1:
        _overlay(ax, source, moved, phi, plane)
    return width


def _overlay(ax: Axes, source: PointShape, moved: PointShape, phi: Diffeo, plane: tuple[int, int]) -> None:
    x, y = array(source.x), array(moved.x)[:, plane]
    if isinstance(source, Curve):
        edges = array(source.edges).astype(int)
        ax.add_collection(LineCollection(list(y[edges]), colors=INK, linewidths=1.4))
        return
    normal = [k for k in range(x.shape[1]) if k not in plane]
    middle, extent = (x.min(0) + x.max(0)) / 2, np.ptp(x, axis=0).max()
    if isinstance(source, Mesh):
        cut = section(source, normal[0], middle[normal[0]])
        with torch.no_grad():
            ends = array(phi(torch.as_tensor(cut.reshape(-1, 3)).to(source.x)))[:, plane] if len(cut) else cut[:, 0]
        ax.add_collection(LineCollection(list(ends.reshape(-1, 2, 2)), colors=INK, linewidths=1.6))
        return
    away = np.abs(x - middle)[:, normal].max(1, initial=0.0)
    close = np.argsort(away, kind="stable")[: min(int((away <= 0.03 * extent).sum()), 800)]
    ax.scatter(*y[close].T, s=5, color=INK, linewidths=0)
