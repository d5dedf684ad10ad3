"""The page of a trained network: rows on their way through the layers, answers, the training, the layers, figures."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffeo.viz.layer_profile import shares
from diffeo.viz.learned import Course, Learned, View, course, view, volumes
from diffeo.viz.learned_panel import draw_answers
from diffeo.viz.learning_words import facts
from diffeo.viz.page.chart import Chart
from diffeo.viz.page.document import check_page, write_page
from diffeo.viz.page.figures import fit_chart
from diffeo.viz.page.panel import Panel
from diffeo.viz.page.picture import Picture
from diffeo.viz.page.scene import Layer, Scene
from diffeo.viz.page.table import Table
from diffeo.viz.style import BLUE, FAINT, ORANGE
from diffeo.viz.view import Array, array, sample

MOMENTS = 25
MOST_DOTS = 900  # of a picture


def learning_page(
    path: str | PathLike[str],
    learned: Learned,
    *,
    title: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a trained network.

    Args:
        path: ends in .html.
        learned: the network, with the rows to show.
        title: of the page.
        details: parameters, versions and the like.

    Returns: the path.
    Raises: ValueError for another suffix, and if it cannot be written.
    """
    check_page(path)
    logdet = volumes(learned)
    panels: list[Panel] = [_way(learned, logdet), _answers(learned)]
    if len(learned.records):
        panels.append(fit_chart(learned.records))
    panels += _layers(learned)
    note = f"Measured at the {learned.target.which} that are shown, unless it says otherwise."
    panels.append(Table("Honest numbers", facts(learned, logdet), note))
    n, p = learned.rows.shape
    folds = "; it folds: see the numbers" if not np.isfinite(logdet).all() else ""
    what = f"{n:,} {learned.target.which}, {p} column{'s' if p > 1 else ''}{folds}"
    return write_page(path, title or "Residual network", panels, what, details)


def _way(learned: Learned, logdet: Array) -> Scene:
    """Rows with a slider for the layers, and the plane in which they began."""
    seen = view(learned, 3)
    moments = course(learned, seen, MOMENTS)
    moving = {"displacement (standardized)": moments.moved}
    still = {name: values[None] for name, values in learned.target.quantities().items()}
    if len(logdet) == len(learned.rows):
        still["log det Dφ"] = logdet[None]
    groups = learned.target.groups()
    layers = [
        Layer(
            group.name,
            moments.rows[:, group.rows],
            group.color,
            size=float(np.clip(90 / np.sqrt(len(learned.rows)), 3.0, 8.0)),
            quantities={name: values[:, group.rows] for name, values in (moving | still).items()},
            diverging=("log det Dφ", *learned.target.signed),
            visible=group.visible,
        )
        for group in groups
    ]
    layers += _sheet(moments)
    note = "Drag the slider to go through the layers: data enter at 0. " + seen.remark
    return Scene(
        "On the way through the layers", layers, moments.at, note.strip(), _names(seen), clock="layer",
        color=learned.target.telling, equal=seen.heights is None,
    )  # fmt: skip


def _names(seen: View) -> list[str]:
    return [axis.name for axis in seen.axes]


def _sheet(moments: Course) -> list[Layer]:
    """The lines of the plane, or the line, that go along."""
    if moments.sheet is None:
        return []
    times, lines, points, width = moments.sheet.shape
    number = np.arange(lines * points).reshape(lines, points)
    edges = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], 1)
    name = "grid of the inputs" if lines > 1 else "line of the inputs"
    return [Layer(name, moments.sheet.reshape(times, -1, width), FAINT, edges, size=1.0, opacity=0.6)]


def _answers(learned: Learned) -> Picture:
    """What is answered, and how that agrees with the truth."""
    figure = Figure(figsize=(9.6, 4.2), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_answers(left, learned, sample(len(learned.rows), MOST_DOTS))
    learned.target.judged(right)
    told = "What the network answers for every input, and how its answers agree with the truth."
    return Picture("Answers", figure, told if learned.rows.shape[1] <= 2 else "How answers agree with the truth.")


def _layers(learned: Learned) -> list[Panel]:
    """What each layer costs, and between which factors it changes lengths."""
    at, free = np.arange(1, len(learned.energies) + 1), bool((learned.energies == 0).any())
    series = {"part of the energy": (at, shares(learned.energies))}
    note = "Affine layers are free." if free else ""
    found: list[Panel] = [
        Chart("Energy of the layers", series, "layer", "part of ½∫‖v‖² dt  [%]", note=note, points=True)
    ]
    if learned.certificate is not None:
        bounds, measured = learned.certificate.bounds, learned.certificate.measured
        at = np.arange(1, len(bounds) + 1)
        series = {
            f"{word}, proven": (at, np.array([getattr(bound, word) for bound in bounds]))
            for word in ("largest", "smallest")
        }
        if measured is not None:
            series |= {f"{word}, measured": (at, array(getattr(measured, word))) for word in ("largest", "smallest")}
        note = "By what factor a layer can change distances anywhere, and does at rows. Above 0 it is one to one."
        colors = [BLUE, BLUE, ORANGE, ORANGE][: len(series)]
        words = "|Φ(x) − Φ(y)| / |x − y|"
        found.append(Chart("Stretch of the layers", series, "layer", words, note=note, colors=colors, points=True))
    return found
