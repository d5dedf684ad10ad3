"""The page of a density."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from diffeo.laws import Law
from diffeo.viz.density_overview import MOST, density_figure
from diffeo.viz.density_strip import density_strip
from diffeo.viz.density_way import DensityWay, said
from diffeo.viz.marginals import marginals
from diffeo.viz.page.chart import Chart
from diffeo.viz.page.density_scene import density_scene
from diffeo.viz.page.document import check_page, write_page
from diffeo.viz.page.panel import Panel
from diffeo.viz.page.picture import Picture
from diffeo.viz.page.table import Row, Table
from diffeo.viz.style import BLUE, GREEN, ORANGE

NATS, SPREAD = "nats per row", "of a column's spread"
STANDARDIZED = "standardized units²"


def density_page(
    path: str | PathLike[str],
    law: Law,
    way: DensityWay,
    data: Tensor,
    drawn: Tensor,
    report: Any,
    records: Sequence[Any] = (),
    *,
    names: Sequence[str] = (),
    context: Tensor | None = None,
    title: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a density: rows on their way to the base, rows beside draws, the fit, all that is known.

    Args:
        path: ends in .html.
        law, data, drawn, report, records, names, context: as for ``plot.density_overview``.
        way: rows and draws between the law and its base.
        title: of the page.
        details: parameters, versions and the like.

    Returns: the path.
    Raises: ValueError for another suffix, and if the file cannot be written.
    """
    check_page(path)
    panels: list[Panel] = [density_scene(way, _note(way))]
    if len(way.low) <= 2 and way.moves:
        panels.append(Picture("The density on its way", density_strip(way), _strip_note(way)))
    if len(way.low) <= 2:
        figure = density_figure(law, data, drawn, names, context)
        panels.append(
            Picture("The density, in the units of the table", figure, "Draws are new rows that the law makes.")
        )
    else:
        note = _pairs_note(data.shape[1], report.given)
        panels.append(Picture("Rows beside draws", _pairs(data, drawn, names), note))
    panels += [figures(report), *courses(records, report.energy), _way_table(way, data, records)]
    return write_page(path, title or "Density", panels, verdict(report), details)


def verdict(report: Any) -> str:
    """What a report comes to, in a line."""
    problems = "; ".join(report.problems)
    return f"No density: {problems}." if problems else "No problem was found."


def figures(report: Any) -> Table:
    """All figures of a report, and what each rests on."""
    rows = [*_likelihoods(report), *_map(report), *_certificate(report)]
    mass = report.mass
    rows += [
        Row("∫p", _known(mass.value), "", mass.how),
        Row("error of ∫p", _known(mass.error), "", "of a grid, its last change; of draws, the standard error"),
    ]
    return Table("Honest numbers", rows, "A dash stands where a figure is not known or has no meaning here.")


def courses(records: Sequence[Any], energy: float) -> list[Panel]:
    """How the fit went: likelihoods, and the energy; nothing where nothing was trained."""
    if len(records) < 2:
        return []
    x = [r.iteration for r in records]
    series: dict[str, Any] = {"training": (x, [r.data for r in records])}
    colors = [ORANGE]
    held = [(r.iteration, r.validation) for r in records if getattr(r, "validation", None) is not None]
    if held:
        series["validation"] = tuple(zip(*held, strict=True))
        colors.append(BLUE)
    return [
        Chart(
            "Course of the fit",
            series,
            "iteration",
            "−mean log p (nats, standardized)",
            colors=colors,
            note="Training rows as they were met, validation after each pass; what is kept is where that was best."
            if held
            else "",
        ),
        Chart(
            "Energy",
            {"energy": (x, [r.energy for r in records])},
            "iteration",
            "½∫‖v‖² dt",
            colors=[GREEN],
            note=f"While it was trained, in standardized units squared; what is kept has {energy:.4g}.",
        ),
    ]


def _likelihoods(report: Any) -> list[Row]:
    train, held = report.train, report.held_out
    rows = [
        Row("log p, training", _known(train.mean), NATS, f"{train.rows:,} rows{_lost(train)}"),
        Row("its standard error", _known(train.error), NATS, "of the mean over training rows"),
    ]
    if held:
        others = f"{held.rows:,} rows of {report.held_out_name}{_lost(held)}"
        rows = [
            Row("log p, held out", _known(held.mean), NATS, others),
            Row("standard error, held out", _known(held.error), NATS, "of the mean over rows held out"),
            *rows,
            Row("gap", _known(report.gap), NATS, "how much larger log p is on training rows than on those held out"),
        ]
    if report.entropy is not None:
        rows.append(Row("log p of the true law", -report.entropy, NATS, "on average: no honest likelihood is larger"))
    return rows


