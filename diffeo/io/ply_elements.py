"""The tables inside a PLY file: the header that describes them, and their bytes or lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from diffeo.io import text
from diffeo.io.geometry import Array, Ragged, whole

_NAMES = {
    "i1": ("char", "int8"),
    "u1": ("uchar", "uint8"),
    "i2": ("short", "int16"),
    "u2": ("ushort", "uint16"),
    "i4": ("int", "int32"),
    "u4": ("uint", "uint32"),
    "i8": ("int64",),
    "u8": ("uint64",),
    "f4": ("float", "float32"),
    "f8": ("double", "float64"),
}
_TYPES = {name: code for code, names in _NAMES.items() for name in names}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class Property:
    """A column: a number, or a list of numbers if ``size`` names the type of its length."""

    name: str
    dtype: str
    size: str | None = None


@dataclass
class Element:
    """A table: its name, its number of rows and its columns."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)


@dataclass
class Header:
    """What the file says it holds. ``order`` is the byte order, or empty for ascii; ``end`` is where the data start."""

    order: str
    elements: list[Element]
    end: int
    lines: int


@dataclass
class Table:
    """The content of an element, and where in the file it is: a byte offset (binary) or line numbers (ascii)."""

    count: int
    values: dict[str, Array]
    lists: dict[str, Ragged]
    dtype: np.dtype | None = None
    offset: int = 0
    rows: Sequence[int] = ()


def parse_header(data: bytes) -> Header:
    """The header of a PLY file."""
    if data[:3] != b"ply":
        raise ValueError("it is not a PLY file: the first line is not 'ply'")
    mark = data.find(b"end_header")
    end = data.find(b"\n", mark) + 1
    if mark < 0 or end == 0:
        raise ValueError("it is truncated: its header has no end")
    lines = [line.decode("latin-1") for line in data[:end].splitlines()]
    order, elements = None, []
    for line in lines:
        words = line.split()
        if words[:1] == ["format"]:
            order = _ORDERS.get(words[1] if len(words) > 1 else "")
        elif words[:1] == ["element"]:
            elements.append(_element(words))
        elif words[:1] == ["property"]:
            if not elements:
                raise ValueError(f"its header has a property before any element: {line!r}")
            elements[-1].properties.append(_property(words))
    if order is None:
        raise ValueError(f"its header has no line 'format' with one of {', '.join(_ORDERS)}")
    return Header(order, elements, end, len(lines))


def _element(words: list[str]) -> Element:
    if len(words) != 3 or not words[2].isdigit():
        raise ValueError(f"its header has a line that is not 'element NAME COUNT': {' '.join(words)!r}")
    return Element(words[1], int(words[2]))


def _property(words: list[str]) -> Property:
    is_list = words[1:2] == ["list"]
    types = words[2:4] if is_list else words[1:2]
    if len(words) != (5 if is_list else 3) or not all(kind in _TYPES for kind in types):
        raise ValueError(f"its header has a property that is not understood: {' '.join(words)!r}")
    return Property(words[-1], _TYPES[types[-1]], _TYPES[types[0]] if is_list else None)


def read_binary(header: Header, data: bytes) -> dict[str, Table]:
    """All elements of a binary file."""
    tables, offset = {}, header.end
    for element in header.elements:
        tables[element.name], offset = _binary_table(element, data, offset, header.order)
    return tables


def _binary_table(element: Element, data: bytes, offset: int, order: str) -> tuple[Table, int]:
    """One element and the offset where it ends; quick if all lists of a column have the length of the first one."""
    sizes = _first_sizes(element, data, offset, order)
    dtype = _row_type(element, sizes, order)
    end = offset + element.count * dtype.itemsize
    if end > len(data):
        if sizes and element.count:
            return _row_by_row(element, data, offset, order)
        there = (len(data) - offset) // dtype.itemsize
        raise _truncated(element, there)
    rows = np.frombuffer(data, dtype, element.count, offset)
    if any((rows[f"{name} size"] != size).any() for name, size in sizes.items()):
        return _row_by_row(element, data, offset, order)
    values = {p.name: rows[p.name] for p in element.properties if p.size is None}
    lists = {name: Ragged(rows[name].ravel(), np.full(element.count, size)) for name, size in sizes.items()}
    return Table(element.count, values, lists, dtype, offset), end


