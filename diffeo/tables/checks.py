"""What columns must be before anything can be learned from them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from diffeo.tables.delimited import is_number
from diffeo.tables.records import Column, Records

_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?|[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
"""Numbers that no program reads without being told how: 1,234.5 and 1,5."""


def check_known(records: Records, names: Sequence[str]) -> None:
    """Raise ValueError, saying how many and where, if entries of these columns are missing or infinite."""
    unknown = {name: rows for name in names if len(rows := np.flatnonzero(missing(records[name])))}
    if unknown:
        raise ValueError(f"{records.source}: {_gaps(records, unknown)}.")
    for name in names:
        column = records[name]
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ValueError(
                f"{records.source}: {records.at(row, name)} is {column[row]}, and finite numbers are expected: "
                "it may be too large for a number, or stand for something unknown."
            )


def _gaps(records: Records, unknown: dict[str, np.ndarray]) -> str:
    """What is missing, by the rows of each column."""
    first = min(unknown, key=lambda name: (unknown[name][0], records.names.index(name)))
    where, count = records.at(int(unknown[first][0]), first), sum(map(len, unknown.values()))
    if count == 1:
        return f"a value is missing in {where}: fill it in, or leave out the row or the column"
    place = f"column {first!r} is empty" if len(unknown[first]) == len(records) else f"the first is in {where}"
    return f"{count:,} values are missing, {place}: fill them in, or leave out these rows or columns"


def missing(column: Column) -> np.ndarray:
    """Which entries are not known."""
    return np.isnan(column) if column.dtype.kind == "f" else np.array([not entry for entry in column], bool)


def check_words(records: Records, name: str) -> None:
    """Raise ValueError if a column of texts looks like one of numbers with something else in it."""
    entries = [(row, entry) for row, entry in enumerate(records[name].tolist()) if entry]
    others = [(row, entry) for row, entry in entries if not is_number(entry)]
    if len(others) > len(entries) / 2:
        if all(is_number(entry) or _COMMAS.fullmatch(entry) for _, entry in entries):
            row, entry = others[0]
            raise ValueError(
                f"{records.source}: {records.at(row, name)} is {entry!r}, and numbers are expected with a decimal "
                "point and nothing between thousands."
            )
        return
    row, entry = others[0]
    most = "the others" if len(others) == 1 else "most others"
    raise ValueError(
        f"{records.source}: {records.at(row, name)} is {entry!r}, and a number is expected, as {most} of this column "
        "are: correct it, or say that the column is categorical."
    )
