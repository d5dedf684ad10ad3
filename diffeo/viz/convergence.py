"""The picture of a training that converges: how fast, and how fast it had to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from diffeo.viz.scales import logarithmic
from diffeo.viz.style import BLUE, GREEN, INK, LARGE, ORANGE, PURPLE, VERMILION, caption
from diffeo.viz.view import array

DASHES = ("--", "-.", ":")


def convergence(
    measurements: Sequence[Any],
    predicted: Mapping[str, Sequence[float]] | None = None,
    *,
    title: str | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw the loss against iterations with what constants promised, the constants, and what layers contribute.

    Args:
        measurements: as `ConvergenceRecorder` takes them: with iteration, gap, constant, posterior, prior and layers.
        predicted: upper bounds of the gap at each measurement, by name, as ``predicted_decay`` gives them.
        title: written above.
        figure: to draw on, instead of a new one of 14 by 4.4 inches.

    Returns: the figure; the panel of the layers is left away where nothing is known of them.
    """
    if len(measurements) < 2:
        raise ValueError(f"a course takes at least two measurements, and got {len(measurements)}.")
    layers = measurements[-1].layers
    if figure is None:
        figure = Figure(figsize=(9.6 if layers is None else 14.0, 4.4), facecolor="white", layout="constrained")
    if title:
        figure.suptitle(title, fontsize=LARGE + 2, color=INK, x=0.01, ha="left")
    axes = figure.subplots(1, 2 if layers is None else 3)
    _course(axes[0], measurements, predicted or {})
    _constants(axes[1], measurements)
    if layers is not None:
        _layers(axes[2], layers)
    return figure


def _numbers(measurements: Sequence[Any], name: str) -> Any:
    """Positive ones; the others cannot be shown on a log scale."""
    values = np.array([float(getattr(one, name)) for one in measurements])
    return np.where(values > 0, values, np.nan)


def _course(ax: Axes, measurements: Sequence[Any], predicted: Mapping[str, Sequence[float]]) -> None:
    at, gap = _numbers(measurements, "iteration"), _numbers(measurements, "gap")
    at = np.nan_to_num(at)
    ax.plot(at, gap, color=BLUE, lw=2.6, label="measured")
    for (name, values), color, dash in zip(predicted.items(), (ORANGE, GREEN, VERMILION), DASHES, strict=False):
        ax.plot(at, np.array(values), color=color, lw=1.6, ls=dash, label=f"no slower: {name}")
    logarithmic(ax, "iteration", "J − J*")
    low = np.nanmin(gap)
    ax.set_ylim(bottom=low / 3)
    caption(ax, "Loss")


def _constants(ax: Axes, measurements: Sequence[Any]) -> None:
    at = np.array([float(one.iteration) for one in measurements])
    for name, label, color, dash in (
        ("constant", "measured", BLUE, "-"),
        ("posterior", "certified a posteriori", ORANGE, "--"),
        ("prior", "certified a priori", GREEN, "-."),
    ):
        values = _numbers(measurements, name)
        if np.isfinite(values).any():
            ax.plot(at, values, color=color, ls=dash, lw=2.2 if dash == "-" else 1.6, label=label)
    logarithmic(ax, "iteration", "constant m")
    lowest = np.nanmin([*_numbers(measurements, "constant"), *_numbers(measurements, "posterior")])
    ax.set_ylim(bottom=max(ax.get_ylim()[0], lowest / 20))  # what is proven before training may fall to 0
    caption(ax, "Polyak–Łojasiewicz constant")


def _layers(ax: Axes, layers: Any) -> None:
    names = (
        ("grams", r"$\lambda_{\min}$ of the Gram matrix", BLUE, "o"),
        ("jacobians", "least stretch by what follows", ORANGE, "s"),
        ("norms", "‖v‖", GREEN, "^"),
        ("gradients", "‖gradient‖", PURPLE, "v"),
    )
    for name, label, color, mark in names:
        values = array(getattr(layers, name)).astype(float)
        shown = np.where(values > 0, values, np.nan)
        if np.isfinite(shown).any():
            ax.plot(np.arange(1, len(values) + 1), shown, color=color, marker=mark, ms=4, lw=1.2, label=label)
    logarithmic(ax, "layer", "after the last iteration")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    caption(ax, "Layers")
