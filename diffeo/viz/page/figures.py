"""What pages of registrations say in numbers: the report, the course of the fit, and what decided the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffeo.viz.curves import running
from diffeo.viz.page.chart import Chart
from diffeo.viz.page.table import Row, Table
from diffeo.viz.style import BLUE, GREEN, ORANGE

LENGTH, COUNT, ONE = "data units", "count", "1"
MEANINGS: dict[str, tuple[str, str]] = {
    "distance_before": (LENGTH, "mean distance between source and target, from the points of each to the other"),
    "distance_after": (LENGTH, "the same between the moved source and the target"),
    "distance_before_p95": (LENGTH, "95th percentile of the distances before"),
    "distance_after_p95": (LENGTH, "95th percentile of the distances after"),
    "distance_before_max": (LENGTH, "largest distance before"),
    "distance_after_max": (LENGTH, "largest distance after"),
    "error_before": (ONE, "mean squared difference of the images before, relative to the variance of the fixed one"),
    "error_after": (ONE, "the same after"),
    "data_before": ("of the loss", "data term D before: what the registration was asked to make small"),
    "data_after": ("of the loss", "data term D after"),
    "energy": (f"{LENGTH}²", "½∫‖v‖² dt: how far the map had to move"),
    "folds": (COUNT, "corners of the fixed grid at which φ⁻¹ folds"),
    "min_corner": (ONE, "smallest corner determinant of φ⁻¹ on the fixed grid: a fold where it is not positive"),
    "min_jacobian": (ONE, "smallest det Dφ, local growth of volume: a fold where it is not positive"),
    "max_jacobian": (ONE, "largest det Dφ; −1 stands for a fold"),
    "flipped": (COUNT, "faces or segments that folded although the map does not"),
    "turned": (COUNT, "faces or segments that turned by more than 90°, often rightly"),
    "inverse_error": (LENGTH, "how far φ⁻¹(φ(x)) is from x: the largest over points, the mean over images"),
    "inverse_error_max": (LENGTH, "the largest over images"),
    "step_error": (LENGTH, "largest move of a point when the time steps are doubled"),
    "hamiltonian_drift": (ONE, "largest relative change of the energy along the path, which a geodesic keeps"),
}
COURSE: dict[str, tuple[str, str]] = {
    "iterations": (COUNT, "outer iterations, over all stages"),
    "seconds": ("s", "how long the registration took"),
    "converged": ("", "whether the last stage fell below its tolerance"),
    "reason": ("", "why it ended"),
    "aligned": ("", "whether a rigid or affine motion came first"),
    "steps": (COUNT, "time steps"),
    "controls": (COUNT, "control points"),
    "levels": ("", "how much coarser than the images the grids were, one after the other"),
    "labels": ("", "regions whose overlap was measured"),
    "seed": ("", "of whatever is random"),
}


def figures_table(report: Mapping[str, Any], length: str = LENGTH) -> Table:
    """How good the result is, with the meaning of every figure; ``length`` is the unit of lengths, if it is known."""
    known = [(name, *MEANINGS[name]) for name in MEANINGS if name in report]
    rows = [Row(name, report[name], unit.replace(LENGTH, length), meaning) for name, unit, meaning in known]
    return Table("Honest numbers", rows, "As in report.json. A dash stands where a figure has no meaning here.")


def course_table(report: Mapping[str, Any]) -> Table:
    """How the result was found, and whatever else the report holds."""
    known = [
        Row(name, report[name], *COURSE[name])
        for name in COURSE
        if name in report and (name != "labels" or report[name])
    ]
    others = [
        Row(name, value) for name, value in report.items() if name not in COURSE | MEANINGS and not _nested(value)
    ]
    return Table("How it was found", known + others, wide=False)


def details(report: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters and versions, and whatever else the report holds of that kind."""
    return {name: value for name, value in report.items() if _nested(value)}


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping)


def verdict(report: Mapping[str, Any]) -> str:
    """The result in a line: how near it is, and whether it folds."""
    said = []
    for name, word in (("distance", "mean distance"), ("error", "mean squared difference")):
        before, after = report.get(f"{name}_before"), report.get(f"{name}_after")
        if before is not None and after is not None:
            said.append(f"{word} {before:.3g} before, {after:.3g} after")
    folds = [report[name] for name in ("folds", "flipped") if report.get(name) is not None]
    least = report.get("min_jacobian")
    if folds or least is not None:
        found = any(folds) or (least is not None and least <= 0)
        said.append("it folds: see the numbers" if found else "no fold")
    if report.get("converged") is False:
        said.append("not converged")
    return "; ".join(said)


def fit_chart(records: Sequence[Any]) -> Chart:
    """The objective and its two parts, iteration by iteration, over all stages.

    Args:
        records: one per outer iteration, at least one, with iteration, stage, objective and data. Where nothing is
            paid for energy, the data term stands alone.
    """
    objective, data = (np.array([float(getattr(r, name)) for r in records]) for name in ("objective", "data"))
    x, starts = running(records)
    energy = objective - data
    paid = bool((energy > 1e-9 * np.abs(objective)).any())
    terms = {"objective": (objective, BLUE), "data term": (data, ORANGE), "weighted energy": (energy, GREEN)}
    shown = terms if paid else {"data term": terms["data term"]}
    borders = {float(x[k - 1] + x[k]) / 2: f" stage {stage}" for stage, k in enumerate(starts[1:], 2)}
    return Chart(
        "Course of the fit",
        {name: _parted(x, values, starts) for name, (values, _) in shown.items()},
        "outer iteration",
        "value",
        log=not (data < -0.05 * np.abs(data).max()).any() and bool((data > 0).any()),
        note="What is minimized. Dotted lines part the stages, whose data terms are measured by different losses."
        if borders
        else "What is minimized: the data term, and the energy times its weight."
        if paid
        else "What is minimized.",
        marks=borders,
        colors=[color for _, color in shown.values()],
    )


def _parted(x: Any, y: Any, starts: Sequence[int]) -> tuple[Any, Any]:
    """A curve with gaps where stages start."""
    at = list(starts[1:])
    return np.insert(x, at, [(x[k - 1] + x[k]) / 2 for k in at]), np.insert(y, at, np.nan)
