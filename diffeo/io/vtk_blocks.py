"""What a legacy VTK file holds: keywords, and the blocks that follow them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

import numpy as np

from diffeo.io.geometry import Array, Ragged
from diffeo.io.vtk_cursor import Block, Cursor, Unknown

_DATASETS = ("POLYDATA", "UNSTRUCTURED_GRID")


@dataclass
class Content:
    """What was found."""

    binary: bool
    points: Block = field(default_factory=lambda: Block(np.zeros((0, 3)), 0, 0, np.dtype("f8")))
    cells: dict[str, Ragged] = field(default_factory=dict)
    cell_types: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    point_data: dict[str, Array] = field(default_factory=dict)
    normals: Block | None = None


def parse(data: bytes) -> Content:
    """The content of a legacy file of polygonal data or of an unstructured grid.

    Raises: ValueError with the reason if it is not such a file, or truncated.
    """
    return _Parser(data).content()


class _Parser:
    """What to do at each keyword."""

    def __init__(self, data: bytes) -> None:
        if not data.startswith(b"# vtk DataFile"):
            raise ValueError("it is not a legacy VTK file: the first line is not '# vtk DataFile Version ...'")
        self.cursor = Cursor(data)
        self.cursor.line()  # the version
        self.cursor.line()  # a title
        encoding = self.cursor.line().upper()
        if encoding not in ("ASCII", "BINARY"):
            raise ValueError(f"its third line is {encoding[:40]!r}, and ASCII or BINARY is expected")
        self.cursor.binary = encoding == "BINARY"
        self.found = Content(encoding == "BINARY")
        self.count = -1  # tuples of the attributes that follow
        self.of_points = False

    def content(self) -> Content:
        """Go through the file."""
        try:
            while line := self.cursor.filled_line():
                self._act(line)
        except Unknown as unknown:
            if self.count < 0:
                raise ValueError(str(unknown)) from None  # otherwise the shape is complete, and the rest can be skipped
        if not len(self.found.points.values):
            raise ValueError("it has no points, or is truncated before them")
        return self.found

    def _act(self, line: str) -> None:
        keyword, *words = line.split()
        action = _ACTIONS.get(keyword.upper())
        if action is None:
            raise Unknown(f"it has {line[:60]!r} where a keyword is expected: it is damaged")
        try:
            action(self, keyword.upper(), words)
        except IndexError:
            raise ValueError(f"the line {line[:60]!r} is not as the format wants it") from None

    def dataset(self, _: str, words: list[str]) -> None:
        if words[0].upper() not in _DATASETS:
            raise ValueError(
                f"it holds a {words[0]}, and {' or '.join(_DATASETS)} is expected: extract the surface first"
            )

    def points(self, _: str, words: list[str]) -> None:
        block = self.cursor.block(3 * _count(words[0]), words[1], "coordinates")
        block.values = block.values.reshape(-1, 3)
        self.found.points = block

    def cells(self, keyword: str, words: list[str]) -> None:
        m, size = _count(words[0]), _count(words[1])
        if self.cursor.skip("OFFSETS"):  # version 5.1
            sizes = np.diff(self.cursor.block(m, "vtktypeint64", f"offsets of {keyword}").values)
            self.cursor.skip("CONNECTIVITY")
            flat = self.cursor.block(size, "vtktypeint64", f"entries of {keyword}").values
        else:
            flat, sizes = _split_sizes(self.cursor.block(size, "int", f"entries of {keyword}").values, m, keyword)
        if (sizes < 0).any() or sizes.sum() != len(flat):
            raise _inconsistent(keyword)
        if len(sizes):
            self.found.cells[keyword] = Ragged(flat.astype(np.int64), sizes.astype(np.int64))

    def cell_types(self, _: str, words: list[str]) -> None:
        self.found.cell_types = self.cursor.block(_count(words[0]), "int", "cell types").values.astype(np.int64)

    def begin_data(self, keyword: str, words: list[str]) -> None:
        self.count, self.of_points = _count(words[0]), keyword == "POINT_DATA"

    def scalars(self, _: str, words: list[str]) -> None:
        self.cursor.skip("LOOKUP_TABLE")
        self._attribute(words[0], _count(words[2]) if len(words) > 2 else 1, words[1])

    def color_scalars(self, _: str, words: list[str]) -> None:
        self._attribute(words[0], _count(words[1]), "unsigned_char" if self.found.binary else "float")

    def lookup_table(self, _: str, words: list[str]) -> None:
        self.cursor.block(4 * _count(words[1]), "unsigned_char" if self.found.binary else "float", "colors")

    def vectors(self, keyword: str, words: list[str]) -> None:
        block = self._attribute(words[0], 9 if keyword == "TENSORS" else 3, words[1])
        if keyword == "NORMALS" and self.of_points:
            block.values = block.values.reshape(-1, 3)
            self.found.normals = block

    def texture_coordinates(self, _: str, words: list[str]) -> None:
        self._attribute(words[0], _count(words[1]), words[2])

    def field(self, _: str, words: list[str]) -> None:
        for _k in range(_count(words[1])):
            while (line := self.cursor.filled_line()).startswith("METADATA"):
                self.metadata("", [])
            if not line:
                raise ValueError("it is truncated: the arrays of a FIELD are not all there")
            name, components, tuples, kind = [*line.split(), "", "", ""][:4]
            block = self.cursor.block(_count(components) * _count(tuples), kind, f"values of {name!r}")
            if int(tuples) == self.count:
                self._keep(name, block, int(components))

    def metadata(self, _: str, __: list[str]) -> None:
        while self.cursor.line():
            pass

    def _attribute(self, name: str, components: int, kind: str) -> Block:
        block = self.cursor.block(max(self.count, 0) * components, kind, f"values of {name!r}")
        self._keep(name, block, components)
        return block

    def _keep(self, name: str, block: Block, components: int) -> None:
        if self.of_points and self.count == len(self.found.points.values):
            values = block.values if components == 1 else block.values.reshape(-1, components)
            self.found.point_data[unquote(name)] = values


_ACTIONS: dict[str, Callable[[_Parser, str, list[str]], None]] = {
    "DATASET": _Parser.dataset,
    "POINTS": _Parser.points,
    "CELL_TYPES": _Parser.cell_types,
    **dict.fromkeys(("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS", "CELLS"), _Parser.cells),
    **dict.fromkeys(("POINT_DATA", "CELL_DATA"), _Parser.begin_data),
    "SCALARS": _Parser.scalars,
    "COLOR_SCALARS": _Parser.color_scalars,
    "LOOKUP_TABLE": _Parser.lookup_table,
    **dict.fromkeys(("VECTORS", "NORMALS", "TENSORS"), _Parser.vectors),
    "TEXTURE_COORDINATES": _Parser.texture_coordinates,
    "FIELD": _Parser.field,
    "METADATA": _Parser.metadata,
}


def _count(word: str) -> int:
    """A number of things, in a header line."""
    if not word.isdigit():
        raise ValueError(f"it has {word!r} where a number is expected: it is damaged")
    return int(word)


def _inconsistent(keyword: str) -> ValueError:
    return ValueError(f"the sizes of its {keyword} do not add up: it is damaged")


def _split_sizes(entries: Array, m: int, keyword: str) -> tuple[Array, Array]:
    """Lists stored as ``size entry entry ...``, one after the other."""
    uniform = len(entries) // m if m else 0
    if m and len(entries) == m * uniform and (entries[::uniform] == uniform - 1).all():
        return entries.reshape(m, uniform)[:, 1:].ravel(), np.full(m, uniform - 1)
    starts, position = [], 0
    for _ in range(m):
        if position >= len(entries) or entries[position] < 0:
            raise _inconsistent(keyword)
        starts.append(position)
        position += 1 + int(entries[position])
    keep = np.ones(len(entries), bool)
    keep[starts] = False
    return entries[keep], entries[starts]
