"""The picture of what was learned: the course of the fit, and predictions against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from diffeo.viz.curves import history
from diffeo.viz.draw import legend
from diffeo.viz.style import FAINT, INK, LARGE, NORMAL, PALETTE, SMALL, caption, dress
from diffeo.viz.view import sample

Array = NDArray[Any]
WIDTH, HEIGHT = 11.0, 5.2
"""Inches: the figure."""
MOST_NAMES, MOST_NUMBERS = 24, 14
"""Classes whose names, and whose counts, can be read."""
MARKS = ("o", "^", "s", "D", "v", "P")
LONGEST, MOST_LETTERS = 14, 40  # letters of a class's name that are shown, and of all names beside each other


def learning(
    records: Sequence[Any],
    panel: Any,
    title: str,
    remark: str = "",
) -> Figure:
    """Draw the course of a fit beside what is predicted.

    Args:
        records: one per iteration, as ``history`` takes them.
        panel: draws on axes what is predicted; see ``agreement`` and ``confusion``.
        title: written above.
        remark: written at the right of the title.

    Returns: a figure of 11 by 5.2 inches, not registered with pyplot.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    course = figure.add_axes((0.07, 0.12, 0.4, 0.68))
    caption(course, "Fit")
    history(course, records)
    panel(figure.add_axes((0.58, 0.12, 0.38, 0.68)))
    figure.text(0.07, 0.92, title, fontsize=LARGE + 3, color=INK)
    figure.text(0.96, 0.92, remark, fontsize=NORMAL, color=INK, ha="right")
    return figure


def agreement(ax: Axes, named: Mapping[str, tuple[Array, Array]], target: str) -> None:
    """Draw predicted against true numbers, with the line on which they agree.

    Args:
        named: (truth, predicted), of shape (n,) each, by what they are, such as training and hold-out; six at most, of
            each of which at most 6,000 points are drawn.
        target: what is predicted.
    """
    handles = []
    for (name, (truth, predicted)), color, mark in zip(named.items(), PALETTE, MARKS, strict=False):
        rows = sample(len(truth))
        ax.scatter(
            truth[rows], predicted[rows], s=12, color=color, marker=mark, alpha=0.6, linewidths=0, rasterized=True
        )
        handles.append(Line2D([], [], color=color, marker=mark, ls="", ms=4, label=name))
    both = np.concatenate([np.concatenate(pair) for pair in named.values()])
    ends = [float(both.min()), float(both.max())]
    ax.plot(ends, ends, color=FAINT, lw=1, zorder=0)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    dress(ax, f"{short(target, 40)}, true", "predicted")
    caption(ax, "Predictions")
    if len(handles) <= 2:
        legend(ax, handles)
    else:  # below the line there is room
        ax.legend(handles=handles, fontsize=SMALL, loc="lower right", frameon=False, labelcolor=INK)


def confusion(ax: Axes, counts: Array, classes: Sequence[str], which: str) -> None:
    """Draw how often each class, in rows, is taken for each, in columns: as shares of the rows, with their counts.

    Args:
        counts: shape (k, k).
        classes: their names.
        which: of which rows, such as hold-out.
    """
    totals = counts.sum(1, keepdims=True)
    ax.imshow(counts / np.maximum(totals, 1), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    k = len(classes)
    if k <= MOST_NUMBERS:
        for i, j in np.ndindex(k, k):
            if counts[i, j]:
                dark = counts[i, j] > 0.6 * totals[i, 0]
                ax.text(
                    j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=SMALL, color="white" if dark else INK
                )
    names = [short(name, LONGEST) for name in classes]
    crowded = sum(map(len, names)) > MOST_LETTERS
    dress(ax, "predicted, in the same order" if crowded and k <= MOST_NAMES else "predicted", "true")
    if k <= MOST_NAMES:
        ax.set_xticks([] if crowded else range(k), [] if crowded else names)
        ax.set_yticks(range(k), names)
    else:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
    caption(ax, f"Confusion, {which}")


def short(name: str, length: int) -> str:
    """A name that fits; no part of it is read as mathematics."""
    name = name if len(name) <= length else name[: length - 1] + "…"
    return name.replace("$", r"\$")
