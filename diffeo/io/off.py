"""OFF files: meshes and point clouds as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffeo.io import text
from diffeo.io.geometry import Array, Format, Geometry, fan, in_space

_HEADER = re.compile(r"(ST)?(C)?(N)?(4)?(n)?OFF\b(.*)", re.IGNORECASE)


class OFF(Format):
    """The object file format (ascii; also COFF and NOFF, whose further columns are kept in place but not read)."""

    suffixes = (".off",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        lines = text.read_lines(path)
        layout = _layout(lines)
        x = text.numbers(lines, layout.vertices, (0, 1, 2)) if layout.vertices else np.zeros((0, 3))
        faces = fan(text.lists(lines, layout.faces)) if layout.faces else None
        return Geometry(x, faces=faces)

    def write(self, path: Path, geometry: Geometry) -> None:
        """A plain OFF file, with all digits."""
        if geometry.edges is not None:
            raise ValueError("OFF files have no place for curves: write to .vtk, .ply, .obj or .npz")
        faces = np.zeros((0, 3), int) if geometry.faces is None else geometry.faces
        rows = text.formatted(in_space(geometry.x))
        lines = ["OFF", f"{len(rows)} {len(faces)} 0", *(" ".join(row) for row in rows)]
        lines += [f"3 {a} {b} {c}" for a, b, c in faces.tolist()]
        text.write_lines(path, [line + "\n" for line in lines])

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """A copy of the file ``like`` with its points at x."""
        lines = text.read_lines(like)
        text.substitute(lines, _layout(lines).vertices, (0, 1, 2), x)
        text.write_lines(path, lines)


class _Layout(NamedTuple):
    vertices: list[int]
    faces: list[int]


def _layout(lines: list[str]) -> _Layout:
    """The numbers of the lines with vertices and with faces."""
    first = next(text.filled(lines), None)
    header = None if first is None else _HEADER.fullmatch(text.bare(lines[first]))
    if first is None or header is None:
        raise ValueError("it is not an OFF file: the first line is not 'OFF'")
    if header[4] or header[5]:
        raise ValueError(
            f"its points have 4 or more dimensions (header {text.bare(lines[first])!r}), and 3 are expected"
        )
    words, start = header[6].split(), first + 1
    if "BINARY" in words:
        raise ValueError("it is a binary OFF file: export it as ascii, or as .ply")
    if not words:
        (row,) = text.take(lines, start, 1, "line of counts")
        words, start = text.bare(lines[row]).split(), row + 1
    if len(words) < 2 or not all(word.isdigit() for word in words[:2]):
        raise ValueError(f"the numbers of vertices and faces are expected after 'OFF', and it has {' '.join(words)!r}")
    vertices = text.take(lines, start, int(words[0]), "vertices")
    faces = text.take(lines, vertices[-1] + 1 if vertices else start, int(words[1]), "faces")
    return _Layout(vertices, faces)
