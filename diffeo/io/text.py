"""Text files as lines: numbers out of them, and back into the same places."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from diffeo.io.geometry import Array, Ragged, whole

_WORD = re.compile(r"\S+")
_COMMENT = re.compile(r"(?:^|(?<=\s))#")  # not the # of a color such as #ff0000 in a column


def read_lines(path: Path) -> list[str]:
    """The lines of a text file with their ends; bytes that are not UTF-8 survive in comments and names."""
    data = path.read_bytes()
    if b"\0" in data:
        raise ValueError("it holds binary data, and text is expected: the extension may be wrong")
    data = data.removeprefix(b"\xef\xbb\xbf")  # the byte-order mark that spreadsheets write
    return [line.decode("utf-8", "surrogateescape") for line in data.splitlines(keepends=True)]


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """The inverse of ``read_lines``."""
    path.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))


def bare(line: str) -> str:
    """A line without its comment and the blanks around it."""
    return split_comment(line)[0].strip()


def split_comment(line: str) -> tuple[str, str]:
    """A line up to its comment, and from there on."""
    found = _COMMENT.search(line) if "#" in line else None
    end = found.start() if found else len(line)
    return line[:end], line[end:]


def filled(lines: Sequence[str], start: int = 0) -> Iterator[int]:
    """The numbers of the lines from ``start`` on that are not blank or comments."""
    return (k for k in range(start, len(lines)) if bare(lines[k]))


def take(lines: Sequence[str], start: int, count: int, what: str) -> list[int]:
    """The next ``count`` filled lines; ValueError if there are fewer."""
    rows = list(islice(filled(lines, start), count))
    if len(rows) < count:
        raise ValueError(f"it is truncated: the header promises {count} {what}, and {len(rows)} are there")
    return rows


def numbers(
    lines: Sequence[str], rows: Sequence[int], columns: Sequence[int] | None = None, delimiter: str | None = None
) -> Array:
    """The numbers of some lines, float64 of shape (rows, columns); by default all columns, the same number everywhere.

    Raises: ValueError that says which line is not as expected.
    """
    try:
        return loaded(lines, rows, usecols=columns, delimiter=delimiter, quotechar='"')
    except ValueError as error:
        raise ValueError(_complaint(lines, rows, columns, delimiter) or str(error)) from None


def loaded(lines: Sequence[str], rows: Sequence[int], **options: Any) -> Array:
    """``numpy.loadtxt`` of some lines, always as a table."""
    return np.loadtxt([_uncommented(lines[k]) for k in rows], comments=None, ndmin=2, **options)


def _uncommented(line: str) -> str:
    return split_comment(line)[0] if "#" in line else line


def _complaint(
    lines: Sequence[str], rows: Sequence[int], columns: Sequence[int] | None, delimiter: str | None
) -> str | None:
    """What is wrong with a table that could not be read."""
    width = len(fields(lines[rows[0]], delimiter))
    for row in rows:
        entries = fields(lines[row], delimiter)
        if columns is None and len(entries) != width:
            return f"line {row + 1} has {len(entries)} columns, and line {rows[0] + 1} has {width}"
        if columns is not None and len(entries) <= max(columns):
            return f"line {row + 1} has {len(entries)} columns, and at least {max(columns) + 1} are expected"
        for column in range(width) if columns is None else columns:
            if not is_number(entries[column]):
                return f"line {row + 1}, column {column + 1}: {entries[column]!r} is not a number"
    return None


def fields(line: str, delimiter: str | None) -> list[str]:
    """The entries of a line."""
    content = bare(line)
    if delimiter is None:
        return content.split()
    if '"' in content:
        return next(csv.reader([content], delimiter=delimiter, skipinitialspace=True))
    return [entry.strip() for entry in content.split(delimiter)]


def is_number(entry: str) -> bool:
    """Whether ``float`` reads it (NaN and infinities included)."""
    try:
        float(entry)
    except ValueError:
        return False
    return True


def lists(lines: Sequence[str], rows: Sequence[int]) -> Ragged:
    """Lists of integers, one a line, as ``length entry entry ...``; what follows on a line is ignored."""
    if not rows:
        return Ragged(np.zeros(0, np.int64), np.zeros(0, np.int64))
    try:
        table = loaded(lines, rows)
        size = int(table[0, 0])
        if (table[:, 0] == size).all() and 0 <= size < table.shape[1]:
            return Ragged(whole(table[:, 1 : 1 + size].ravel()), np.full(len(rows), size))
    except (ValueError, OverflowError):
        pass  # lines of different lengths, or something wrong, which is said below
    entries = [_list(bare(lines[k]).split(), k) for k in rows]
    return Ragged(np.concatenate(entries), np.array([len(e) for e in entries]))


def _list(words: list[str], row: int) -> Array:
    """One list; it must be as long as it says."""
    try:
        size = int(words[0])
        entries = np.array([int(word) for word in words[1 : 1 + size]], np.int64)
    except ValueError:
        raise ValueError(f"line {row + 1} is not a list of integers: {' '.join(words)[:60]!r}") from None
    if len(entries) != size:
        raise ValueError(f"line {row + 1} promises {size} corners and has {len(entries)}")
    return entries


def formatted(x: Array) -> list[list[str]]:
    """Numbers as the shortest texts that read back as the same numbers, in the precision of x."""
    if x.dtype == np.float32:
        return x.astype(str).tolist()
    return [[repr(value) for value in row] for row in x.astype(np.float64).tolist()]


def substitute(
    lines: list[str], rows: Sequence[int], columns: Sequence[int], x: Array, delimiter: str | None = None
) -> None:
    """Put the numbers x, shape (rows, columns), in the place of some entries of some lines; all else stays."""
    order = np.argsort(columns)
    columns = [columns[k] for k in order]
    put = _put_words if delimiter is None else _put_fields
    for row, values in zip(rows, formatted(x[:, order]), strict=True):
        body, comment = split_comment(lines[row])
        lines[row] = put(body, columns, values, delimiter or "") + comment


def _put_words(body: str, columns: Sequence[int], values: list[str], _: str) -> str:
    words = list(islice(_WORD.finditer(body), columns[-1] + 1))
    pieces, end = [], 0
    for column, value in zip(columns, values, strict=True):
        pieces += [body[end : words[column].start()], value]
        end = words[column].end()
    return "".join([*pieces, body[end:]])


def _put_fields(body: str, columns: Sequence[int], values: list[str], delimiter: str) -> str:
    content = body.rstrip("\r\n")
    quoted = '"' in content
    entries = next(csv.reader([content], delimiter=delimiter)) if quoted else content.split(delimiter)
    for column, value in zip(columns, values, strict=True):
        old = entries[column]
        entries[column] = old[: len(old) - len(old.lstrip())] + value
    return (joined(entries, delimiter) if quoted else delimiter.join(entries)) + body[len(content) :]


def joined(entries: Sequence[str], delimiter: str) -> str:
    """Entries as one line, quoted where they must be."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(entries)
    return out.getvalue()
