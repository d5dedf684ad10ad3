"""The picture of a fitted density, on one page: what it looks like, how it was fitted, and what is known of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from diffeo.flows.frames import opening
from diffeo.laws import Law, Transported, Wrapped
from diffeo.viz.deform import grid
from diffeo.viz.density import aspect, carried_plane, density, dots, labels, log_density, span
from diffeo.viz.density_course import density_course
from diffeo.viz.density_way import said
from diffeo.viz.density_words import facts
from diffeo.viz.draw import legend
from diffeo.viz.marginals import MOST, marginals
from diffeo.viz.style import BLUE, INK, LARGE, NORMAL, ORANGE, SMALL, VERMILION, caption, dress

WIDTH, HEIGHT = 14.0, 8.4
"""Inches: the figure."""
LEFT, RIGHT, SIDE, BOTTOM = 0.7, 13.7, 2.95, 0.6
LINE = 0.2  # between lines of text
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
MARGIN = 0.06  # around the data, relative to their extent


def density_overview(
    law: Law,
    data: Tensor,
    drawn: Tensor,
    report: Any,
    records: Sequence[Any] = (),
    *,
    names: Sequence[str] = (),
    title: str | None = None,
    exact: Callable[[Tensor], Tensor] | None = None,
    context: Tensor | None = None,
) -> Figure:
    """Draw a fitted density: in one or two dimensions the density itself and the grid its flow carries, else pairs.

    One column given another one is drawn as a map, in which each vertical line is a density.

    Args:
        law: a `Transported` law, also a `Wrapped` one.
        data: rows, shape (n, d), in the dtype and on the device of the law.
        drawn: rows drawn from the law, shape (m, d).
        report: as `diffeo.diagnostics.density_report` gives it.
        records: one per iteration of the fit, as ``density_course`` takes them; with none that panel is left away.
        names: of the columns, with their units.
        title: written above.
        exact: log p of the true law, where it is known.
        context: of the rows, and of those that were drawn, as the law knows it, shape (n, k), where there is one.

    Returns: a figure of 14 by 8.4 inches, not registered with pyplot; ``figure.savefig("report.png", dpi=120)``.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    n, d = data.shape
    head = f"{n:,} rows, {d} column{'s' if d > 1 else ''}" + (f", {MOST} of them shown" if d > MOST else "")
    figure.text(LEFT / WIDTH, 1 - 0.42 / HEIGHT, title or "Density", fontsize=LARGE + 3, color=INK)
    figure.text(RIGHT / WIDTH, 1 - 0.42 / HEIGHT, head, fontsize=NORMAL, color=INK, ha="right")
    if d <= 2 and not report.given:
        (_line if d == 1 else _plane)(figure, law, data, drawn, names, exact)
        _course(figure, law, records, LEFT + 0.1, BOTTOM, 5.0, 2.75)
        _table(figure, report, 7.0, 3.9)
    elif context is not None and d == 1 and context.shape[1] == 1:
        axes = [_axes(figure, left, 4.45, 4.9, SIDE) for left in (LEFT + 0.1, LEFT + 7.6)]
        _given(axes, law, data, drawn, context, names)
        _course(figure, law, records, LEFT + 0.1, BOTTOM, 5.0, 2.75)
        _table(figure, report, 7.0, 3.9)
    else:
        marginals(figure, data, drawn, names=names, box=(0.75 / WIDTH, BOTTOM / HEIGHT, 7.3 / WIDTH, 7.65 / HEIGHT))
        _course(figure, law, records, 8.35, 5.05, 4.7, 2.45)
        _table(figure, report, 7.75, 4.3)
    return figure


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches."""
    return figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def _course(
    figure: Figure, law: Law, records: Sequence[Any], left: float, bottom: float, width: float, height: float
) -> None:
    """The fit; or, where nothing was trained, that."""
    if len(records) > 1:
        ax = _axes(figure, left, bottom, width, height)
        caption(ax, "Fit")
        density_course(ax, records)
    elif len(records):
        figure.text(left / WIDTH, (bottom + height + 0.1) / HEIGHT, "Fit", fontsize=LARGE, color=INK)
        text = f"Nothing was trained: φ only changes units,\nand {said(flow_of(law).base)} is the density."
        figure.text(
            left / WIDTH, (bottom + height - 0.1) / HEIGHT, text, fontsize=NORMAL, color=INK, linespacing=1.5, va="top"
        )


def _plane(
    figure: Figure,
    law: Law,
    data: Tensor,
    drawn: Tensor,
    names: Sequence[str],
    exact: Callable[[Tensor], Tensor] | None,
) -> None:
    """The density, rows beside draws, the grid; the exact density first, where it is known."""
    lo, hi = corners(law, data)
    places = [LEFT, LEFT + 3.75, LEFT + 6.95, LEFT + 10.25] if exact else [LEFT + 0.3, LEFT + 4.9, LEFT + 9.3]
    side = 2.6 if exact else SIDE
    axes = [_axes(figure, left, 4.45 if exact else 4.4, side, side) for left in places]
    limit = None
    if exact:
        limit = density(axes[0], exact, lo, hi, names=names)
        caption(axes.pop(0), "Exact density")
    fitted, rows, grid_panel = axes
    density(fitted, law, lo, hi, names=names, limit=limit, bar=not exact)
    caption(fitted, "Fitted density" + (", same colors" if exact else ""))
    _rows(rows, data, drawn, lo, hi, names)
    shown = law.wrap(data) if isinstance(law, Wrapped) else data
    carried_plane(grid_panel, flow_of(law).phi, shown, base=flow_of(law).base)
    caption(grid_panel, "Carried by the flow, over the base")


def _given(axes: Sequence[Axes], law: Law, data: Tensor, drawn: Tensor, context: Tensor, names: Sequence[str]) -> None:
    """The density of a column, given the context from left to right; rows beside draws."""
    lo, hi = (corner.flip(0) for corner in corners(law, torch.cat([data, context], 1)))
    density(axes[0], lambda part: log_density(law, part.flip(1)), lo, hi, unit="unit")
    caption(axes[0], "Density, given the context")
    _rows(axes[1], torch.cat([context, data], 1), torch.cat([context, drawn], 1), lo, hi, ())
    for ax in axes:
        ax.set_aspect("auto")
        dress(ax, "context  (standardized)", labels(names, 1)[0] if names else "x")


def _rows(ax: Axes, data: Tensor, drawn: Tensor, lo: Tensor, hi: Tensor, names: Sequence[str]) -> None:
    """Rows beside draws; what is drawn beyond the corners is not shown."""
    dots(ax, data, ORANGE)
    dots(ax, drawn, BLUE)
    ax.set(xlim=(float(lo[0]), float(hi[0])), ylim=(float(lo[1]), float(hi[1])), aspect=aspect(lo, hi))
    dress(ax, *labels(names, 2))
    caption(ax, "Rows")
    _key(ax)
    if beyond := int(((data < lo) | (data > hi)).any(1).sum()):
        text = f"{beyond:,} row{'s' if beyond > 1 else ''} of data beyond"
        ax.text(0.98, 0.02, text, transform=ax.transAxes, ha="right", fontsize=SMALL, color=INK, bbox=BEHIND)


def density_figure(
    law: Law, data: Tensor, drawn: Tensor, names: Sequence[str] = (), context: Tensor | None = None
) -> Figure:
    """Draw the density of one column or of two, in the units of the table, with rows and draws.

    Args:
        law, data, drawn, names, context: as for ``density_overview``.

    Returns: a figure of 10 by 4.4 inches, or 8 by 3.6, not registered with pyplot.
    """
    if data.shape[1] == 1 and context is None:
        figure = Figure(figsize=(8.0, 3.6), facecolor="white")
        ax = figure.add_axes((0.09, 0.15, 0.88, 0.74))
        density(ax, law, *corners(law, data), data=data, names=names)
        return figure
    figure = Figure(figsize=(10.0, 4.4), facecolor="white")
    fitted, rows = (figure.add_axes((left, 0.12, 0.36, 0.36 * 10 / 4.4)) for left in (0.07, 0.6))
    if context is not None:
        _given([fitted, rows], law, data, drawn, context, names)
        return figure
    lo, hi = corners(law, data)
    density(fitted, law, lo, hi, names=names)
    caption(fitted, "Density")
    _rows(rows, data, drawn, lo, hi, names)
    return figure


def corners(law: Law, data: Tensor) -> tuple[Tensor, Tensor]:
    """What is shown of a law, shape (d,): a little more than most rows, not more than bounds and periods allow."""
    lo, hi = span(data)
    margin = MARGIN * (hi - lo)
    opened = opening(flow_of(law).phi)
    below, above = lo - margin, hi + margin
    if opened is not None:
        below, above = below.maximum(opened.low), above.minimum(opened.high)
    if isinstance(law, Wrapped):
        period = law.periods.to(lo)
        round_ = above - below > period
        start = torch.where((lo >= 0) & (hi <= period), 0.0, (lo + hi - period) / 2)
        below, above = torch.where(round_, start, below), torch.where(round_, start + period, above)
    return below, above


def flow_of(law: Law) -> Transported:
    """The law before its periods."""
    flow = law.law if isinstance(law, Wrapped) else law
    assert isinstance(flow, Transported)
    return flow


def _key(ax: Axes) -> None:
    handles = [
        Line2D([], [], color=color, marker="o", ls="", ms=4, label=label)
        for color, label in ((ORANGE, "data"), (BLUE, "drawn"))
    ]
    legend(ax, handles)


def _line(
    figure: Figure,
    law: Law,
    data: Tensor,
    drawn: Tensor,
    names: Sequence[str],
    exact: Callable[[Tensor], Tensor] | None,
) -> None:
    """The density over a histogram of the rows, and the graph of the map."""
    lo, hi = corners(law, data)
    ax = _axes(figure, LEFT + 0.1, 4.45, 7.2, SIDE)
    density(ax, law, lo, hi, data=data, exact=exact, names=names)
    caption(ax, "Density")
    shown = law.wrap(data) if isinstance(law, Wrapped) else data
    graph = _axes(figure, LEFT + 8.1, 4.45, 3.9, SIDE)
    grid(graph, flow_of(law).phi, shown.amin(0), shown.amax(0))
    graph.set(xlabel=labels(names, 1)[0], ylabel="φ, in units of the base")
    caption(graph, "The map")


def _table(figure: Figure, report: Any, left: float, top: float) -> None:
    """What is known, a line for each fact; problems first."""
    columns = (left, left + 1.8, left + 3.25)
    y = top
    verdict = "; ".join(report.problems)
    for line in textwrap.wrap(f"No density: {verdict}" if verdict else "No problem was found.", 78):
        figure.text(
            left / WIDTH,
            y / HEIGHT,
            line,
            fontsize=NORMAL,
            color=VERMILION if verdict else INK,
            weight="bold",
            va="top",
        )
        y -= LINE
    y -= 0.4 * LINE
    for row in facts(report):
        cells = [textwrap.wrap(text, width) or [""] for text, width in zip(row, (28, 23, 44), strict=True)]
        for at, lines in zip(columns, cells, strict=True):
            figure.text(
                at / WIDTH, y / HEIGHT, "\n".join(lines), fontsize=SMALL + 0.5, color=INK, va="top", linespacing=1.35
            )
        y -= LINE * max(map(len, cells)) * (1 if max(map(len, cells)) == 1 else 0.9)
