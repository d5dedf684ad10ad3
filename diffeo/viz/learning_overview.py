"""The picture of a trained network: data on their way through the layers, what is answered, what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from diffeo.viz.certificate import stretches_panel
from diffeo.viz.curves import history
from diffeo.viz.layer_profile import energies, whole_numbers
from diffeo.viz.learned import Course, Learned, View, course, view, volumes
from diffeo.viz.learned_panel import Extent, draw_answers, draw_read_out, draw_sheet, dress_panel, far_out, limits
from diffeo.viz.learning_words import brief, written
from diffeo.viz.style import INK, LARGE, NORMAL, SMALL, VERMILION, caption
from diffeo.viz.view import sample

WIDTH = 14.0
LEFT, RIGHT = 0.72, 13.78
SIDE, LOW, STEP = 2.7, 2.4, 3.25
LOWER = ((0.0, 2.4), (3.22, 1.55), (5.6, 1.55), (8.3, 2.2))
BOTTOM, KEY, LINE, HEAD, REMARK = 0.6, 0.2, 0.19, 0.95, 0.2
"""Inches: margins; the side of a panel above, the height of one below, the distance of those above; left and width of
those below; what is under them, a line of the key, a line of the table, what is above all, and a remark there."""
MOST_DOTS = 900
LETTERS = 165  # of the key on a line
ALIKE = 2.0  # moments are drawn at one scale unless their extents differ by more


def learning_overview(learned: Learned, *, title: str | None = None) -> Figure:
    """Draw a trained network: rows at the start, halfway and at the end of the layers; answers; course; layers; facts.

    Args:
        learned: the network, with the rows to show.
        title: written above.

    Returns: a figure of 14 by about 8 inches, not registered with pyplot; ``figure.savefig("network.png", dpi=120)``.
    """
    key = learned.target.key(LETTERS)
    strip = KEY * key.lines
    upper = BOTTOM + LOW + 0.6 + strip + 0.55
    seen = view(learned)
    moments = course(learned, seen, 3)
    extents, said = framed(moments)
    remark = f"{seen.remark} {said}".strip()
    page = _Page(upper + SIDE + HEAD + bool(remark) * REMARK)
    _words(page, learned, title, remark)
    shown = sample(len(learned.rows), MOST_DOTS)
    panels = [page.axes(LEFT + STEP * k, upper, SIDE, SIDE) for k in range(3)]
    _moments(panels, learned, seen, moments, extents, shown)
    draw_answers(page.axes(RIGHT - SIDE, upper, SIDE, SIDE), learned, shown)
    key.draw(page.axes(LEFT, BOTTOM + LOW + 0.55, RIGHT - LEFT, strip))
    _lower(page, learned)
    return page.figure


def framed(moments: Course) -> tuple[list[Extent], str]:
    """Between which coordinates each moment is drawn, the same for all if they are about as large; what is to be said.

    Args:
        moments: those that are drawn.
    """
    count = len(moments.at)
    extents = [limits(moments, [k]) for k in range(count)]
    sizes = [float(np.ptp(extent[0])) for extent in extents]
    alike = max(sizes) <= ALIKE * min(sizes)
    if alike:
        extents = [limits(moments, range(count))] * count
    said = [far_out(moments, extents)] + ["Scales differ from moment to moment."] * (not alike)
    return extents, " ".join(part for part in said if part)


class _Page:
    """A figure with places in inches from the lower left corner."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), facecolor="white")

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """A panel."""
        w, h = WIDTH, self.height
        return self.figure.add_axes((left / w, bottom / h, width / w, height / h))

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        """Words, in ink unless another color is given."""
        self.figure.text(x / WIDTH, y / self.height, text, **{"color": INK, **look})


def _words(page: _Page, learned: Learned, title: str | None, remark: str) -> None:
    n, p = learned.rows.shape
    top = page.height - 0.4
    page.text(LEFT, top, title or "Residual network", fontsize=LARGE + 3)
    columns = f"{n:,} {learned.target.which}, {p} column{'s' if p > 1 else ''}"
    page.text(RIGHT, top, columns, fontsize=NORMAL, ha="right")
    page.text(LEFT, top - 0.24, remark, fontsize=NORMAL)


def _moments(
    panels: Sequence[Axes],
    learned: Learned,
    seen: View,
    moments: Course,
    extents: Sequence[Extent],
    rows: NDArray[np.intp],
) -> None:
    """Rows and the lines that go along; at the end what is read out, and what is wrong."""
    names = ("At the start", "Halfway", f"After the last of {moments.layers} layers")
    for k, (ax, name, extent) in enumerate(zip(panels, names, extents, strict=True)):
        caption(ax, name)
        dress_panel(ax, seen, extent)
        if k:
            ax.set_ylabel("")
        draw_sheet(ax, moments, k)
        learned.target.dots(ax, moments.rows[k], rows)
    draw_read_out(panels[-1], learned, extents[-1])
    learned.target.rings(panels[-1], moments.rows[-1], rows)


def _lower(page: _Page, learned: Learned) -> None:
    """The course of the training, the layers, predictions against the truth, and a table."""
    places = iter([(LEFT + left, BOTTOM, width, LOW) for left, width in LOWER])
    place = next(places)
    if len(learned.records):
        _training(page.axes(*place), learned)
    place = next(places)
    energies(page.axes(*place), learned.energies)
    place = next(places)
    if learned.certificate is not None:
        ax = page.axes(*place)
        stretches_panel(ax, learned.certificate, "rows")
        whole_numbers(ax, len(learned.certificate.bounds))
        ax.set_ylim(0, 1.2 * ax.get_ylim()[1])  # room for the legend
        ax.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="upper left", borderaxespad=0.2)
        caption(ax, "Stretch")
    learned.target.judged(page.axes(*next(places)))
    _table(page, learned)


def _training(ax: Axes, learned: Learned) -> None:
    """The course, with its legend where there is room."""
    history(ax, learned.records)
    names = ax.get_legend()
    handles = [] if names is None else names.legend_handles
    ax.legend(handles=handles, fontsize=SMALL, loc="best", frameon=False, labelcolor=INK)
    caption(ax, "Training")


def _table(page: _Page, learned: Learned) -> None:
    """What is known, a line for each figure."""
    found, y = brief(learned, volumes(learned)), BOTTOM + LOW
    for fact in found:
        color = VERMILION if fact.name == "folds" and fact.value else INK
        page.text(RIGHT - 2.35, y, fact.name, fontsize=SMALL, va="top", color=color)
        page.text(RIGHT, y, written(fact), fontsize=SMALL, va="top", ha="right", color=color)
        y -= min(LINE, (BOTTOM + LOW - 0.2) / len(found))