def _lost(found: Any) -> str:
    return f"; {found.lost:,} of them have no density" if found.lost else ""


def _map(report: Any) -> list[Row]:
    rows = [
        Row("round trip", _known(report.round_trip), SPREAD, f"largest |φ⁻¹(φ(x)) − x| at rows, in {report.precision}")
    ]
    for name, found in (("rows", report.on_data), ("box", report.in_box)):
        where = found.where + (" of a box around the rows" if name == "box" else "")
        rows.append(
            Row(
                f"smallest volume, {name}",
                _known(found.smallest),
                "",
                f"smallest determinant of a layer, measured at {where}",
            )
        )
        rows.append(Row(f"folds, {name}", int(found.folds), "points", f"at which a layer folds, of {where}"))
    return [
        *rows,
        Row("energy", _known(report.energy), STANDARDIZED, "½∫‖v‖² dt: how far the map had to move"),
        Row(
            "√(2E)",
            _known(report.geodesic_distance),
            "standardized units",
            "≥ the geodesic distance of φ from the identity",
        ),
    ]


def _certificate(report: Any) -> list[Row]:
    if report.forward is None:
        return [Row("layers certified invertible", None, "", f"nothing is certified: {report.uncertified}")]
    if not report.layers:
        return [Row("certified invertible", True, "", "everywhere: the map only changes units")]
    proven = "proven everywhere, from the bounds of the velocities"
    rows = [Row("layers certified invertible", f"{report.certified_layers} of {report.layers}", "", proven)]
    for name, stretch in (("Lip(φ)", report.forward), ("Lip(φ⁻¹)", report.backward)):
        if math.isfinite(stretch.certified):
            more = f"{proven}; {stretch.looseness:.2g} times what is measured at rows"
            rows.append(Row(f"{name} ≤", stretch.certified, "", more))
        else:
            rows.append(Row(f"{name} ≤", None, "", "nothing is proven"))
        rows.append(Row(f"{name} ≥", _known(stretch.measured), "", "largest stretch measured at rows"))
    return rows


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _way_table(way: DensityWay, data: Tensor, records: Sequence[Any]) -> Table:
    """What was carried where, and how long that took."""
    rows = [
        Row("rows", len(data), "rows", "that pictures are made from"),
        Row("columns", way.columns, "", "that have a density"),
        Row("base", said(way.law), "", "what φ carries the rows to"),
        Row(
            "mean way of a row",
            way.moved,
            "standard deviations",
            "from the table, in standardized columns, to the base",
        ),
    ]
    if way.given:
        rows.insert(2, Row("context", way.given, "columns", "that the density is conditioned on"))
    if records:
        rows.append(Row("iterations", int(records[-1].iteration), "", "of the training"))
        rows.append(Row("seconds", float(records[-1].seconds), "s", "how long the training took"))
    return Table("Rows and base", rows)


def _note(way: DensityWay) -> str:
    if not way.moves:
        only = "only opens bounds up" if way.opened else "is affine: it only changes units"
        return f"Nothing moves here: φ {only}, and {said(way.law)} is the density itself. Columns are standardized."
    d = len(way.low)
    many = f" Three of {d} columns are shown{', context included' if way.given else ''}." if d > 3 else ""
    return (
        f"φ carries the rows to {said(way.law)}, {way.moved:.2g} standard deviations on average: run the slider. Back "
        f"from there φ⁻¹ makes draws of the density from draws of the base.{many} Columns are standardized."
    )


def _strip_note(way: DensityWay) -> str:
    lines = "" if len(way.low) == 1 else " Lines are 10, 30, …, 90% of the density at which colors saturate."
    return f"The density that the rows have at five moments, computed from what is left of the way.{lines}"


def _pairs(data: Tensor, drawn: Tensor, names: Sequence[str]) -> Figure:
    figure = Figure(figsize=(8, 7.4) if data.shape[1] > 1 else (6, 4), facecolor="white")
    marginals(figure, data, drawn, names=names, box=(0.1, 0.09, 0.98, 0.98))
    return figure


def _pairs_note(d: int, given: int) -> str:
    first = f"The first {MOST} of {d} columns. " if d > MOST else ""
    return f"{first}Draws are new rows that the law makes{', for the context of these rows' if given else ''}."
