"""What is drawn as lines: the course of a fit, the paths of points, and momenta as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from torch import Tensor

from diffeo.viz.draw import legend
from diffeo.viz.style import BLUE, FAINT, GREEN, INK, ORANGE, SMALL, VERMILION, axis_names, dress
from diffeo.viz.view import Array, frame, sample, visible


class PlainNumbers(LogFormatter):
    """0.3 instead of 3 × 10⁻¹, which takes the room of the axis's name."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The number at a tick; nothing at ticks that would crowd."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def history(ax: Axes, records: Sequence[Any]) -> None:
    """Draw the objective, the weighted energy and the data term against iterations, on a log scale if all are positive.

    Args:
        records: one per outer iteration, in order, with the attributes iteration (which may start again at each
            stage), stage, objective and data. Dotted lines separate the stages, whose data terms are measured by
            different losses. The weighted energy is drawn as objective - data; where nothing is paid for energy,
            the data term alone.
    """
    objective, data = (np.array([float(getattr(r, name)) for r in records]) for name in ("objective", "data"))
    x, starts = running(records)
    energy = objective - data
    terms = [("data term", data, ORANGE, "-", 2.2)]
    if (energy > 1e-9 * np.abs(objective)).any() or not len(records):
        terms = [("objective", objective, BLUE, "-", 2.2), ("data term", data, ORANGE, "--", 1.5)]
        terms += [("weighted energy", energy, GREEN, "-.", 1.5)]
    # a likelihood may be of any sign; a distance is not below 0, but for rounding and what LNCC allows itself
    logarithmic = bool((objective > 0).any() or (data > 0).any()) and not (data < -0.05 * np.abs(data).max()).any()
    for begin, end in zip(starts, [*starts, len(records)][1:], strict=True):
        for _, values, color, style, width in terms:
            shown = (np.where(values > 0, values, np.nan) if logarithmic else values)[begin:end]
            ax.plot(x[begin:end], shown, color=color, ls=style, lw=width, marker="." if end - begin < 3 else "")
    for stage, start in enumerate(starts[1:], start=2):
        border = (x[start - 1] + x[start]) / 2
        ax.axvline(border, color=FAINT, lw=1, ls=":")
        ax.text(
            border, 0.99, f" stage {stage}", transform=ax.get_xaxis_transform(), va="top", fontsize=SMALL, color=INK
        )
    if logarithmic:
        ax.set_yscale("log")
        ax.margins(y=0.12)  # the names of the stages are above the curves
        for which in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            which(PlainNumbers(minor_thresholds=(2, 0.4)))
        ax.tick_params(which="both", labelsize=SMALL, labelcolor=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(ax, "outer iteration", "value")
    ax.grid(visible=True, which="major", color=FAINT, alpha=0.25)
    handles = [Line2D([], [], color=color, ls=style, lw=width, label=name) for name, _, color, style, width in terms]
    legend(ax, handles)


def running(records: Sequence[Any]) -> tuple[Array, list[int]]:
    """A count of iterations that goes on across stages, and the rows at which stages start."""
    starts = [k for k, r in enumerate(records) if k == 0 or r.stage != records[k - 1].stage]
    count = np.array([float(r.iteration) for r in records])
    for k in starts[1:]:
        if count[k] <= count[k - 1]:
            count[k:] += count[k - 1] + 1 - count[k]
    return count, starts


def trajectories(ax: Axes, path: Sequence[Tensor], *, color: Any = None) -> None:
    """Draw the way of each point, from a hollow dot to a full one.

    Args:
        path: as ``phi.path(x)`` gives it: one tensor (n, d) per time; at most 6,000 points are drawn.
        color: one for all, or an array with one number or color per point.
    """
    if len(path) < 2:
        raise ValueError(f"trajectories expects at least two times, as phi.path(x) gives them, and got {len(path)}.")
    rows = sample(len(path[0]))
    width = 3 if isinstance(ax, Axes3D) else 2
    x = np.stack([visible(step, width)[rows] for step in path], 1)
    shade = BLUE if color is None else color
    chosen = np.asarray(shade)[rows] if not isinstance(shade, str) and len(shade) == len(path[0]) else shade
    if isinstance(ax, Axes3D):
        ax.add_collection3d(Line3DCollection(x, colors=FAINT, linewidths=0.8))
        frame(ax, x.reshape(-1, 3))
    else:
        ax.add_collection(LineCollection(list(x), colors=FAINT, linewidths=0.8))
        dress(ax, *axis_names(path[0].shape[1], range(2)))
        ax.set_aspect("equal", adjustable="datalim")
    ax.scatter(*x[:, 0].T, s=12, facecolors="none", edgecolors=INK, linewidths=0.6)
    ax.scatter(*x[:, -1].T, s=14, c=chosen if not isinstance(chosen, str) else [chosen], linewidths=0)


def momenta(ax: Axes, controls: Tensor, momenta: Tensor) -> None:
    """Draw momenta as arrows at their controls, the longest as long as a tenth of the extent; a note says its size.

    Args:
        controls: shape (m, d), in length units.
        momenta: shape (m, d), dual to the controls.
    """
    if controls.shape != momenta.shape:
        raise ValueError(
            f"momenta expects one momentum per control: shapes {tuple(controls.shape)} and {tuple(momenta.shape)}."
        )
    rows = sample(len(controls), 2000)
    width = 3 if isinstance(ax, Axes3D) else 2
    c, p = visible(controls, width)[rows], visible(momenta, width)[rows]
    longest = float(np.linalg.norm(p, axis=1).max())
    arrows = p * (0.1 * float(np.ptp(c, axis=0).max() or 1.0) / (longest or 1.0))
    if isinstance(ax, Axes3D):
        ax.quiver(*c.T, *arrows.T, color=VERMILION, linewidths=0.8)
        frame(ax, np.concatenate([c, c + arrows]))
    else:
        ax.quiver(*c.T, *arrows.T, color=VERMILION, angles="xy", scale_units="xy", scale=1, width=0.004)
        ax.scatter(*c.T, s=4, color=INK, linewidths=0)
        ax.update_datalim(c + arrows)
        dress(ax, *axis_names(controls.shape[1], range(2)))
        ax.set_aspect("equal", adjustable="datalim")
        ax.autoscale_view()
    Axes.text(ax, 0.02, 0.02, f"longest momentum {longest:.3g}", transform=ax.transAxes, fontsize=SMALL, color=INK)
