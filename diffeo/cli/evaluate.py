"""``diffeo evaluate``: how well two label maps, two sets of landmarks or two images agree."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from diffeo.cli.choices import Kind
from diffeo.cli.options import JSON, Labels, check_file
from diffeo.cli.output import print_json, print_rows, print_table


def evaluate(
    fixed: Path,
    moved: Path,
    /,
    *,
    kind: Kind | None = None,
    labels: Labels | None = None,
    json: JSON = False,
) -> int:
    """Compare MOVED with FIXED: Dice for label maps, distances for landmarks, correlation for intensities.

    Landmarks are paired by their column id if both files have one, by their
    order otherwise. Images on different grids are compared on that of FIXED.
    Lengths and volumes are those of space, in the units of the files.

    Args:
        fixed: where things should be: a label map, landmarks (csv, txt, vtk, …) or an image.
        moved: what was brought there: the same kind of file.
        kind: what the files hold: labels, landmarks or intensity; by default found out, and said.
        labels: which labels to compare, such as 1-32 or 1,2,5-7; by default all but 0.
        json: print JSON.
    """
    check_file(fixed, "FIXED")
    check_file(moved, "MOVED")
    if labels == ():
        raise ValueError("--labels expects labels, such as 1-32 or 1,2,5-7, and got none.")
    from diffeo.cli.kinds import decide
    from diffeo.io import read

    pair = read(fixed), read(moved)
    chosen, why = decide(*pair, kind)
    if labels is not None and chosen is not Kind.labels:
        raise ValueError(f"--labels is for label maps, and these are compared as {chosen.name} ({why}).")
    facts = {"fixed": str(fixed), "moved": str(moved), "kind": chosen.name, "why": why}
    facts |= _compared(chosen, *pair, labels)
    if json:
        print_json(facts)
    else:
        _show(facts)
    return 0


def _compared(kind: Kind, fixed: Any, moved: Any, labels: tuple[int, ...] | None) -> dict[str, Any]:
    """The measures of one kind, by name."""
    from diffeo.diagnostics import landmark_error, overlap, similarity

    if kind is Kind.landmarks:
        return landmark_error(fixed, moved)._asdict()
    unit = {"unit": _unit(fixed), "dimension": fixed.grid.dim}
    if kind is Kind.intensity:
        return unit | similarity(fixed, moved)._asdict()
    found = overlap(fixed, moved, labels)
    return unit | found._asdict() | {"labels": [row._asdict() for row in found.labels]}


def _unit(image: Any) -> str | None:
    """The unit of length of an image that was read."""
    from diffeo.io.images import MILLIMETERS, PIXELS

    return {MILLIMETERS: "mm", PIXELS: "px"}.get(image.attributes.get("space"))


def _show(facts: dict[str, Any]) -> None:
    """The measures for people."""
    rows = [("compared", f"{facts['kind']} ({facts['why']})")]
    if facts.get("resampled"):
        how = "nearest points" if facts["kind"] == Kind.labels.name else "linear interpolation"
        rows.append(("grid", f"MOVED was brought to the grid of FIXED by {how}"))
    if facts["kind"] == Kind.landmarks.name:
        rows += _landmarks(facts)
    elif facts["kind"] == Kind.intensity.name:
        rows += [
            ("mean squared error", facts["mse"]),
            ("relative to the variance of FIXED", facts["relative_mse"]),
            ("correlation", facts["correlation"]),
            ("mutual information", facts["mutual_information"]),
        ]
    else:
        rows += [("mean Dice", f"{facts['mean_dice']:.4f}"), ("Dice of the union", f"{facts['union_dice']:.4f}")]
    print_rows(f"{facts['fixed']}, {facts['moved']}", rows)
    if facts["kind"] == Kind.labels.name:
        print_table(*_table(facts))


def _landmarks(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    paired = f"{facts['pairs']:,}, by {'id' if facts['by_id'] else 'order'}"
    if facts["unpaired"]:
        paired += f"; {facts['unpaired']:,} landmarks whose id is on one side only are left out"
    names = (("mean", "mean"), ("median", "median"), ("95th percentile", "p95"), ("largest", "max"))
    return [("pairs", paired), *((f"{name} distance", facts[key]) for name, key in names)]


def _table(facts: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the labels."""
    unit, flat = facts["unit"] or "", facts["dimension"] == 2
    what, power, border = ("area", "²", "contour") if flat else ("volume", "³", "surface")
    names = [f"{what} of {which}, {unit}{power}" for which in ("FIXED", "MOVED")]
    names += [f"{border} distance, {unit}", f"Hausdorff 95, {unit}"]
    keys = ("volume_fixed", "volume_moved", "surface_distance", "hausdorff95")
    rows = [[str(row["label"]), f"{row['dice']:.4f}", *(_shown(row[key]) for key in keys)] for row in facts["labels"]]
    return ["label", "Dice", *(name if unit else name.partition(",")[0] for name in names)], rows


def _shown(value: float) -> str:
    """Large numbers without an exponent; a dash for what there is none of."""
    return "–" if math.isnan(value) else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
