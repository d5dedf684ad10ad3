"""How the fit of a density went: likelihoods of the rows that were trained on and of others, and the energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from diffeo.viz.curves import running
from diffeo.viz.draw import legend
from diffeo.viz.style import BLUE, FAINT, GREEN, NORMAL, ORANGE, SMALL, dress

SETTLED = 0.9  # of the iterations that decide what is shown: the first few may be far off


def density_course(ax: Axes, records: Sequence[Any]) -> None:
    """Draw −mean log p against iterations, and the energy on an axis of its own.

    Args:
        ax: flat axes.
        records: one per outer iteration, two at least, with the attributes iteration, stage, data and energy; and
            validation, where there is a validation set.
    """
    x, _ = running(records)
    train, energy = (np.array([float(getattr(r, name)) for r in records]) for name in ("data", "energy"))
    held = np.array([np.nan if getattr(r, "validation", None) is None else float(r.validation) for r in records])
    held = np.where(np.isfinite(held), held, np.nan)
    terms = [("training", train, ORANGE, "-", 1.6)]
    if np.isfinite(held).any():
        terms.append(("validation", held, BLUE, "--", 2.0))
    for _, values, color, style, width in terms:
        ax.plot(x, values, color=color, ls=style, lw=width)
    shown = np.concatenate([values[np.isfinite(values)] for _, values, *_ in terms])
    low, high = shown.min(), np.quantile(shown, SETTLED + (1 - SETTLED) / 2)
    margin = 0.15 * (high - low) or 0.1
    ax.set_ylim(low - margin, high + 2 * margin)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(ax, "iteration", "−mean log p  (nats, standardized)")
    ax.grid(visible=True, which="major", color=FAINT, alpha=0.25)
    beside = ax.twinx()
    beside.plot(x, energy, color=GREEN, ls="-.", lw=1.4)
    beside.set_ylim(0, 1.1 * float(energy.max()) or 1.0)
    dress(beside, "", "")
    beside.set_ylabel("energy  (standardized units²)", fontsize=NORMAL, color=GREEN)
    beside.tick_params(labelsize=SMALL, labelcolor=GREEN)
    looks = [*terms, ("energy", energy, GREEN, "-.", 1.4)]
    legend(ax, [Line2D([], [], color=color, ls=style, lw=width, label=name) for name, _, color, style, width in looks])
