"""Filmstrips: the way of a shape as a row of panels, for paper."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from diffeo.core import Diffeo
from diffeo.shapes import PointShape
from diffeo.viz.quantities import Quantity
from diffeo.viz.stages.choice import stage
from diffeo.viz.style import SMALL, caption

PLACES = {"left": 0.045, "right": 0.925, "bottom": 0.13, "top": 0.84, "wspace": 0.06}
"""Of the panels, in parts of the figure."""
STRENGTH = 0.6
"""Lines and points of small panels, relative to those of a film."""


def filmstrip(
    figure: Figure | SubFigure,
    shape: PointShape,
    phi: Diffeo,
    moments: int = 5,
    target: PointShape | None = None,
    *,
    quantity: Quantity | None = None,
) -> list[Axes]:
    """Draw a shape at moments on its way along a map, side by side, true to scale and all in one scale.

    Moments are evenly spread over the length of the way, and each panel says which part of it is done.

    Args:
        figure: gets one axes per moment; 14 by 3.4 inches suit five.
        shape: points, a curve or a mesh; of more than three coordinates the first three are shown.
        phi: the map, in the dtype and on the device of the shape.
        moments: at least 2.
        target: where the shape goes, of the same dimension, drawn as a ghost.
        quantity: what the shape is colored by; see `stage`.

    Returns: the axes.
    Raises: ValueError for fewer moments.
    """
    shown = stage(shape, target, phi, moments, quantity)
    shown.strength = STRENGTH
    panels = figure.subplots(1, moments, squeeze=False, subplot_kw={"projection": shown.projection}, gridspec_kw=PLACES)
    axes: list[Axes] = list(panels[0])
    for k, ax in enumerate(axes):
        shown.prepare(ax, named=k == 0)
        shown.show(ax, k)
        caption(ax, f"{shown.way.times[k]:.2g}" if k else "0   (part of the way)")
    shown.bar(axes[-1])
    figure.legend(
        handles=shown.handles(), fontsize=SMALL, loc="upper right", bbox_to_anchor=(PLACES["right"], 1.0),
        ncols=3, frameon=False,
    )  # fmt: skip
    return axes
