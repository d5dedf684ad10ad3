"""Text files with one record a row: the separator, the header and the entries, as texts."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

SEPARATORS = ("\t", ";", ",")
"""In the order in which they are tried: where semicolons separate, commas may be decimal ones."""
BLANKS = " "
SAMPLE = 20  # rows that the separator is told from
MISSING = frozenset({"", "na", "n/a", "nan", "null", "?", "#n/a", "<na>"})
"""How tables say, in any case, that something is not known."""


@dataclass(frozen=True)
class Delimited:
    """The entries of a text table.

    Attributes:
        header: the names of the columns; None without a header.
        columns: the entries, column by column, without the blanks around them.
        lines: in which line of the file each row begins, counted from 1.
        separator: what separates entries; a blank for any number of blanks and tabs.
    """

    header: list[str] | None
    columns: list[list[str]]
    lines: list[int]
    separator: str


def read_delimited(path: Path, header: bool | None = None, known: Collection[str] = ()) -> Delimited:
    """Read a text table, separated by tabs, semicolons, commas or blanks; ``"`` quotes.

    Comments (#) may stand above the table; the last of them is the header if it has as many entries as the rows.

    Args:
        path: the file: UTF-8, UTF-16 with its mark, or Latin-1.
        header: whether the first row names the columns; by default found out: it does if none of its entries is a
            number, or if one is a text above numbers.
        known: names that a header may have: a first row with one of them is one.

    Raises: ValueError that says what is wrong, and in which line.
    """
    text = _text(path.read_bytes())
    comments, body, offset = _without_comments(text)
    separator = _separator(body)
    rows, lines = _rows(body, separator, offset)
    if not rows:
        raise ValueError("it has no rows")
    above = _commented(comments, separator, len(rows[0]))
    if header is None:
        header = above is None and _is_header(rows, known)
    names = above
    if header:
        names, rows, lines = [entry.strip() for entry in rows[0]], rows[1:], lines[1:]
        if not rows:
            raise ValueError("it has a header and no rows")
    width = len(rows[0])
    if names is not None and len(names) == width - 1:
        names = _completed(names, rows)
    _check_widths(rows, lines, None if names is None else len(names))
    columns = [[entry.strip() for entry in column] for column in zip(*rows, strict=True)]
    return Delimited(names, columns, lines, separator)


def is_missing(entry: str) -> bool:
    """Whether an entry says that something is not known."""
    return len(entry) < 6 and entry.lower() in MISSING


def is_number(entry: str) -> bool:
    """Whether an entry is a number; unlike ``float``, without underscores."""
    try:
        float(entry)
    except ValueError:
        return False
    return "_" not in entry


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # what Excel calls Unicode text
        text = data.decode("utf-16", "replace")
    elif b"\0" in data:
        raise ValueError("it holds binary data, and text is expected: the extension may be wrong")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _without_comments(text: str) -> tuple[list[str], str, int]:
    """The comments at the top, what follows, and how many lines are above that."""
    lines = text.split("\n")
    first = next((k for k, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if first is None:
        return [], "", 0
    comments = [line.strip().lstrip("# \t") for line in lines[:first] if line.strip()]
    return comments, "\n".join(lines[first:]), first


def _separator(body: str) -> str:
    """The first separator that cuts all of the first rows into equally many entries, or else the most frequent one."""
    found: dict[str, list[int]] = {}
    for separator in (*SEPARATORS, BLANKS):
        try:
            sample = [len(row) for row in islice(_reader(body, separator), SAMPLE) if row]
        except csv.Error:
            continue
        if sample and min(sample) == max(sample) > 1:
            return separator
        found[separator] = sample
    most = max(found, key=lambda s: sum(found[s]) if s != BLANKS else 0, default=",")
    return most if sum(found.get(most, [])) > len(found.get(most, [])) else ","


def _reader(body: str, separator: str):
    source = io.StringIO(body)
    if separator == BLANKS:
        return csv.reader(
            (line.replace("\t", " ").strip() for line in source), delimiter=" ", skipinitialspace=True, strict=True
        )
    return csv.reader(source, delimiter=separator, skipinitialspace=separator != "\t", strict=True)


def _rows(body: str, separator: str, offset: int) -> tuple[list[list[str]], list[int]]:
    """The rows that are not blank, and the lines in which they begin."""
    rows: list[list[str]] = []
    lines: list[int] = []
    reader, line = _reader(body, separator), 0
    try:
        for row in reader:
            if any(row) or len(row) > 1:  # only separators: nothing, at the end of a table; missing values above it
                rows.append(row)
                lines.append(offset + line + 1)
            line = reader.line_num
    except csv.Error as error:
        reason = "a quote is not closed" if "end of data" in str(error) else str(error)
        raise ValueError(f"line {offset + line + 1}: {reason}") from None
    while rows and not any(entry.strip() for entry in rows[-1]):
        rows.pop()
        lines.pop()
    return rows, lines


def _commented(comments: Sequence[str], separator: str, width: int) -> list[str] | None:
    """The last comment above a table, if it names its columns."""
    if not comments:
        return None
    inside = separator if separator in comments[-1] else BLANKS
    try:
        names = [entry.strip() for entry in next(_reader(comments[-1], inside), [])]
    except csv.Error:
        return None
    return names if len(names) == width > 1 and not any(is_number(name) for name in names) else None


def _is_header(rows: list[list[str]], known: Collection[str]) -> bool:
    first = [entry.strip() for entry in rows[0]]
    if any(entry in known for entry in first if entry):
        return True
    texts = [not is_number(entry) and not is_missing(entry) for entry in first]
    if all(text or not entry for text, entry in zip(texts, first, strict=True)) and any(texts):
        return True
    return any(text and _numbers_below(rows, k) for k, text in enumerate(texts))


def _numbers_below(rows: list[list[str]], column: int) -> bool:
    """Whether what is below the first row of a column is numbers, as far as it is known."""
    below = [row[column].strip() for row in rows[1:] if column < len(row)]
    given = [entry for entry in below if not is_missing(entry)]
    return bool(given) and all(is_number(entry) for entry in given)


def _completed(names: list[str], rows: list[list[str]]) -> list[str]:
    """A header that is one name short: the last column is empty, or the first one is an index, as R writes it."""
    return [*names, ""] if not any(row[-1].strip() for row in rows) else ["", *names]


def _check_widths(rows: list[list[str]], lines: list[int], header: int | None) -> None:
    width = len(rows[0]) if header is None else header
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            than = "the header" if header is not None else f"line {lines[0]}"
            raise ValueError(f"line {line} has {_entries(len(row))}, and {than} has {width}")


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