def _truncated(element: Element, there: int) -> ValueError:
    return ValueError(
        f"it is truncated: the header promises {element.count} rows of element {element.name!r}, and {there} are there"
    )


def _row_type(element: Element, sizes: dict[str, int], order: str) -> np.dtype:
    """A row as one record, for lists of the given lengths."""
    fields: list[tuple] = []
    for p in element.properties:
        if p.size is None:
            fields.append((p.name, order + p.dtype))
        else:
            fields += [(f"{p.name} size", order + p.size), (p.name, order + p.dtype, (sizes[p.name],))]
    return np.dtype(fields)


def _first_sizes(element: Element, data: bytes, offset: int, order: str) -> dict[str, int]:
    """The lengths of the lists in the first row."""
    if not element.count:
        return {p.name: 0 for p in element.properties if p.size}
    values, _ = _row(element, data, offset, order, 0)
    return {p.name: len(v) for p, v in zip(element.properties, values, strict=True) if p.size}


def _row(element: Element, data: bytes, offset: int, order: str, done: int) -> tuple[list[Array], int]:
    """One row, property by property, and the offset where it ends."""
    values: list[Array] = []
    try:
        for p in element.properties:
            count = 1
            if p.size is not None:
                count = int(np.frombuffer(data, order + p.size, 1, offset)[0])
                offset += np.dtype(p.size).itemsize
            values.append(np.frombuffer(data, order + p.dtype, count, offset) if count else np.zeros(0, p.dtype))
            offset += count * np.dtype(p.dtype).itemsize
    except ValueError:
        raise _truncated(element, done) from None
    return values, offset


def _row_by_row(element: Element, data: bytes, offset: int, order: str) -> tuple[Table, int]:
    """One element whose lists differ in length."""
    start, columns = offset, [[] for _ in element.properties]
    for k in range(element.count):
        values, offset = _row(element, data, offset, order, k)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return Table(element.count, *_split(element, columns), offset=start), offset


def _split(element: Element, columns: list[list[Array]]) -> tuple[dict[str, Array], dict[str, Ragged]]:
    """The columns of numbers and the columns of lists."""
    values: dict[str, Array] = {}
    lists: dict[str, Ragged] = {}
    for p, column in zip(element.properties, columns, strict=True):
        flat = np.concatenate(column) if column else np.zeros(0, p.dtype)
        if p.size is None:
            values[p.name] = flat
        else:
            lists[p.name] = Ragged(flat, np.array([len(v) for v in column], np.int64))
    return values, lists


def read_ascii(header: Header, lines: list[str]) -> dict[str, Table]:
    """All elements of an ascii file, one row a line."""
    tables, start = {}, header.lines
    for element in header.elements:
        rows = text.take(lines, start, element.count, f"rows of element {element.name!r}")
        start = rows[-1] + 1 if rows else start
        tables[element.name] = _ascii_table(element, lines, rows)
    return tables


def _ascii_table(element: Element, lines: list[str], rows: list[int]) -> Table:
    properties = element.properties
    if not rows:
        columns = [[] for _ in properties]
    elif all(p.size is None for p in properties):
        table = text.numbers(lines, rows, range(len(properties)))
        columns = [[_typed(column, p)] for p, column in zip(properties, table.T, strict=True)]
    elif len(properties) == 1:
        lists = text.lists(lines, rows)
        return Table(len(rows), {}, {properties[0].name: lists}, rows=rows)
    else:
        columns = list(zip(*(_ascii_row(properties, lines[k], k) for k in rows), strict=True))
    return Table(len(rows), *_split(element, [list(c) for c in columns]), rows=rows)


def _typed(column: Array, p: Property) -> Array:
    """Integers as declared; all digits of the others, even where the header says float."""
    return column if p.dtype[0] == "f" else whole(column, np.dtype(p.dtype))


def _ascii_row(properties: list[Property], line: str, number: int) -> list[Array]:
    """One line with lists among its columns."""
    words, values = line.split(), []
    try:
        for p in properties:
            count = 1 if p.size is None else int(words.pop(0))
            values.append(_typed(np.array([float(word) for word in words[:count]]), p))
            if len(values[-1]) != count:
                raise ValueError
            del words[:count]
    except (ValueError, IndexError):
        raise ValueError(f"line {number + 1} does not hold what the header says: {line.strip()[:60]!r}") from None
    return values
