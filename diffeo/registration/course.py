"""The course of a fit as a table: what its picture is drawn from, long after."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffeo.fit import Record
from diffeo.io.atomic import replacing

HISTORY = "history.csv"  # what it is called in the folder of a result
WHOLE = {"iteration", "stage", "stages", "max_iterations"}


def write_history(path: Path, records: Sequence[Record]) -> None:
    """One row per record, with all its numbers as they are; nothing stands where there is none."""
    names = [field.name for field in dataclasses.fields(Record)]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(names)
    for record in records:
        lines.writerow(["" if (value := getattr(record, name)) is None else repr(value) for name in names])
    with replacing(path, parents=True) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def read_history(path: Path) -> list[Record]:
    """The records that `write_history` wrote; none where there is no file, as older versions left it.

    Raises: ValueError if the file is something else.
    """
    if not path.exists():
        return []
    known = {field.name for field in dataclasses.fields(Record)}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        return [Record(**{name: _number(name, text) for name, text in row.items() if name in known}) for row in rows]
    except (OSError, ValueError, TypeError, csv.Error):
        raise ValueError(
            f"cannot read {path}: it is not the course of a fit, as diffeo writes it; remove it, and pictures are "
            "drawn without the course."
        ) from None


def _number(name: str, text: str) -> Any:
    """An entry; None where there is nothing, as there may be no score of a validation."""
    if name == "validation" and not text:
        return None
    return int(text) if name in WHOLE else float(text)
