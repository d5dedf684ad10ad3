"""What a film of a density is drawn on: a curve for one column, a map for two, pairs for more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import combinations

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter

from diffeo.viz.density import LEVELS, LINE, MAP, bright, cells_of, level_lines, shaded
from diffeo.viz.density_way import DensityWay
from diffeo.viz.draw import legend
from diffeo.viz.films.board import Board
from diffeo.viz.marginals import BINS, MOST
from diffeo.viz.style import BLUE, FAINT, INK, ORANGE, caption, color_bar, dress
from diffeo.viz.view import Array, sample

CELLS, FINE, BARS = 120, 600, 50  # along each side of a map, along a curve, and of a histogram
DOTS, FEWER, WAYS = 400, 250, 60  # points of a map, of one of several, and on a line, that are shown
SIDE, LEFT, FOOT, HEAD = 4.4, 0.75, 1.05, 0.85
"""Inches: the longer side of a single panel, and what is left around it."""
LOOKS = {"rows": (ORANGE, "o", "rows → base"), "draws": (BLUE, "D", "base → draws")}


class Panels(ABC):
    """Panels that show a way, moment by moment.

    Args:
        way: what to show.

    Attributes:
        width, height: of the figure that they ask for, in inches.
    """

    width: float
    height: float

    def __init__(self, way: DensityWay) -> None:
        self.way = way

    @abstractmethod
    def place(self, board: Board) -> None:
        """Make the panels, and what is the same at all moments."""

    @abstractmethod
    def draw(self, board: Board, moment: int, who: str) -> None:
        """Show a moment of the rows or of the draws."""

    def points(self, who: str, most: int = DOTS) -> Array:
        """Those that are shown, so many at most, and no more draws than rows, shape (T, points, d)."""
        points = self.way.rows if who == "rows" else self.way.drawn
        return points[:, sample(points.shape[1], min(most, self.way.rows.shape[1]))]


class Line(Panels):
    """One column: the density above, and below the ways of points, as far as they have come."""

    width, height = 6.6, 6.2

    def __init__(self, way: DensityWay) -> None:
        super().__init__(way)
        self.x = np.linspace(way.low[0], way.high[0], FINE)
        self.p = np.stack([way.density(k, self.x[:, None]) for k in range(len(way.times))])
        self.edges = np.linspace(way.low[0], way.high[0], BARS + 1)
        self.bars = {
            who: np.stack([np.histogram(x, self.edges, density=True)[0] for x in points[:, :, 0]])
            for who, points in (("rows", way.rows), ("draws", way.drawn))
        }

    def place(self, board: Board) -> None:
        """Density and ways, one below the other."""
        self.density = board.panel(LEFT, 3.2, self.width - LEFT - 0.3, 2.1)
        self.ways = board.panel(LEFT, FOOT, self.width - LEFT - 0.3, 1.95)
        ends, highest = (self.x[0], self.x[-1]), max(map(np.nanmax, (self.p, *self.bars.values())))
        self.density.set(xlim=ends, ylim=(0, 1.05 * highest))
        self.ways.set(xlim=ends, ylim=(1.06, -0.06))
        dress(self.density, "", "density p  (per unit)")
        self.density.tick_params(labelbottom=False)
        dress(self.ways, self.way.names[0], "part of the way")
        legend(self.density, [*key(), Line2D([], [], color=INK, lw=2, label="density")])

    def draw(self, board: Board, moment: int, who: str) -> None:
        """The curve, over a histogram of all that are on their way."""
        color, marker, said = LOOKS[who]
        shown = self.points(who, WAYS)[:, :, 0]
        k = moment
        with board.redrawn(self.density):
            self.density.stairs(self.bars[who][k], self.edges, fill=True, color=color, alpha=0.4)
            self.density.plot(self.x, self.p[k], color=INK, lw=2)
            caption(self.density, said)
        done = slice(0, k + 1) if who == "rows" else slice(k, None)
        with board.redrawn(self.ways):
            at = np.broadcast_to(self.way.times[done, None], shown[done].shape)
            self.ways.add_collection(
                LineCollection(list(np.stack([shown[done], at], -1).swapaxes(0, 1)), colors=color, lw=0.6, alpha=0.6)
            )
            self.ways.scatter(shown[k], np.full(shown.shape[1], self.way.times[k]), s=14, c=color, marker=marker, lw=0)


class Plane(Panels):
    """Two columns, or one given another one: the density of the moment as a map with level lines."""

    def __init__(self, way: DensityWay) -> None:
        super().__init__(way)
        self.axes = (1, 0) if way.given else (0, 1)
        self.low, self.high = (torch.from_numpy(corner[list(self.axes)]) for corner in (way.low, way.high))
        points = cells_of(self.low, self.high, CELLS).numpy()[:, list(self.axes)]
        self.p = [way.density(k, points).reshape(CELLS, CELLS) for k in range(len(way.times))]
        self.limit = max(bright(p) for p in self.p)
        sides = (self.high - self.low).numpy()
        across, up = (SIDE, SIDE) if way.given else SIDE * sides / sides.max()
        self.side = float(across), float(up)
        self.width, self.height = max(LEFT + self.side[0] + 1.05, 5.6), FOOT + self.side[1] + HEAD

    def place(self, board: Board) -> None:
        """The panel with its color bar."""
        self.ax = board.panel(LEFT, FOOT, *self.side)
        (left, bottom), (right, top) = self.low.tolist(), self.high.tolist()
        self.ax.set(xlim=(left, right), ylim=(bottom, top))
        dress(self.ax, *(self.way.names[k] for k in self.axes))
        what = (
            "density of the column, given the context  (per unit)" if self.way.given else "density  (per unit of area)"
        )
        strip = color_bar(self.ax, ScalarMappable(Normalize(0, self.limit), MAP), what)
        strip.ax.hlines([part * self.limit for part in LEVELS], 0, 1, colors=INK, linewidths=LINE)
        legend(self.ax, key())

    def draw(self, board: Board, moment: int, who: str) -> None:
        """The density, the grid that goes along, the points."""
        color, marker, said = LOOKS[who]
        ax, p = self.ax, self.p[moment]
        x = self.points(who)[moment][:, list(self.axes)]
        with board.redrawn(ax):
            shaded(ax, p, self.low, self.high, self.limit)
            ax.set_aspect("auto")
            level_lines(ax, p, self.low, self.high, self.limit)
            ax.add_collection(
                LineCollection([line[moment] for line in self.way.lines], colors=FAINT, lw=0.5, alpha=0.8)
            )
            ax.scatter(*x.T, s=11, color=color, marker=marker, lw=0.3, edgecolors="white", zorder=3)
            caption(ax, said)


class Pairs(Panels):
    """More columns: pairs of the first four, or of one column and its context, over shades that draws make."""

    def __init__(self, way: DensityWay) -> None:
        super().__init__(way)
        first = range(min(way.columns, MOST))
        context = range(way.columns, min(way.columns + MOST - 1, len(way.low)))
        self.pairs = list(combinations(first, 2)) or [(k, 0) for k in context]
        self.rows = len(first) - 1 or 1
        self.columns = self.rows if len(first) > 1 else len(self.pairs)
        self.side = {1: SIDE, 2: 2.9}.get(self.columns, 2.15)
        self.gap = 0.25 if self.rows > 1 else 0.65
        self.width = max(LEFT + self.columns * (self.side + self.gap) + 0.1, 6.0)
        self.height = FOOT + self.rows * (self.side + self.gap) - self.gap + HEAD
        self.shades = [self._shades(pair) for pair in self.pairs]

    def _shades(self, pair: tuple[int, int]) -> Array:
        """How many of the draws are where, shape (T, bins, bins), at most 1."""
        ends = [(self.way.low[k], self.way.high[k]) for k in pair]
        drawn = self.way.drawn[:, :, list(pair)]
        counts = np.stack([gaussian_filter(np.histogram2d(*x.T, bins=BINS, range=ends)[0], 1.0) for x in drawn])
        return counts / max(bright(each) for each in counts)

    def place(self, board: Board) -> None:
        """Panels below each other share their column, panels beside each other their row."""
        way, step = self.way, self.side + self.gap
        self.panels = []
        for j, (a, b) in enumerate(self.pairs):
            row, column = (b - 1, a) if self.rows > 1 or way.columns > 1 else (0, j)
            left, bottom = LEFT + column * step, FOOT + (self.rows - 1 - row) * step
            ax = board.panel(left, bottom, self.side, self.side)
            lowest, leftmost = row == self.rows - 1, column == 0
            ax.set(xlim=(way.low[a], way.high[a]), ylim=(way.low[b], way.high[b]))
            dress(ax, way.names[a] if lowest else "", way.names[b] if leftmost else "")
            ax.tick_params(labelbottom=lowest, labelleft=leftmost or self.rows == 1)
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(4))
            self.panels.append(ax)
        self.head = self.panels[0]
        handles = [*key(), Line2D([], [], color="#6aaed6", marker="s", ls="", ms=7, label="all draws")]
        board.figure.legend(
            handles=handles, loc="upper right", frameon=False, fontsize=8, ncols=1 if self.rows > 1 else 3,
            bbox_to_anchor=((self.width - 0.25) / self.width, (self.height - 0.55) / self.height), borderaxespad=0.0,
        )  # fmt: skip

    def draw(self, board: Board, moment: int, who: str) -> None:
        """Points over what all draws of the moment say of the density."""
        color, marker, said = LOOKS[who]
        x, way = self.points(who, FEWER)[moment], self.way
        for ax, (a, b), shades in zip(self.panels, self.pairs, self.shades, strict=True):
            with board.redrawn(ax):
                low, high = torch.from_numpy(way.low[[a, b]]), torch.from_numpy(way.high[[a, b]])
                shaded(ax, shades[moment], low, high, 1.0)
                ax.set_aspect("auto")
                ax.scatter(x[:, a], x[:, b], s=9, color=color, marker=marker, lw=0.2, edgecolors="white", zorder=3)
        caption(self.head, said)


def key() -> list[Line2D]:
    """What dots mean."""
    return [
        Line2D([], [], color=color, marker=marker, ls="", ms=4, label=who) for who, (color, marker, _) in LOOKS.items()
    ]
