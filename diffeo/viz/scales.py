"""Panels with a logarithmic axis."""

from __future__ import annotations

from matplotlib.axes import Axes

from diffeo.viz.curves import PlainNumbers
from diffeo.viz.style import FAINT, INK, SMALL, dress


def logarithmic(ax: Axes, xlabel: str, ylabel: str) -> None:
    """Dress a panel whose vertical axis is logarithmic, with a legend of what has been drawn."""
    ax.set_yscale("log")
    for which in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        which(PlainNumbers(minor_thresholds=(1, 0.4)))
    dress(ax, xlabel, ylabel)
    ax.tick_params(which="both", labelsize=SMALL, labelcolor=INK)
    ax.grid(visible=True, which="major", color=FAINT, alpha=0.25)
    ax.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
