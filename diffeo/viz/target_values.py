"""Values: colors that say how large they are, the surface of what is answered, and how far it is from the truth."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from diffeo.viz.learning import agreement, short
from diffeo.viz.style import BLUE, FAINT, INK, NORMAL, SEQUENTIAL, SMALL, caption, dress
from diffeo.viz.target_labels import rectangle
from diffeo.viz.targets import REPRODUCED, Axis, Dots, Fact, Group, Key, Target, leading, shrunk_covariance
from diffeo.viz.view import Array

EXACT = 1e-2  # of the spread of the values: errors below it hardly tell anything
LEVELS = 9
BAR_LETTERS = 36  # as long as so many letters of the key
MOST_OUTPUTS = 6


@dataclass(frozen=True)
class Values(Target):
    """Rows with k values each; pictures show the first of them by color.

    Attributes:
        truth: shape (n, k).
        answers: what is predicted, shape (n, k).
        names: of the values, with their units.
        which: what the rows are.
    """

    truth: Array
    answers: Array
    names: Sequence[str]
    which: str

    @property
    def aim(self) -> str:
        """In words."""
        return "tell the values" if len(self.names) > 1 else "tell the value"

    @property
    def spread(self) -> Array:
        """The standard deviation of each value, shape (k,); 1 where all are the same."""
        found = self.truth.std(0)
        return np.where(found > 0, found, 1.0)

    def directions(self, z: Array) -> Array:
        """Along which linear predictions of the values grow."""
        centered, values = z - z.mean(0), (self.truth - self.truth.mean(0)) / self.spread
        slopes = np.linalg.solve(shrunk_covariance(centered), centered.T @ values / len(z))
        return leading(slopes, len(self.names))

    @property
    def heights(self) -> Array:
        """The value."""
        return self.truth[:, 0]

    @property
    def height(self) -> Axis:
        """Its name."""
        return Axis(short(self.names[0], 24))

    @property
    def _norm(self) -> Normalize:
        low, high = float(self.truth[:, 0].min()), float(self.truth[:, 0].max())
        return Normalize(low, high if high > low else low + 1)

    def dots(self, ax: Axes, xy: Array, rows: NDArray[np.intp]) -> list[Dots]:
        """Colored by the value, with a rim that is seen on every color."""
        artist = ax.scatter(
            *xy[rows].T, s=float(np.clip(5000 / len(rows), 9, 26)), c=self.truth[rows, 0], norm=self._norm,
            cmap=SEQUENTIAL, edgecolors=INK, linewidths=0.25, zorder=3, rasterized=len(rows) > 1000,
        )  # fmt: skip
        return [Dots(artist, rows)]

    def rings(self, ax: Axes, xy: Array, rows: NDArray[np.intp]) -> None:
        """No value is simply wrong."""

    def key(self, letters: int, most: int = 99) -> Key:
        """A color bar."""
        return Key(2, partial(self._key, letters))

    def _key(self, letters: int, ax: Axes) -> None:
        figure = ax.get_figure(root=True)
        assert figure is not None
        width = min(0.6, BAR_LETTERS / letters)
        inset = ax.inset_axes((0.0, 0.55, width, 0.3), transform=ax.transAxes)
        bar = figure.colorbar(ScalarMappable(self._norm, SEQUENTIAL), cax=inset, orientation="horizontal")
        bar.ax.tick_params(labelsize=SMALL, color=FAINT, labelcolor=INK)
        bar.ax.xaxis.set_major_locator(MaxNLocator(5))
        bar.outline.set_visible(False)
        count = len(self.names)
        more = f" (1 of {count} values)" if count > 1 else ""
        name = short(self.names[0], max(8, int(0.9 * (1 - width) * letters) - len(more)))
        look = {"fontsize": NORMAL, "color": INK, "va": "center", "ha": "left"}
        ax.text(width + 2 / letters, 0.7, f"{name}{more}", transform=ax.transAxes, **look)
        ax.set_axis_off()

    def landscape(self, ax: Axes, x: Array, y: Array, answers: Array, faint: bool = False) -> None:
        """What is answered, with level lines."""
        shown, norm = answers[..., 0], self._norm
        ax.imshow(
            shown, origin="lower", extent=rectangle(x, y), interpolation="bilinear", aspect="auto", zorder=0,
            norm=self._norm, cmap=SEQUENTIAL, alpha=0.35 if faint else 0.9,
        )  # fmt: skip
        levels = MaxNLocator(LEVELS).tick_values(float(norm.vmin or 0), float(norm.vmax or 0))
        levels = levels[(levels > shown.min()) & (levels < shown.max())]
        if len(levels):
            ax.contour(x, y, shown, levels=levels, colors=INK, linewidths=0.6, alpha=0.7, linestyles="solid", zorder=2)

    def read_line(self, ax: Axes, x: Array, answers: Array) -> None:
        """What is read out."""
        ax.plot(x, answers[:, 0], color=BLUE, lw=1.6, zorder=4)

    def curve(self, ax: Axes, x: Array, answers: Array, at: Array, rows: NDArray[np.intp]) -> None:
        """What is answered, over the rows."""
        self.dots(ax, np.stack([at, self.truth[:, 0]], 1), rows)
        ax.plot(x, answers[:, 0], color=BLUE, lw=2, zorder=4)
        ax.set_ylabel(self.height.name)

    def errors(self, ax: Axes) -> None:
        """Residuals against predictions, each in spreads of its value."""
        place = (self.answers - self.truth.mean(0)) / self.spread
        errors = (self.truth - self.answers) / self.spread
        single = len(self.names) == 1
        if single:
            place, errors = self.answers, self.truth - self.answers
        reach, size = float(np.abs(errors).max()), float(self.spread[0]) if single else 1.0
        ax.axhline(0, color=FAINT, lw=1)
        for k in range(min(len(self.names), MOST_OUTPUTS)):
            ax.scatter(place[:, k], errors[:, k], s=10, color=BLUE, alpha=0.6, linewidths=0, rasterized=True)
        dress(ax, "predicted" if single else "predicted, in spreads", "true − predicted")
        if reach < EXACT * size:
            ax.set_ylim(-0.1 * size, 0.1 * size)
            ax.text(
                0.5,
                0.95,
                textwrap.fill(REPRODUCED, 36),
                transform=ax.transAxes,
                ha="center",
                va="top",
                fontsize=SMALL,
                color=INK,
            )
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(5))
        caption(ax, "Residuals")

    def judged(self, ax: Axes) -> None:
        """Predicted against true."""
        if len(self.names) == 1:
            agreement(ax, {self.which: (self.truth[:, 0], self.answers[:, 0])}, self.names[0])
            return
        middle, spread = self.truth.mean(0), self.spread
        truth, answers = (self.truth - middle) / spread, (self.answers - middle) / spread
        pairs = {short(name, 16): (truth[:, k], answers[:, k]) for k, name in enumerate(self.names[:MOST_OUTPUTS])}
        agreement(ax, pairs, "values in spreads")

    def facts(self) -> list[Fact]:
        """The part of the variance that is explained, and the typical error."""
        found = []
        for k, name in enumerate(self.names[:MOST_OUTPUTS]):
            of = f", {short(name, 14)}" if len(self.names) > 1 else ""
            error = float(np.sqrt(np.mean((self.answers[:, k] - self.truth[:, k]) ** 2)))
            spread = float(self.truth[:, k].std())
            explained = 1 - (error / spread) ** 2 if spread else None
            found.append(Fact(f"R²{of}", explained, "", f"the part of the variance of {name} that is explained"))
            found.append(Fact(f"root mean square error{of}", error, "", f"in units of {name}"))
        return found

    def scores(self, found: dict[str, Any], rows: str) -> list[Fact]:
        """The same."""
        of = f"of {found['rows']:,} rows"
        error = Fact(f"root mean square error, {rows}", found["rmse"], "", of)
        return [Fact(f"R², {rows}", found["r2"], "", of), error]

    def groups(self) -> list[Group]:
        """All together."""
        return [Group("rows", BLUE, np.arange(len(self.truth)))]

    def quantities(self) -> dict[str, Array]:
        """Truth, answers and what is between them, for every value."""
        found = {}
        for k, name in enumerate(self.names[:MOST_OUTPUTS]):
            found |= {name: self.truth[:, k], f"{name}, predicted": self.answers[:, k]}
            found[f"{name}, true − predicted"] = self.truth[:, k] - self.answers[:, k]
        return found

    @property
    def signed(self) -> Sequence[str]:
        """What is left."""
        return [f"{name}, true − predicted" for name in self.names]

    @property
    def telling(self) -> str | None:
        """The value."""
        return self.names[0]
