"""Rows of numbers and texts in named columns, out of a file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffeo.io.guard import check_readable, guarded, has_suffix
from diffeo.tables.arrays import read_columns
from diffeo.tables.delimited import is_missing, is_number, read_delimited

Column = NDArray[Any]
"""Numbers (float64, NaN where nothing is known) or texts (objects, "" where nothing is known)."""
TEXTS, ARRAYS = (".csv", ".tsv", ".txt", ".dat", ".data"), (".npy", ".npz")
_NUMBERED = re.compile(r"[+-]?\d+")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Records:
    """A table.

    Attributes:
        source: the file, for messages.
        names: of the columns, no two alike; col1, col2, … where there is no header.
        columns: one array per name, all equally long.
        places: where each row is in the file, counted from 1.
        named: whether the names come from the file.
        unit: what the places count: "line" or "row".
        notes: what was decided while it was read, a sentence each.
    """

    source: str
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    places: Sequence[int]
    named: bool
    unit: str = "line"
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, name: str) -> Column:
        return self.columns[self.names.index(name)]

    def at(self, row: int, name: str) -> str:
        """Where an entry is, in words."""
        return f"{self.unit} {self.places[row]}, column {name!r}"

    def resolve(self, name: str, what: str = "column") -> str:
        """The name of a column that is given by its name or its number: 1 is the first one, -1 the last one.

        Raises: ValueError if there is none.
        """
        if name in self.names:
            return name
        count = len(self.names)
        if _NUMBERED.fullmatch(name):
            number = int(name)
            if not 1 <= abs(number) <= count:
                raise ValueError(
                    f"{self.source} has no {what} {name}: its {count:,} columns are counted from 1, and backward from "
                    "-1."
                )
            return self.names[number - 1 if number > 0 else number]
        close = difflib.get_close_matches(name, self.names, 1, 0.6)
        if not self.named:
            hint = f"it has no header, so that columns are numbers, from 1 to {count:,}"
        elif close:
            hint = f"did you mean {close[0]!r}?"
        else:
            shown = ", ".join(" ".join(name.split()) for name in self.names[:8])
            hint = f"its columns are {shown}{', …' if count > 8 else ''}"
        raise ValueError(f"{self.source} has no {what} {name!r}: {hint.rstrip('?')}.")

    def take(self, rows: NDArray[np.int64]) -> Records:
        """Some of the rows."""
        columns = tuple(column[rows] for column in self.columns)
        return Records(self.source, self.names, columns, [self.places[k] for k in rows], self.named, self.unit)


def read_records(
    path: str | os.PathLike[str],
    header: bool | None = None,
    known: Collection[str] = (),
    texts: Collection[str] = (),
) -> Records:
    """Read a table to learn from, or to predict for.

    A column is numbers if all its entries are, as far as they are known; all others are texts. An unnamed first
    column that only numbers or names the rows, as data frames are written with one, is left out, and noted.

    Args:
        path: csv, tsv, txt, dat or data, separated by commas, semicolons, tabs or blanks, with or without a header;
            npy, one array of shape (n, p) or a structured one; npz, arrays of n rows each.
        header: whether the first row of a text file names the columns; by default found out.
        known: names that a header may have.
        texts: columns that are texts even where all entries are numbers.

    Raises: ValueError with one sentence that names the file and what is wrong with it.
    """
    path = Path(path)
    check_readable(path)
    if has_suffix(path, ARRAYS):
        return guarded(path, lambda: _from_arrays(path, texts))
    if has_suffix(path, TEXTS):
        return guarded(path, lambda: _from_text(path, header, known, texts))
    raise ValueError(
        f"{path}: the extension {path.suffix.lower() or '(none)'} is not one of the table formats "
        f"{', '.join(TEXTS + ARRAYS)}; rename or convert it."
    )


def _from_text(path: Path, header: bool | None, known: Collection[str], texts: Collection[str]) -> Records:
    table = read_delimited(path, header, known)
    names = numbered(len(table.columns)) if table.header is None else table.header
    kept = [k for k, name in enumerate(names) if name or any(not is_missing(entry) for entry in table.columns[k])]
    notes: list[str] = []
    if table.header is not None and 0 in kept and not names[0] and _numbers_rows(table.columns[0]):
        kept.remove(0)
        notes.append("Left out: the first column, which has no name and only numbers the rows.")
    named = [names[k] or f"col{k + 1}" for k in kept]
    _check_different(named)
    commas = table.separator == ";"
    columns = [column_of(table.columns[k], name in texts, commas) for k, name in zip(kept, named, strict=True)]
    return Records(str(path), tuple(named), tuple(columns), table.lines, table.header is not None, notes=tuple(notes))


def _from_arrays(path: Path, texts: Collection[str]) -> Records:
    found, columns = read_columns(path)
    names = numbered(len(columns)) if found is None else found
    _check_different(names)
    entries = [words(column) if name in texts else column for name, column in zip(names, columns, strict=True)]
    return Records(str(path), tuple(names), tuple(entries), range(1, len(columns[0]) + 1), found is not None, "row")


def numbered(count: int) -> list[str]:
    """The names of columns that have none."""
    return [f"col{k + 1}" for k in range(count)]


def words(column: Column) -> Column:
    """A column as texts: whole numbers without a point, nothing where nothing is known."""
    if column.dtype.kind != "f":
        return column
    return np.array(["" if np.isnan(v) else word(v) for v in column.tolist()], object)


def word(value: float) -> str:
    """A number as a text that reads back as the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def column_of(entries: Sequence[str], text: bool = False, commas: bool = False) -> Column:
    """Numbers if all entries are, as far as they are known, or else texts.

    Args:
        entries: as they are in the file.
        text: texts in any case.
        commas: whether a comma may be a decimal one.
    """
    if not text:
        for number in (_number, _number_with_comma)[: 1 + commas]:
            try:
                return np.array([np.nan if is_missing(entry) else number(entry) for entry in entries], np.float64)
            except ValueError:
                pass
    return np.array(["" if is_missing(entry) else entry for entry in entries], object)


def _number(entry: str) -> float:
    if "_" in entry:  # 1_000 is a number to Python alone
        raise ValueError(entry)
    return float(entry)


def _number_with_comma(entry: str) -> float:
    return _number(entry.replace(",", ".")) if _DECIMAL_COMMA.fullmatch(entry) else _number(entry)


def _numbers_rows(entries: Sequence[str]) -> bool:
    """Whether entries are consecutive whole numbers, or texts of which no two are alike."""
    try:
        numbers = [int(entry) for entry in entries]
    except ValueError:
        return len(set(entries)) == len(entries) and not any(is_number(entry) for entry in entries)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _check_different(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"its header has more than one column {name!r}")
        seen.add(name)
