"""Classes: marks and colors that tell them apart, the regions in which they are answered, how often they are right."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from diffeo.viz.learning import confusion, short
from diffeo.viz.style import BLUE, FAINT, INK, PALETTE, SMALL, VERMILION, caption, dress
from diffeo.viz.targets import REPRODUCED, Axis, Dots, Fact, Group, Key, Target, leading, shrunk_covariance
from diffeo.viz.view import Array

MARKS = ("o", "^", "s", "D", "v", "P", "X")
"""As many as are coprime to the colors: both change from class to class, and 42 pairs differ."""
DASHES = ("-", "--", "-.", ":")
MOST_LOOKS = len(MARKS) * len(PALETTE)
GLYPHS = range(7, 37)  # so many classes are written instead of marked, if their names are one or two letters
LONGEST = 16  # letters of a name
ENTRY = 5  # letters that the mark in the key, and what is around it, takes
OTHERS = "#8c8c8c"
SHADES = (0.0, -0.4, 0.5)  # of colors that come back: as they are, darker, paler
MOST_GROUPS = 24  # classes that are shown and hidden one by one
REPRODUCING = 0.9  # least margin of an exact read-out on the rows it knows


@dataclass(frozen=True)
class Labels(Target):
    """Rows of k classes.

    Attributes:
        truth: the number of each row's class, shape (n,).
        answers: probabilities, shape (n, k).
        names: of the classes.
        which: what the rows are.
    """

    truth: NDArray[np.intp]
    answers: Array
    names: Sequence[str]
    which: str

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The likeliest class of each row, shape (n,)."""
        return self.answers.argmax(1)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which rows are answered wrong, shape (n,)."""
        return self.predicted != self.truth

    @property
    def margins(self) -> Array:
        """The probability of a row's class less that of the likeliest other, shape (n,): negative where wrong."""
        rows = np.arange(len(self.truth))
        others = self.answers.copy()
        others[rows, self.truth] = -np.inf
        return self.answers[rows, self.truth] - others.max(1)

    @property
    def aim(self) -> str:
        """In words."""
        return "tell the classes apart"

    def directions(self, z: Array) -> Array:
        """Discriminant directions, made orthonormal so that what is seen is no larger than it is."""
        present = np.unique(self.truth)
        means = np.stack([z[self.truth == k].mean(0) for k in present])
        place = np.searchsorted(present, self.truth)
        root = np.linalg.cholesky(shrunk_covariance(z - means[place]))
        between = np.linalg.solve(root, (means[place] - z.mean(0)).T) / np.sqrt(len(z))
        found = np.linalg.solve(root.T, leading(between, len(present) - 1))
        return np.linalg.qr(found)[0]

    @property
    def heights(self) -> Array:
        """One band per class, rows spread within it."""
        return self.truth + 0.5 * (np.arange(len(self.truth)) * 0.6180339887 % 1 - 0.5)

    @property
    def height(self) -> Axis:
        """The classes, where their names can be read."""
        if len(self.names) > 12:
            return Axis("class")
        return Axis("class", (range(len(self.names)), [short(name, 10) for name in self.names]))

    def dots(self, ax: Axes, xy: Array, rows: NDArray[np.intp]) -> list[Dots]:
        """A mark and a color for each class."""
        found = []
        # what is drawn last hides what is below it: the most frequent classes are drawn first
        for k in np.argsort(-np.bincount(self.truth[rows], minlength=len(self.names)), kind="stable"):
            of_class = rows[self.truth[rows] == k]
            if len(of_class):
                color, mark = self._look(int(k))
                size = float(np.clip(5000 / len(rows), 10, 26)) * (1.5 if mark.startswith("$") else 1.0)
                artist = ax.scatter(
                    *xy[of_class].T, s=size, color=color, marker=mark, edgecolors="white", zorder=3,
                    linewidths=0 if mark.startswith("$") else 0.35, rasterized=len(rows) > 1000,
                )  # fmt: skip
                found.append(Dots(artist, of_class))
        return found

    def rings(self, ax: Axes, xy: Array, rows: NDArray[np.intp]) -> None:
        """Around rows of which another class is likelier than theirs."""
        wrong = rows[self.wrong[rows]]
        ax.scatter(
            *xy[wrong].T, s=64, facecolors="none", edgecolors=INK, linewidths=1.1 if len(wrong) < 20 else 0.6, zorder=4
        )

    def key(self, letters: int, most: int = 99) -> Key:
        """The classes, as many to a line as fit; those that do not fit are counted."""
        ring = Line2D([], [], marker="o", ls="", mfc="none", mec=INK, ms=8, label="wrong answer")
        last = [ring] if self.wrong.any() else []
        if self._written:
            first = [self._handle(0)]
            first[0].set_label("a class, as it is written")
        else:
            first = [self._handle(k) for k in range(min(len(self.names), MOST_LOOKS))]
        columns = max(1, letters // (max(len(str(h.get_label())) for h in [*first, *last]) + ENTRY))
        fitting = min(len(first), columns * most - len(last))
        rest = 0 if self._written else len(self.names) - fitting
        if rest:
            fitting -= fitting + len(last) == columns * most
            rest = len(self.names) - fitting
            other = Line2D([], [], color=OTHERS, marker="o", ls="", ms=4, mec="none", label=f"{rest} others")
            last = [other, *last]
        handles = [*first[:fitting], *last]
        columns = min(columns, len(handles))
        return Key(-(-len(handles) // columns), partial(_key, handles, columns))

    def _handle(self, k: int) -> Line2D:
        color, mark = self._look(k)
        return Line2D([], [], color=color, marker=mark, ls="", ms=6, mec="none", label=short(self.names[k], LONGEST))

    def landscape(self, ax: Axes, x: Array, y: Array, answers: Array, faint: bool = False) -> None:
        """The color of the likeliest class, the paler the less it is sure, and lines where it changes."""
        k = answers.shape[-1]
        colors = np.array([to_rgb(self._look(j)[0]) for j in range(k)])
        sure = (answers.max(-1, keepdims=True) - 1 / k) / (1 - 1 / k)
        strength = (0.25 if faint else 0.5) * np.clip(sure, 0, 1)
        shown = 1 - strength * (1 - colors[answers.argmax(-1)])
        ax.imshow(shown, origin="lower", extent=rectangle(x, y), interpolation="bilinear", aspect="auto", zorder=0)
        for j in np.unique(answers.argmax(-1)):
            lead = answers[..., j] - np.delete(answers, j, -1).max(-1)
            if lead.min() < 0 < lead.max():
                ax.contour(x, y, lead, levels=[0], colors=INK, linewidths=0.9, zorder=2)

    def read_line(self, ax: Axes, x: Array, answers: Array) -> None:
        """Bands in the colors of the classes."""
        self.landscape(ax, x, np.array(ax.get_ylim()), np.stack([answers, answers]), faint=True)

    def curve(self, ax: Axes, x: Array, answers: Array, at: Array, rows: NDArray[np.intp]) -> None:
        """The probability of every class, and the rows in bands below."""
        for k in range(min(answers.shape[1], MOST_LOOKS)):
            ax.plot(x, answers[:, k], color=self._look(k)[0], ls=DASHES[k % len(DASHES)], lw=1.8)
        band = 0.3 / len(self.names)
        xy = np.stack([at, -0.06 - band * (0.5 + self.heights)], 1)
        self.dots(ax, xy, rows)
        self.rings(ax, xy, rows)
        ax.axhline(0, color=FAINT, lw=0.8)
        ax.set(ylim=(-0.4, 1.04), yticks=[0, 0.5, 1])
        ax.set_ylabel("probability of a class")

    def errors(self, ax: Axes) -> None:
        """How far the probability of the right class is above all others."""
        margins, bins = self.margins, np.linspace(-1, 1, 41)
        sides = ((margins >= 0, "right", BLUE, ""), (margins < 0, "wrong", VERMILION, "////"))
        for chosen, name, color, hatch in sides:
            share = f"{int(chosen.sum()):,} {name}"
            ax.hist(margins[chosen], bins=bins.tolist(), color=color, hatch=hatch, edgecolor="white", label=share, lw=0)
        ax.axvline(0, color=INK, lw=1)
        ax.set_xlim(-1.02, 1.02)
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        dress(ax, "probability of its class − of the next", "rows")
        ax.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper left")
        if margins.min() > REPRODUCING:
            told = textwrap.fill(REPRODUCED, 20)
            ax.text(0.06, 0.78, told, transform=ax.transAxes, fontsize=SMALL, color=INK, va="top")
        caption(ax, "How sure it is")

    def judged(self, ax: Axes) -> None:
        """How often each class is taken for each."""
        k = len(self.names)
        counts = np.zeros((k, k), np.int64)
        np.add.at(counts, (self.truth, self.predicted), 1)
        confusion(ax, counts, self.names, self.which)

    def facts(self) -> list[Fact]:
        """The share that is right."""
        right = int((~self.wrong).sum())
        meaning = f"{right:,} of {len(self.truth):,} {self.which} are right"
        return [Fact("accuracy", right / len(self.truth), "", meaning)]

    def scores(self, found: dict[str, Any], rows: str) -> list[Fact]:
        """The same."""
        return [Fact(f"accuracy, {rows}", found["accuracy"], "", f"of {found['rows']:,} rows")]

    def groups(self) -> list[Group]:
        """One per class, where they can be listed; those that are answered wrong once more."""
        found = [
            Group(short(name, LONGEST), self._look(k)[0], np.flatnonzero(self.truth == k))
            for k, name in enumerate(self.names)
        ]
        if len(self.names) > MOST_GROUPS:
            found = [Group("rows", OTHERS, np.arange(len(self.truth)))]
        wrong = Group("wrong answers", VERMILION, np.flatnonzero(self.wrong), visible=False)
        return [group for group in (*found, wrong) if len(group.rows)]

    def quantities(self) -> dict[str, Array]:
        """Probabilities and margins."""
        own = self.answers[np.arange(len(self.truth)), self.truth]
        told = {"probability of its class": own, "margin": self.margins, "misclassified": self.wrong.astype(float)}
        return told if self.telling is None else {self.telling: self.truth.astype(float), **told}

    @property
    def signed(self) -> Sequence[str]:
        """Margins."""
        return ("margin",)

    @property
    def telling(self) -> str | None:
        """The colors of the classes; their numbers, if they are many."""
        return None if len(self.names) <= MOST_GROUPS else "number of the class"

    @property
    def _written(self) -> bool:
        """Whether names are short enough to stand for themselves."""
        return len(self.names) in GLYPHS and all(len(n) <= 2 and n.isalnum() and n.isascii() for n in self.names)

    def _look(self, k: int) -> tuple[str, str]:
        if k >= MOST_LOOKS:
            return OTHERS, "o"
        return shaded(
            PALETTE[k % len(PALETTE)], SHADES[k // len(PALETTE) % len(SHADES)]
        ), f"${self.names[k]}$" if self._written else MARKS[k % len(MARKS)]


def _key(handles: list[Line2D], columns: int, ax: Axes) -> None:
    ax.legend(
        handles=handles, fontsize=SMALL, loc="center left", ncols=columns, frameon=False, labelcolor=INK,
        borderaxespad=0, handletextpad=0.3, columnspacing=1.4, borderpad=0, handlelength=1.2,
    )  # fmt: skip
    ax.set_axis_off()


def shaded(color: str, part: float) -> str:
    """A color, mixed with a part of white, or of black if that is negative."""
    red, green, blue = ((1 - abs(part)) * c + max(part, 0.0) for c in to_rgb(color))
    return to_hex((red, green, blue))


def rectangle(x: Array, y: Array) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of cells with these centers."""
    a, b = (float(t[1] - t[0]) / 2 for t in (x, y))
    return float(x[0]) - a, float(x[-1]) + a, float(y[0]) - b, float(y[-1]) + b
