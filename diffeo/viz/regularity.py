"""The picture of how regular maps are: in depth, in space, in what they do to lengths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, NullLocator

from diffeo.viz.scales import logarithmic
from diffeo.viz.style import FAINT, INK, LARGE, PALETTE, SMALL, caption, dress
from diffeo.viz.view import array


def regularity(
    found: Sequence[Any],
    names: Sequence[str] | None = None,
    *,
    title: str | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw differences of neighboring layers, spectra of velocities, singular values of Jacobians.

    Args:
        found: one or more, as `diffeo.diagnostics.regularity` gives them; of several depths, the largest difference of
            each is drawn against depth, with lines of slope −1 and 0, else all differences against time.
        names: of each; its depth if left out.
        title: written above.
        figure: to draw on, instead of a new one of 14 by 4.4 inches.
    """
    if not found:
        raise ValueError("regularity draws at least one map, and got none.")
    if figure is None:
        figure = Figure(figsize=(14.0, 4.4), facecolor="white", layout="constrained")
    if title:
        figure.suptitle(title, fontsize=LARGE + 2, color=INK, x=0.01, ha="left")
    depth, space, lengths = figure.subplots(1, 3)
    labels = list(names) if names is not None else [f"{one.depth} layers" for one in found]
    pairs = list(zip(found, labels, cycle(PALETTE)))
    _depths(depth, found) if len({one.depth for one in found}) > 1 else _jumps(depth, pairs)
    _spectra(space, pairs)
    _stretches(lengths, pairs)
    return figure


def _depths(ax: Axes, found: Sequence[Any]) -> None:
    order = sorted(found, key=lambda one: one.depth)
    at, jump = (np.array([getattr(one, name) for one in order], float) for name in ("depth", "largest_jump"))
    ax.plot(at, jump, "o-", color=PALETTE[0], lw=2.2, label="largest difference")
    ax.plot(at, jump[0] * at[0] / at, ":", color=INK, lw=1.2, label="slope −1: a differential equation")
    ax.plot(at, np.full_like(at, jump[0]), "--", color=FAINT, lw=1.2, label="slope 0: independent layers")
    ax.set_xscale("log")
    ax.set_xticks(at, [f"{depth:g}" for depth in at])
    ax.xaxis.set_minor_locator(NullLocator())
    logarithmic(ax, "layers", "‖difference of neighboring layers‖")
    caption(ax, "In depth")


def _jumps(ax: Axes, pairs: list[tuple[Any, str, str]]) -> None:
    for one, label, color in pairs:
        jumps = array(one.jumps)
        ax.plot((np.arange(len(jumps)) + 1) / one.depth, jumps, ".-", color=color, lw=1.6, label=label)
    ax.set_ylim(bottom=0)
    dress(ax, "time", "‖difference of neighboring layers‖")
    ax.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    caption(ax, "In depth")


def _spectra(ax: Axes, pairs: list[tuple[Any, str, str]]) -> None:
    top = 0.0
    for one, label, color in pairs:
        power = array(one.power).mean(0)
        ax.plot(array(one.frequencies), np.where(power > 0, power, np.nan), color=color, lw=1.8, label=label)
        top = max(top, float(power.max()))
    logarithmic(ax, "frequency  (radians per length unit)", "power")
    ax.set_ylim(1e-12 * top, 3 * top)
    caption(ax, "In space")


def _stretches(ax: Axes, pairs: list[tuple[Any, str, str]]) -> None:
    for one, label, color in pairs:
        values = np.sort(array(one.singular_values), 0)
        part = np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
        for k in range(values.shape[1]):
            ax.plot(
                part,
                values[:, k],
                color=color,
                lw=1.8,
                marker="." if len(values) < 3 else "",
                label=label if not k else "",
            )
    ax.axhline(1, color=INK, lw=1, ls=":")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    logarithmic(ax, "part of the points below", "singular values of Dφ")
    caption(ax, "Lengths")
