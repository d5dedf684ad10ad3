"""A panel in which the rows of a network are seen on their way, in figures and in films."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from diffeo.viz.learned import SUBSCRIPTS, Course, Learned, View
from diffeo.viz.style import FAINT, INK, SMALL, caption, dress
from diffeo.viz.view import Array

Extent = tuple[Array, Array]  # two pairs: low and high
CELLS = 160  # along a side of a map of what is answered
TAIL, BEYOND = 0.01, 0.12  # of the rows on either side may be far out; others are shown up to so many extents beyond


def limits(moments: Course, which: Sequence[int] | range) -> Extent:
    """Between which coordinates rows are seen at some moments: two pairs, as long as each other.

    A few rows that are very far out are left out, for the others to be seen.
    """
    w = moments.rows.shape[-1]
    found = moments.rows[list(which)].reshape(-1, w)
    low, high = np.quantile(found, TAIL, axis=0), np.quantile(found, 1 - TAIL, axis=0)
    room = BEYOND * (high - low).max()
    if moments.sheet is not None:
        found = np.concatenate([found, moments.sheet[list(which)].reshape(-1, w)])
    low, high = np.maximum(found.min(0), low - room), np.minimum(found.max(0), high + room)
    middle, half = (low + high) / 2, 0.54 * (float((high - low).max()) or 1.0)
    return np.array([middle[0] - half, middle[0] + half]), np.array([middle[1] - half, middle[1] + half])


def far_out(moments: Course, extents: Sequence[Extent]) -> str:
    """How many rows are not within the limits of a moment, in a sentence; nothing if all are."""
    left = 0
    for rows, extent in zip(moments.rows, extents, strict=True):
        low, high = np.stack(extent, 1)
        left = max(left, int(((rows < low) | (rows > high)).any(1).sum()))
    return f"{left} row{'s' if left > 1 else ''} far out {'are' if left > 1 else 'is'} not shown." if left else ""


def dress_panel(ax: Axes, seen: View, extent: Extent) -> None:
    """Limits and axes: true to scale, but where rows are drawn beside a line."""
    dress(ax, *(axis.name for axis in seen.axes))
    ax.set_xlim(*extent[0])
    if seen.heights is None:
        ax.set_ylim(*extent[1])
        ax.set_aspect("equal", adjustable="box")
    else:
        room = 0.06 * float(np.ptp(seen.heights)) or 0.5
        ax.set_ylim(float(seen.heights.min()) - room, float(seen.heights.max()) + room)
    for axis, told in zip((ax.xaxis, ax.yaxis), seen.axes, strict=True):
        axis.set_major_locator(MaxNLocator(5))
        if told.ticks:
            axis.set_ticks(*told.ticks)
    if seen.oblique:
        _coordinates(ax, seen)


def _coordinates(ax: Axes, seen: View) -> None:
    """The directions of space, in a corner."""
    corner, size = np.array([0.12, 0.1]), 0.09
    arrow = {"arrowstyle": "->", "color": INK, "lw": 0.9}
    for k, arm in enumerate(seen.matrix):
        tip, name = corner + size * arm, corner + 1.45 * size * arm
        ends = [(float(x), float(y)) for x, y in (tip, corner)]
        ax.annotate("", *ends, xycoords="axes fraction", arrowprops=arrow, zorder=5)
        place = float(name[0]), float(name[1])
        ax.text(
            *place, f"z{SUBSCRIPTS[k]}", transform=ax.transAxes, fontsize=SMALL, color=INK, ha="center", va="center"
        )


def draw_sheet(ax: Axes, moments: Course, k: int) -> LineCollection | None:
    """The lines that go along, at a moment; None if there are none."""
    if moments.sheet is None:
        return None
    lines = LineCollection(list(moments.sheet[k]), colors=FAINT, linewidths=0.5, alpha=0.8, zorder=1)
    ax.add_collection(lines)
    return lines


def draw_read_out(ax: Axes, learned: Learned, extent: Extent) -> None:
    """What is answered where the layers end, if they do in the plane or on a line."""
    d = learned.start.shape[1]
    x, y = (np.linspace(low, high, CELLS) for low, high in extent)
    if d == 1:
        learned.target.read_line(ax, x, learned.read(_positions(x[:, None], learned)))
    elif d == 2:
        at = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        answers = learned.read(_positions(at, learned)).reshape(CELLS, CELLS, -1)
        learned.target.landscape(ax, x, y, answers, faint=True)


def _positions(x: Array, learned: Learned) -> torch.Tensor:
    return torch.from_numpy(x).to(learned.start)


def draw_answers(ax: Axes, learned: Learned, rows: NDArray[np.intp]) -> None:
    """What is answered for every input, pulled back through φ; with more columns, how good it is."""
    p, names = learned.rows.shape[1], learned.column_names
    if p > 2:
        learned.target.errors(ax)
        return
    caption(ax, "Answers, pulled back to the inputs")
    x = np.linspace(*learned.box(0), CELLS if p == 2 else 4 * CELLS)
    if p == 1:
        dress(ax, names[0], "")
        learned.target.curve(ax, x, learned.answers(x[:, None]), learned.rows[:, 0], rows)
    else:
        y = np.linspace(*learned.box(1), CELLS)
        at = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        learned.target.landscape(ax, x, y, learned.answers(at).reshape(CELLS, CELLS, -1))
        learned.target.dots(ax, learned.rows, rows)
        learned.target.rings(ax, learned.rows, rows)
        dress(ax, *names)
        ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_locator(MaxNLocator(5))
