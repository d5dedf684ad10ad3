"""What columns must be before anything can be learned from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffeo.tables.delimited import is_number
from diffeo.tables.records import DECIMAL_COMMA, Column, Records


def check_known(records: Records, names: Sequence[str]) -> None:
    """Raise ValueError, saying how many and where, if entries of these columns are missing or infinite."""
    unknown = {name: rows for name in names if len(rows := np.flatnonzero(missing(records[name])))}
    if unknown:
        first = min(unknown, key=lambda name: (unknown[name][0], records.names.index(name)))
        count = sum(map(len, unknown.values()))
        values = "1 value is" if count == 1 else f"{count:,} values are"
        there = "" if count == 1 else "the first is in "
        empty = len(unknown[first]) == len(records)
        where = f"column {first!r} is empty" if empty else f"{there}{records.at(int(unknown[first][0]), first)}"
        if count == 1:
            raise ValueError(
                f"{records.source}: a value is missing in {where}: fill it in, or leave out the row or the column."
            )
        raise ValueError(
            f"{records.source}: {values} missing, {where}: fill them in, or leave out these rows or columns."
        )
    for name in names:
        column = records[name]
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ValueError(
                f"{records.source}: {records.at(row, name)} is {column[row]}, and finite numbers are expected: "
                "it may be too large for a number, or stand for something unknown."
            )


def missing(column: Column) -> np.ndarray:
    """Which entries are not known."""
    return np.isnan(column) if column.dtype.kind == "f" else np.array([not entry for entry in column], bool)


def check_words(records: Records, name: str) -> None:
    """Raise ValueError if a column of texts looks like one of numbers with something else in it."""
    entries = [(row, entry) for row, entry in enumerate(records[name].tolist()) if entry]
    others = [(row, entry) for row, entry in entries if not is_number(entry)]
    if len(others) > len(entries) / 2:
        if all(DECIMAL_COMMA.fullmatch(entry.replace(",", "", entry.count(",") - 1)) for _, entry in entries):
            row, entry = others[0]
            raise ValueError(
                f"{records.source}: {records.at(row, name)} is {entry!r}, and numbers are expected with a decimal "
                "point and nothing between thousands."
            )
        return
    row, entry = others[0]
    raise ValueError(
        f"{records.source}: {records.at(row, name)} is {entry!r}, and a number is expected, as the "
        f"{'others' if len(others) == 1 else 'most others'} of this column are: correct it, or say that the column is "
        "categorical."
    )
