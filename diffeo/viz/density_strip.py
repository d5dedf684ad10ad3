"""A density on its way to the base, in a row of pictures."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffeo.viz.density import LEVELS, LINE, MAP, bright, cells_of, level_lines, shaded
from diffeo.viz.density_way import DensityWay
from diffeo.viz.style import FAINT, INK, ORANGE, caption, color_bar, dress
from diffeo.viz.view import Array, sample

CELLS, FINE, BARS, DOTS = 120, 400, 40, 200
WIDTH, LEFT, GAP, FOOT, HEAD, BAR = 13.0, 0.65, 0.14, 0.55, 0.4, 0.85
"""Inches: the figure, and what is left around and between the panels."""


def density_strip(way: DensityWay, count: int = 5) -> Figure:
    """Draw the density that rows have at moments of their way to the base, with some of the rows and their grid.

    Args:
        way: of one column, of two, or of one given another.
        count: pictures, evenly along the way, 2 at least.

    Returns: a figure, 13 inches wide, not registered with pyplot.
    Raises: ValueError for more columns, and for fewer pictures.
    """
    if len(way.low) > 2 or count < 2:
        raise ValueError(
            f"density_strip expects one or two columns and 2 pictures or more, and got {len(way.low)} and {count}: for "
            "more columns use marginals."
        )
    moments = np.unique(np.linspace(0, len(way.times) - 1, count).round().astype(int)).tolist()
    width = (WIDTH - LEFT - BAR - GAP * (len(moments) - 1)) / len(moments)
    flat = len(way.low) == 1
    sides = way.high - way.low
    tall = width * (0.8 if flat else 1.0 if way.given else float(np.clip(sides[1] / sides[0], 0.6, 1.4)))
    figure = Figure(figsize=(WIDTH, FOOT + tall + HEAD), facecolor="white")
    height = figure.get_figheight()
    panels = [
        figure.add_axes(((LEFT + j * (width + GAP)) / WIDTH, FOOT / height, width / WIDTH, tall / height))
        for j in range(len(moments))
    ]
    (_curves if flat else _maps)(panels, way, moments)
    words = ["rows", *(f"{way.times[k]:.0%} of the way" for k in moments[1:-1]), "base"]
    for ax, word in zip(panels, words, strict=True):
        caption(ax, word)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4))
        ax.tick_params(labelleft=ax is panels[0])
    return figure


def _curves(panels: list[Axes], way: DensityWay, moments: list[int]) -> None:
    """The density over a histogram of the rows."""
    x = np.linspace(way.low[0], way.high[0], FINE)
    curves = [way.density(k, x[:, None]) for k in moments]
    edges = np.linspace(way.low[0], way.high[0], BARS + 1)
    bars = [np.histogram(way.rows[k, :, 0], edges, density=True)[0] for k in moments]
    highest = max(map(np.nanmax, (*curves, *bars)))
    for ax, p, heights in zip(panels, curves, bars, strict=True):
        ax.stairs(heights, edges, fill=True, color=ORANGE, alpha=0.4)
        ax.plot(x, p, color=INK, lw=1.6)
        ax.set(xlim=(x[0], x[-1]), ylim=(0, 1.05 * highest))
        dress(ax, way.names[0], "density p  (per unit)" if ax is panels[0] else "")


def _maps(panels: list[Axes], way: DensityWay, moments: list[int]) -> None:
    """The density as a map, in the same colors in all panels; a context from left to right."""
    axes = [1, 0] if way.given else [0, 1]
    low, high = (torch.from_numpy(corner[axes]) for corner in (way.low, way.high))
    points = cells_of(low, high, CELLS).numpy()[:, axes]
    maps: list[Array] = [way.density(k, points).reshape(CELLS, CELLS) for k in moments]
    limit = max(bright(p) for p in maps)
    rows, ends = sample(way.rows.shape[1], DOTS), list(zip(low.tolist(), high.tolist(), strict=True))
    for ax, p, k in zip(panels, maps, moments, strict=True):
        shaded(ax, p, low, high, limit)
        level_lines(ax, p, low, high, limit)
        ax.add_collection(LineCollection([line[k] for line in way.lines], colors=FAINT, lw=0.4, alpha=0.8))
        ax.scatter(*way.rows[k][rows][:, axes].T, s=4, color=ORANGE, lw=0, zorder=3)
        ax.set(xlim=ends[0], ylim=ends[1], aspect="auto")
        dress(ax, way.names[axes[0]], way.names[axes[1]] if ax is panels[0] else "")
    what = "density, given the context" if way.given else "density  (per unit of area)"
    strip = color_bar(panels[-1], ScalarMappable(Normalize(0, limit), MAP), what)
    strip.ax.hlines([part * limit for part in LEVELS], 0, 1, colors=INK, linewidths=LINE)
