"""What each layer of a trained network does: what it costs, and between which factors it changes lengths."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diffeo.viz.style import BLUE, caption, dress
from diffeo.viz.view import Array

MOST_BARS = 30


def shares(parts: Array) -> Array:
    """Each layer's part of an energy, in percent, shape (L,); zero where there is none."""
    return 100 * parts / (parts.sum() or 1.0)


def energies(ax: Axes, parts: Array) -> None:
    """Draw each layer's part of the energy ½∫‖v_t‖²_V dt, in percent.

    Args:
        parts: ½‖v_k‖²/L, shape (L,).
    """
    at, heights = np.arange(1, len(parts) + 1), shares(parts)
    if len(parts) > MOST_BARS:
        ax.fill_between(at, heights, step="mid", color=BLUE, lw=0)
    else:
        ax.bar(at, heights, color=BLUE, width=0.7)
    ax.set_ylim(0, 1.08 * float(heights.max()) or 1.0)
    whole_numbers(ax, len(parts))
    dress(ax, "layer", "part of ½∫‖v‖² dt  [%]")
    caption(ax, "Energy")


def whole_numbers(ax: Axes, layers: int) -> None:
    """An axis of layers, from 1 to L."""
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlim(0.4, layers + 0.6)
