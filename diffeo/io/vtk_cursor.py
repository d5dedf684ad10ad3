"""Going through a legacy VTK file: lines, and blocks of numbers, ascii or binary."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from diffeo.io.geometry import Array, whole

_NAMES = {
    "i1": ("char", "signed_char"),
    "u1": ("unsigned_char",),
    "i2": ("short",),
    "u2": ("unsigned_short",),
    "i4": ("int", "vtkidtype"),
    "u4": ("unsigned_int",),
    "i8": ("long", "vtktypeint64"),
    "u8": ("unsigned_long", "vtktypeuint64"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPES = {name: code for code, names in _NAMES.items() for name in names}
# a line that begins with a letter ends a block of numbers, unless the word is itself a number
_KEYWORD = re.compile(rb"^[ \t]*(?!nan\b|inf\b|infinity\b)[A-Za-z_]", re.IGNORECASE | re.MULTILINE)


@dataclass
class Block:
    """An array and where in the file it is."""

    values: Array
    start: int
    end: int
    dtype: np.dtype


class Unknown(Exception):
    """An attribute of a kind that is not read here."""


class Cursor:
    """A position in the file: lines and arrays from there on."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position, self.binary = data, 0, False

    def line(self) -> str:
        """The rest of the current line; move to the next."""
        end = self.data.find(b"\n", self.position)
        end = len(self.data) if end < 0 else end
        line = self.data[self.position : end]
        self.position = end + 1
        return line.decode("latin-1").strip()

    def filled_line(self) -> str:
        """The next line that is not blank; empty at the end of the file."""
        while self.position < len(self.data):
            if line := self.line():
                return line
        return ""

    def skip(self, keyword: str) -> bool:
        """Skip the next filled line if it begins with a keyword."""
        mark = self.position
        if self.filled_line().upper().startswith(keyword):
            return True
        self.position = mark
        return False

    def block(self, count: int, kind: str, what: str) -> Block:
        """The next ``count`` numbers."""
        if kind.lower() not in _TYPES:
            raise Unknown(f"its {what} are of type {kind!r}, which is not supported")
        dtype = np.dtype(_TYPES[kind.lower()])
        return self._binary_block(count, dtype, what) if self.binary else self._ascii_block(count, dtype, what)

    def _binary_block(self, count: int, dtype: np.dtype, what: str) -> Block:
        start, stored = self.position, dtype.newbyteorder(">")
        self.position = end = start + count * dtype.itemsize
        if end > len(self.data):
            raise _truncated(what, count, max(len(self.data) - start, 0) // dtype.itemsize)
        return Block(np.frombuffer(self.data, stored, count, start).astype(dtype), start, end, stored)

    def _ascii_block(self, count: int, dtype: np.dtype, what: str) -> Block:
        start = self.position
        stop = _KEYWORD.search(self.data, start)
        self.position = stop.start() if stop else len(self.data)
        content = self.data[start : self.position].rstrip()
        words = content.split()
        if len(words) < count:
            raise _truncated(what, count, len(words))
        if len(words) > count:
            raise ValueError(f"it has {len(words)} {what}, and {count} are promised: it is damaged")
        try:
            values = np.array(words, np.float64)
        except ValueError:
            raise ValueError(f"its {what} are not all numbers") from None
        return Block(values if dtype.kind == "f" else whole(values, dtype), start, start + len(content), dtype)


def _truncated(what: str, count: int, there: int) -> ValueError:
    return ValueError(f"it is truncated: {count} {what} are promised, and {there} are there")
