"""The picture of a fitted density, on one page: what it looks like, how it was fitted, and what is known of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from diffeo.laws import Law, Transported, Wrapped
from diffeo.viz.curves import history
from diffeo.viz.deform import grid
from diffeo.viz.density import aspect, carried_plane, density, dots, labels
from diffeo.viz.density_words import facts
from diffeo.viz.draw import legend
from diffeo.viz.marginals import MOST, marginals
from diffeo.viz.style import BLUE, INK, LARGE, NORMAL, ORANGE, SMALL, VERMILION, caption, dress

WIDTH, HEIGHT = 14.0, 8.4
"""Inches: the figure."""
LEFT, RIGHT, SIDE, BOTTOM = 0.7, 13.7, 2.95, 0.6
LINE = 0.2  # between lines of text
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
) -> Figure:
    """Draw a fitted density: in one or two dimensions the density itself and the grid its flow carries, else pairs.

    Args:
        law: a `Transported` law, also a `Wrapped` one.
        data: rows, shape (n, d), in the dtype and on the device of the law.
        drawn: rows drawn from the law, shape (m, d).
        report: as `diffeo.diagnostics.density_report` gives it.
        records: one per iteration of the fit, as ``history`` takes them; with none that panel is left away.
        names: of the columns, with their units.
        title: written above.
        exact: log p of the true law, where it is known.

    Returns: a figure of 14 by 8.4 inches, not registered with pyplot; ``figure.savefig("report.png", dpi=120)``.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    n, d = data.shape
    head = f"{n:,} rows, {d} column{'s' if d > 1 else ''}" + (f", {MOST} of them shown" if d > MOST else "")
    figure.text(LEFT / WIDTH, 1 - 0.42 / HEIGHT, title or "Density", fontsize=LARGE + 3, color=INK)
    figure.text(RIGHT / WIDTH, 1 - 0.42 / HEIGHT, head, fontsize=NORMAL, color=INK, ha="right")
    if d <= 2 and not report.given:
        (_line if d == 1 else _plane)(figure, law, data, drawn, names, exact)
        _course(figure, records, LEFT + 0.1, BOTTOM, 5.4, 2.75)
        _table(figure, report, 7.0, 3.9)
    else:
        marginals(figure, data, drawn, names=names, box=(0.75 / WIDTH, BOTTOM / HEIGHT, 7.3 / WIDTH, 7.65 / HEIGHT))
        _course(figure, records, 8.35, 5.05, 5.2, 2.45)
        _table(figure, report, 7.75, 4.3)
    return figure


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches."""
    return figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def _course(figure: Figure, records: Sequence[Any], left: float, bottom: float, width: float, height: float) -> None:
    if not len(records):
        return
    ax = _axes(figure, left, bottom, width, height)
    caption(ax, "Fit")
    history(ax, records)


def _plane(
    figure: Figure,
    law: Law,
    data: Tensor,
    drawn: Tensor,
    names: Sequence[str],
    exact: Callable[[Tensor], Tensor] | None,
) -> None:
    """The density, rows beside draws, the grid; the exact density first, where it is known."""
    lo, hi = data.amin(0), data.amax(0)
    lo, hi = lo - MARGIN * (hi - lo), hi + MARGIN * (hi - lo)
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
    dots(rows, data, ORANGE)
    dots(rows, drawn, BLUE)
    rows.set(
        xlim=(float(lo[0]), float(hi[0])), ylim=(float(lo[1]), float(hi[1])), aspect=aspect(lo, hi)
    )  # what is drawn beyond the data is not shown
    dress(rows, *labels(names, 2))
    caption(rows, "Rows")
    _key(rows)
    flow = law.law if isinstance(law, Wrapped) else law
    assert isinstance(flow, Transported)
    shown = law.wrap(data) if isinstance(law, Wrapped) else data
    carried_plane(grid_panel, flow.phi, shown, base=flow.base)
    caption(grid_panel, "Carried by the flow, over the base")


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
    lo, hi = data.amin(0), data.amax(0)
    lo, hi = lo - MARGIN * (hi - lo), hi + MARGIN * (hi - lo)
    ax = _axes(figure, LEFT + 0.1, 4.45, 7.2, SIDE)
    density(ax, law, lo, hi, data=data, exact=exact, names=names)
    caption(ax, "Density")
    flow = law.law if isinstance(law, Wrapped) else law
    assert isinstance(flow, Transported)
    shown = law.wrap(data) if isinstance(law, Wrapped) else data
    graph = _axes(figure, LEFT + 8.1, 4.45, 3.9, SIDE)
    grid(graph, flow.phi, shown.amin(0), shown.amax(0))
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
