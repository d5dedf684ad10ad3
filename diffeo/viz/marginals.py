"""Pairs of columns: rows that were given beside rows that were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter
from torch import Tensor

from diffeo.viz.density import MAP, dots, labels
from diffeo.viz.style import BLUE, INK, ORANGE, SMALL, dress
from diffeo.viz.view import Array, array

MOST = 4
"""Columns that can be shown in pairs."""
BINS, BARS = 40, 30


def marginals(
    figure: Figure,
    data: Tensor | None,
    drawn: Tensor,
    *,
    names: Sequence[str] = (),
    columns: Sequence[int] | None = None,
    box: tuple[float, float, float, float] = (0.1, 0.08, 0.98, 0.98),
) -> None:
    """Draw every pair of up to four columns, data as dots over what was drawn; on the diagonal each column alone.

    Args:
        figure: to draw on.
        data: rows, shape (n, d); None for what was drawn alone.
        drawn: rows drawn from a law, shape (m, d).
        names: of all columns, with their units.
        columns: which to show, the first four by default.
        box: the place of the panels, as parts of the figure: left, bottom, right, top.

    Raises: ValueError for more than four columns, or rows that do not fit together.
    """
    d = drawn.shape[1] if data is None else data.shape[1]
    columns = list(range(min(d, MOST))) if columns is None else list(columns)
    if drawn.shape[1] != d or not 1 <= len(columns) <= MOST or not all(0 <= k < d for k in columns):
        raise ValueError(
            f"marginals expects rows of as many columns and 1 to {MOST} of these, and got {d}, {drawn.shape[1]} and "
            f"{columns}."
        )
    names = labels(names, d) if names or d <= 3 else [f"$x_{{{k + 1}}}$" for k in range(d)]
    x, y = np.empty((0, d)) if data is None else array(data), array(drawn)
    left, bottom, right, top = box
    k = len(columns)
    spaced = figure.add_gridspec(k, k, left=left, bottom=bottom, right=right, top=top, wspace=0.12, hspace=0.12)
    grid = spaced.subplots(squeeze=False)
    for i, row in enumerate(columns):
        for j, column in enumerate(columns):
            ax = grid[i, j]
            if j > i:
                ax.set_axis_off()
            elif i == j:
                _alone(ax, x[:, row], y[:, row])
            else:
                _pair(ax, x[:, [column, row]], y[:, [column, row]])
            dress(ax, names[column] if i == k - 1 else "", names[row] if j == 0 and i else "")
            ax.tick_params(labelbottom=i == k - 1, labelleft=j == 0 and i > 0)
            for axis in (ax.xaxis, ax.yaxis) if i != j else (ax.xaxis,):
                axis.set_major_locator(MaxNLocator(3))
    handles: list[Artist] = [Patch(facecolor=BLUE, alpha=0.5, label=f"{len(y):,} rows drawn")]
    if len(x):
        look: dict[str, Any] = {"lw": 1.6} if k == 1 else {"marker": "o", "ls": "", "ms": 4}
        handles.insert(0, Line2D([], [], color=ORANGE, label=f"{len(x):,} rows of data", **look))
    figure.legend(
        handles=handles, loc="lower right" if k == 1 else "upper right", bbox_to_anchor=(right, top), frameon=False,
        fontsize=SMALL + 1, labelcolor=INK, borderaxespad=0.2 if k == 1 else 0.0, ncols=2 if k == 1 else 1,
    )  # fmt: skip


def limits(x: Array, y: Array) -> tuple[float, float]:
    """What is shown of a column, of shape (n,) and (m,): all of the data, and most of what was drawn."""
    low, high = np.quantile(y, (0.001, 0.999))
    low, high = min(x.min(initial=low), low), max(x.max(initial=high), high)
    margin = 0.04 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _alone(ax: Axes, x: Array, y: Array) -> None:
    ends = limits(x, y)
    bins = np.linspace(*ends, BARS + 1).tolist()
    ax.hist(y, bins=bins, density=True, color=BLUE, alpha=0.35)
    if len(x):
        ax.hist(x, bins=bins, density=True, histtype="step", color=ORANGE, lw=1.6)
    ax.set(xlim=ends, yticks=[])


def _pair(ax: Axes, x: Array, y: Array) -> None:
    ends = [limits(x[:, k], y[:, k]) for k in range(2)]
    counts, *_ = np.histogram2d(*y.T, bins=BINS, range=ends)
    ax.imshow(
        gaussian_filter(counts, 1.0).T, origin="lower", extent=(*ends[0], *ends[1]), cmap=MAP, aspect="auto",
        interpolation="bilinear",
    )  # fmt: skip
    dots(ax, torch.from_numpy(x), ORANGE, 500)
    ax.set(xlim=ends[0], ylim=ends[1])
