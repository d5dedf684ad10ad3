"""The picture of a map beside the geodesic that joins its end points."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from diffeo.viz.draw import legend
from diffeo.viz.style import BLUE, GREEN, INK, LARGE, ORANGE, SMALL, VERMILION, axis_names, caption, dress
from diffeo.viz.view import array, sample

WAYS = (
    ("path", "the map", BLUE, "-", 1.8),
    ("geodesic_path", "geodesic", ORANGE, "--", 1.4),
    ("reshot_path", "shot again", GREEN, ":", 1.4),
)


def geodesicity(
    found: Any, *, title: str | None = None, figure: Figure | SubFigure | None = None
) -> Figure | SubFigure:
    """Draw the ways of points, along the map, the geodesic and the shot; speeds; and what each costs.

    Args:
        found: as `diffeo.diagnostics.geodesicity` gives it; in more than two dimensions the first two are shown, in one
            dimension the position over time.
        title: written above.
        figure: to draw on, instead of a new one of 14 by 4.4 inches.
    """
    if figure is None:
        figure = Figure(figsize=(14.0, 4.4), facecolor="white", layout="constrained")
    if title:
        figure.suptitle(title, fontsize=LARGE + 2, color=INK, x=0.01, ha="left")
    ways, speeds, energies = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _ways(ways, found)
    _speeds(speeds, found)
    _energies(energies, found)
    return figure


def _ways(ax: Axes, found: Any) -> None:
    rows, d = sample(len(found.path[0]), 60), found.path[0].shape[1]
    for name, _, color, dash, width in WAYS:
        path = np.stack([array(x)[rows] for x in getattr(found, name)], 1)
        if d == 1:
            time = np.broadcast_to(np.linspace(0, 1, path.shape[1])[:, None], path.shape)
            path = np.concatenate([time, path], 2)
        ax.add_collection(LineCollection(list(path[..., :2]), colors=color, linestyles=dash, linewidths=width))
        if name == "path":
            ax.scatter(*path[:, 0, :2].T, s=12, facecolors="none", edgecolors=INK, linewidths=0.6, zorder=3)
            ax.scatter(*path[:, -1, :2].T, s=12, color=INK, linewidths=0, zorder=3)
    ax.autoscale_view()
    dress(ax, *(("time", axis_names(1, [0])[0]) if d == 1 else axis_names(d, range(2))))
    if d > 1:
        ax.set_aspect("equal", adjustable="datalim")
    legend(ax, [Line2D([], [], color=color, ls=dash, lw=width, label=label) for _, label, color, dash, width in WAYS])
    caption(ax, "Ways")


def _speeds(ax: Axes, found: Any) -> None:
    speeds = array(found.speeds)
    ax.stairs(speeds, np.linspace(0, 1, len(speeds) + 1), baseline=None, color=BLUE, lw=2.2, label="the map")
    ax.axhline(found.length, color=INK, lw=1, ls=":", label="its mean")
    ax.axhline(np.sqrt(2 * max(found.geodesic_energy, 0)), color=ORANGE, lw=1.6, ls="--", label="geodesic")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.25 * max(ax.get_ylim()[1], speeds.max()))
    dress(ax, "time", "‖v‖")
    ax.legend(fontsize=SMALL, frameon=False, labelcolor=INK, ncols=3, loc="upper left")
    caption(ax, "Speed")


def _energies(ax: Axes, found: Any) -> None:
    bars = (
        ("energy of the map", found.energy, BLUE),
        ("½ length²", 0.5 * found.length**2, BLUE),
        ("same trajectories, at least", found.trajectory_energy, VERMILION),
        ("geodesic between the ends", found.geodesic_energy, ORANGE),
    )
    for row, (label, value, color) in enumerate(bars):
        ax.barh(row, value, color=color, height=0.55, alpha=0.85)
        ax.text(0, row - 0.33, f"{label}: {value:.4g}", fontsize=SMALL, color=INK, va="bottom")
    ax.set_ylim(len(bars) - 0.1, -0.7)
    ax.set_yticks([])
    dress(ax, "energy", "")
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    remark = f"shot again, it ends {100 * found.reshooting:.3g} % away"
    ax.text(0.99, 0.02, remark, fontsize=SMALL, color=INK, ha="right", va="bottom", transform=ax.transAxes)
    caption(ax, f"Energy: {100 * found.gap:.3g} % above a geodesic's")
