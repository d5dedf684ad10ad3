"""The picture of a certificate: what is proven of every layer, and what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from diffeo.viz.style import BLUE, FAINT, INK, LARGE, ORANGE, SMALL, VERMILION, caption, dress
from diffeo.viz.view import Array, array

FEW = 30  # layers that are told apart
BEYOND = 1e6  # no picture goes so far: bars without an end end here


def certificate(
    found: Any, *, title: str | None = None, figure: Figure | SubFigure | None = None
) -> Figure | SubFigure:
    """Draw the Lipschitz bound of every layer's residual, and between which factors it can change lengths.

    Args:
        found: as `diffeo.diagnostics.certificate` gives it; with points, what was measured there is drawn, too.
        title: written above.
        figure: to draw on, instead of a new one of 10 by 4.2 inches.
    """
    if figure is None:
        figure = Figure(figsize=(10.0, 4.2), facecolor="white", layout="constrained")
    if title:
        figure.suptitle(title, fontsize=LARGE + 2, color=INK, x=0.01, ha="left")
    residuals, stretches = figure.subplots(1, 2)
    at = np.arange(1, len(found.bounds) + 1)
    rates = np.nan_to_num([bound.residual for bound in found.bounds], nan=BEYOND, posinf=BEYOND)
    bars = residuals.bar(at, rates, color=[BLUE if one else VERMILION for one in found.layers_invertible], width=0.7)
    for bar, proven in zip(bars, found.layers_invertible, strict=True):
        bar.set(edgecolor="white", linewidth=0, hatch="" if proven else "//")
    residuals.axhline(1, color=INK, lw=1.2, ls="--")
    residuals.text(at[-1] + 0.5, 1, "below 1: invertible ", fontsize=SMALL, color=INK, va="bottom", ha="right")
    residuals.set_ylim(0, 1.1 * _largest(rates, 1.05))
    dress(residuals, "layer", "Lip(layer − id) ≤")
    caption(residuals, f"{sum(found.layers_invertible)} of {len(at)} layers certified")
    stretches_panel(stretches, found)
    for ax in (residuals, stretches):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlim(0.5, at[-1] + 0.5)
    return figure


def stretches_panel(ax: Axes, found: Any, where: str = "the points") -> None:
    """Draw between which factors every layer can change lengths, and does at points.

    Args:
        found: as `diffeo.diagnostics.certificate` gives it.
        where: what was measured at.
    """
    at = np.arange(1, len(found.bounds) + 1)
    low, high = (np.array([getattr(bound, name) for bound in found.bounds]) for name in ("smallest", "largest"))
    high = np.nan_to_num(high, nan=BEYOND, posinf=BEYOND)
    wide = 0.7 if len(at) <= FEW else 1.0
    ax.bar(at, high - low, bottom=low, width=wide, color=BLUE, alpha=0.25, label="proven", linewidth=0)
    if found.measured is not None:
        least, most = array(found.measured.smallest), array(found.measured.largest)
        ax.bar(
            at,
            most - least,
            bottom=least,
            width=0.25 if len(at) <= FEW else 1.0,
            color=ORANGE,
            label=f"measured at {where}",
            linewidth=0,
        )
    ax.axhline(1, color=FAINT, lw=1)
    seen = [] if found.measured is None else array(found.measured.largest)
    ax.set_ylim(0, 1.05 * _largest(np.r_[high, seen], 1.0))  # bars that are infinite leave the picture
    dress(ax, "layer", "|Φ(x) − Φ(y)| / |x − y|")
    ax.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    caption(ax, f"Lip(φ) ≤ {found.lipschitz:.3g}, Lip(φ⁻¹) ≤ {found.inverse_lipschitz:.3g}".replace("inf", "∞"))


def _largest(values: Array, least: float) -> float:
    """Of those that have an end, but not less than ``least``."""
    return max([least, *values[values < BEYOND]])
