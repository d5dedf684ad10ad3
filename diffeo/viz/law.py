"""A law by itself, without rows: its density, or draws of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from diffeo.laws import ConditionalLaw, Law
from diffeo.viz.density import density
from diffeo.viz.marginals import marginals
from diffeo.viz.style import caption

DRAWS, SEED = 4000, 0
EDGE, MARGIN = 0.002, 0.1  # of draws that may be outside at each side, and the margin around the others
SIDE = 3.6
"""Inches: a map."""


def law(
    shown: Law,
    lo: Tensor | None = None,
    hi: Tensor | None = None,
    *,
    exact: Law | Callable[[Tensor], Tensor] | None = None,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw a law: a curve in one dimension, a map with level lines in two, pairs of the first four columns of draws.

    Args:
        shown: any law that points can be drawn from.
        lo, hi: corners of what is shown, shape (d,), d being 1 or 2, in the dtype and on the device of the law; by
            default where most of 4,000 draws are.
        exact: the true law, or its log p: a dashed curve, or a map to the left, with the same colors and levels.
        names: of the columns, with their units.
        title: above the panel; "Fitted" where there is an exact one, if left out.

    Returns: a figure, not registered with pyplot; ``figure.savefig("law.pdf")``.
    Raises: ValueError for a `ConditionalLaw`, which has a density only given a context, for corners that are none, and
        for more than two dimensions with corners or an exact law.
    """
    if isinstance(shown, ConditionalLaw):
        raise ValueError(
            f"law expects a law with a density of its own, and got a {type(shown).__name__}, whose density depends on "
            "a context: draw p(x|c) for one c with plot.density, as a function of x."
        )
    if shown.dim > 2 and (exact is not None or lo is not None or hi is not None):
        raise ValueError(
            f"law draws corners and an exact law in one or two dimensions, and got a law in {shown.dim}: leave them "
            "out, for pairs of columns."
        )
    with torch.no_grad():
        drawn = shown.sample(DRAWS, torch.Generator().manual_seed(SEED))
    if shown.dim > 2:
        figure = Figure(figsize=(7.4, 7.0), facecolor="white")
        marginals(figure, None, drawn, names=names, box=(0.11, 0.09, 0.98, 0.97))
        return figure
    ends = torch.quantile(drawn.double(), torch.tensor([EDGE, 1 - EDGE]).to(drawn.device).double(), dim=0).to(drawn)
    margin = MARGIN * (ends[1] - ends[0])
    lo, hi = ends[0] - margin if lo is None else lo, ends[1] + margin if hi is None else hi
    if shown.dim == 2:
        return _maps({"Exact": exact, title or "Fitted": shown} if exact is not None else {title: shown}, lo, hi, names)
    figure = Figure(figsize=(6.4, 3.4), facecolor="white")
    ax = figure.add_axes((0.12, 0.16, 0.85, 0.73))
    density(ax, shown, lo, hi, exact=exact, names=names)
    caption(ax, title)
    return figure


def _maps(maps: Mapping[str, Law | Callable[[Tensor], Tensor]], lo: Tensor, hi: Tensor, names: Sequence[str]) -> Figure:
    """Densities of the plane beside each other, by their captions, in the same colors and levels."""
    width, height = 0.75 + len(maps) * (SIDE + 0.7) + 0.25, SIDE + 1.0
    figure = Figure(figsize=(width, height), facecolor="white")
    limit = None
    for k, (name, each) in enumerate(maps.items()):
        place = (0.75 + k * (SIDE + 0.7)) / width, 0.55 / height, SIDE / width, SIDE / height
        ax = figure.add_axes(place)
        limit = density(ax, each, lo, hi, names=names, limit=limit, bar=k == len(maps) - 1)
        caption(ax, name)
    return figure
