"""Tables of points as text: xyz, txt and csv."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffeo.io import text
from diffeo.io.geometry import Array, Format, Geometry, scalar_columns, whole

_AXES = ("x", "y", "z")
_NEXT, _ID = "next", "id"


class TextTable(Format):
    """One point a row, separated by blanks or (csv) by commas or semicolons; ``#`` begins a comment.

    Without a header there are two or three columns, the coordinates. With one (also a commented one, as
    ``numpy.savetxt`` writes it), the columns named x, y and perhaps z are the coordinates, and the others are
    attributes. A column named ``next`` makes a curve: it holds the row (from 0) to which the point is joined, or -1.
    The column named id, or without one a first column that has no name (an index, as spreadsheets and pandas write
    it), is the attribute ``id``, which says which point is which: ``,X,Y`` is a header of landmarks.
    """

    suffixes = (".xyz", ".txt", ".csv")

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        lines = text.read_lines(path)
        layout = _layout(lines)
        if layout.names is None:
            return Geometry(text.numbers(lines, layout.rows, None, layout.delimiter))
        columns = _columns(lines, layout)
        x = np.stack([_numeric(columns[k], layout, k) for k in layout.axes], 1)
        others = {name: columns[k] for k, name in enumerate(_named(layout.names)) if k not in layout.axes}
        attributes = {name: _number_or_text(column) for name, column in others.items() if name != _NEXT}
        if _ID in attributes:
            attributes[_ID] = _whole_or_same(attributes[_ID])
        at = layout.names.index(_NEXT) if _NEXT in layout.names else None
        edges = None if at is None else _joined(_numeric(columns[at], layout, at))
        return Geometry(x, edges=edges, attributes=attributes)

    def write(self, path: Path, geometry: Geometry) -> None:
        """All digits. A csv file gets a header; the others only if there are attributes or edges."""
        if geometry.faces is not None:
            raise ValueError("tables hold points and curves, not surfaces: write to .ply, .vtk or .npz")
        if geometry.x.shape[1] > len(_AXES):
            raise ValueError(f"the points have {geometry.x.shape[1]} dimensions, and tables hold 2 or 3: write to .npz")
        extra = _extra_columns(geometry, texts=path.suffix.lower() == ".csv")
        names = [*_AXES[: geometry.x.shape[1]], *extra]
        rows = zip(text.formatted(geometry.x), *(c.tolist() for c in extra.values()), strict=True)
        entries = [[*point, *map(str, others)] for point, *others in rows]
        if path.suffix.lower() == ".csv":
            lines = [text.joined(row, ",") for row in itertools.chain([names], entries)]
        else:
            lines = [" ".join(row) for row in entries]
            lines = ["# " + " ".join(name.replace(" ", "_") for name in names), *lines] if extra else lines
        text.write_lines(path, [line + "\n" for line in lines])

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """A copy of the file ``like`` with its points at x: same header, comments, separators and further columns."""
        lines = text.read_lines(like)
        layout = _layout(lines)
        text.substitute(lines, layout.rows, layout.axes or range(x.shape[1]), x, layout.delimiter)
        text.write_lines(path, lines)


@dataclass
class _Layout:
    """How a table is laid out."""

    rows: list[int]
    """The lines with data."""
    names: list[str] | None
    """The header, in lower case for the names that have a meaning; None without one."""
    axes: list[int]
    """The columns of the coordinates, if there is a header."""
    delimiter: str | None


def _layout(lines: list[str]) -> _Layout:
    """Find the header, the separator and the coordinates."""
    rows = list(text.filled(lines))
    if not rows:
        raise ValueError("it has no points")
    delimiter = next((d for d in (",", ";") if d in text.bare(lines[rows[0]])), None)
    first = text.fields(lines[rows[0]], delimiter)
    if all(text.is_number(entry) for entry in first):
        names = _commented_header(lines, rows[0], len(first), delimiter)
    elif _starts_like_points(first) or not any(entry.lower() in _AXES for entry in first):
        raise ValueError(_no_header(first, rows[0]))
    else:
        names, rows = [_known(entry) for entry in first], rows[1:]
    if not rows:
        raise ValueError("it has a header and no points")
    if names is None:
        _check_count(len(first))
        return _Layout(rows, None, [], delimiter)
    return _Layout(rows, names, _axes(names), delimiter)


def _known(name: str) -> str:
    return name.lower() if name.lower() in (*_AXES, _NEXT) else name


def _starts_like_points(first: list[str]) -> bool:
    return sum(text.is_number(entry) for entry in first) >= 2


def _no_header(first: list[str], row: int) -> str:
    shown = ", ".join(first)[:80]
    return f"line {row + 1} is neither numbers nor a header with columns x and y (and z), but {shown!r}"


def _commented_header(lines: list[str], first: int, width: int, delimiter: str | None) -> list[str] | None:
    """The last comment before the data, if it names the columns."""
    comments = [line.strip().lstrip("# \t") for line in lines[:first] if line.lstrip().startswith("#")]
    if not comments:
        return None
    separated = delimiter if delimiter and delimiter in comments[-1] else None
    names = [_known(entry) for entry in text.fields(comments[-1], separated)]
    return names if len(names) == width and {"x", "y"} <= set(names) else None


def _check_count(width: int) -> None:
    if width in (2, 3):
        return
    if width == 1:
        raise ValueError("it has 1 column, and 2 or 3 (the coordinates) are expected")
    raise ValueError(
        f"it has {width} columns and no header, and 2 or 3 columns (the coordinates) are expected: "
        "remove the others, or add a first line that names the columns x, y and perhaps z"
    )


def _axes(names: list[str]) -> list[int]:
    """The columns named x, y and perhaps z."""
    doubled = [name for name in set(names) if name and names.count(name) > 1]
    if doubled:
        raise ValueError(f"its header has more than one column {sorted(doubled)[0]!r}")
    if not {"x", "y"} <= set(names):
        raise ValueError(f"its header names no columns x and y, but {', '.join(names)}")
    return [names.index(axis) for axis in _AXES if axis in names]


def _columns(lines: list[str], layout: _Layout) -> list[Array]:
    """The columns, as numbers if all of them are and as texts otherwise."""
    assert layout.names is not None
    try:
        table = text.loaded(lines, layout.rows, delimiter=layout.delimiter, quotechar='"')
        if table.shape[1] == len(layout.names):
            return list(table.T)
    except ValueError:
        pass
    entries = [text.fields(lines[row], layout.delimiter) for row in layout.rows]
    for row, entry in zip(layout.rows, entries, strict=True):
        if len(entry) != len(layout.names):
            raise ValueError(f"line {row + 1} has {len(entry)} columns, and the header has {len(layout.names)}")
    return [np.array(column) for column in zip(*entries, strict=True)]


def _numeric(column: Array, layout: _Layout, k: int) -> Array:
    """A column that has to be numbers."""
    if column.dtype.kind == "f":
        return column
    for row, entry in zip(layout.rows, column.tolist(), strict=True):
        if not text.is_number(entry):
            raise ValueError(f"line {row + 1}, column {k + 1}: {entry!r} is not a number")
    return column.astype(np.float64)


def _number_or_text(column: Array) -> Array:
    if column.dtype.kind == "f" or not all(text.is_number(entry) for entry in column.tolist()):
        return column
    return column.astype(np.float64)


def _named(names: list[str]) -> list[str]:
    """What the columns are called as attributes."""
    ids = [k for k, name in enumerate(names) if name.lower() == _ID] or [0] * (not names[0])
    named = [name or f"column_{k}" for k, name in enumerate(names)]
    if len(ids) == 1:
        named[ids[0]] = _ID
    return named


def _whole_or_same(column: Array) -> Array:
    """Ids that are whole numbers as integers, so that they are written as they were read."""
    return column.astype(np.int64) if column.dtype.kind == "f" and (column == np.rint(column)).all() else column


def _joined(following: Array) -> Array:
    """The segments of a column ``next``, in the order of the rows."""
    try:
        rows = whole(following)
    except ValueError as error:
        raise ValueError(f"its column 'next' must hold row numbers from 0, or -1 for none: {error}") from None
    starts = np.flatnonzero(rows != -1)
    return np.stack([starts, rows[starts]], 1)


def _extra_columns(geometry: Geometry, texts: bool) -> dict[str, Array]:
    """The attributes, and the column ``next`` of a curve."""
    columns = {} if geometry.edges is None else {_NEXT: _following(geometry.edges, len(geometry.x))}
    columns |= scalar_columns(geometry.attributes)
    if texts:
        columns |= {k: v for k, v in geometry.attributes.items() if v.dtype.kind == "U" and v.ndim == 1}
    return {name: values for name, values in columns.items() if name not in _AXES}


def _following(edges: Array, n: int) -> Array:
    following = np.full(n, -1)
    following[edges[:, 0]] = edges[:, 1]
    if (following >= 0).sum() != len(edges):
        raise ValueError("a table holds curves with at most one segment starting at each point: write to .vtk or .npz")
    return following
