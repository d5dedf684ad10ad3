"""The picture of a certificate: what is proven of every layer, and what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from diffeo.viz.style import BLUE, FAINT, INK, LARGE, ORANGE, SMALL, VERMILION, caption, dress
from diffeo.viz.view import array


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
    rates = np.array([bound.residual for bound in found.bounds])
    residuals.bar(at, rates, color=[BLUE if one else VERMILION for one in found.layers_invertible], width=0.7)
    residuals.axhline(1, color=INK, lw=1.2, ls="--")
    residuals.text(at[-1] + 0.5, 1, "below 1: invertible ", fontsize=SMALL, color=INK, va="bottom", ha="right")
    residuals.set_ylim(0, max(1.15, 1.1 * float(rates.max())))
    dress(residuals, "layer", "Lip(layer − id) ≤")
    caption(residuals, f"{sum(found.layers_invertible)} of {len(at)} layers certified")
    low, high = (np.array([getattr(bound, name) for bound in found.bounds]) for name in ("smallest", "largest"))
    high = np.minimum(high, 1e6)
    stretches.bar(at, high - low, bottom=low, width=0.7, color=BLUE, alpha=0.25, label="proven, everywhere")
    if found.measured is not None:
        least, most = array(found.measured.smallest), array(found.measured.largest)
        stretches.vlines(at, least, most, color=ORANGE, lw=3, label="measured, at the points")
    stretches.axhline(1, color=FAINT, lw=1)
    stretches.set_ylim(bottom=0)
    dress(stretches, "layer", "|Φ(x) − Φ(y)| / |x − y|")
    stretches.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    caption(stretches, f"Lip(φ) ≤ {found.lipschitz:.3g}, Lip(φ⁻¹) ≤ {found.inverse_lipschitz:.3g}")
    for ax in (residuals, stretches):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlim(0.5, at[-1] + 0.5)
    return figure
