"""OBJ files: meshes, curves (``l``) and point clouds as text; materials and textures are kept, not read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from diffeo.io import text
from diffeo.io.geometry import Array, Format, Geometry, Ragged, chain, fan, in_space
from diffeo.io.normals import vertex_normals


class OBJ(Format):
    """Wavefront's format. Polygons are cut into triangles; colors after the coordinates are attributes."""

    suffixes = (".obj",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        return _geometry(_lines(path))

    def write(self, path: Path, geometry: Geometry) -> None:
        """Vertices with all digits, then faces or lines."""
        lines = ["v " + " ".join(row) for row in text.formatted(in_space(geometry.x))]
        for letter, index in (("f", geometry.faces), ("l", geometry.edges)):
            if index is not None:
                lines += [f"{letter} " + " ".join(map(str, row)) for row in (index + 1).tolist()]
        text.write_lines(path, [line + "\n" for line in lines])

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """A copy of the file ``like`` with its points at x; the normals that faces use are computed anew."""
        lines = _lines(like)
        vertices, normals = _rows(lines, "v"), _rows(lines, "vn")
        faces = _geometry(lines).faces
        corners = _corners(lines, _rows(lines, "f"), 2, normals) if normals and faces is not None else None
        text.substitute(lines, vertices, (1, 2, 3), x)
        if corners is not None and faces is not None:
            old = text.numbers(lines, normals, (1, 2, 3))
            text.substitute(lines, normals, (1, 2, 3), vertex_normals(x, faces, old, fan(corners)))
        text.write_lines(path, lines)


def _lines(path: Path) -> list[str]:
    """The lines of the file, those that continue after a backslash joined."""
    joined: list[str] = []
    for line in text.read_lines(path):
        if joined and joined[-1].endswith("\\"):
            joined[-1] = joined[-1][:-1] + " " + line
        else:
            joined.append(line)
        if joined[-1].rstrip("\r\n").endswith("\\"):
            joined[-1] = joined[-1].rstrip("\r\n")
    return joined


def _rows(lines: list[str], key: str) -> list[int]:
    """The numbers of the lines that begin with a keyword."""
    starts = (key + " ", key + "\t")
    return [k for k, line in enumerate(lines) if line.lstrip().startswith(starts)]


def _geometry(lines: list[str]) -> Geometry:
    vertices = _rows(lines, "v")
    if not vertices:
        raise ValueError("it has no vertices: no line begins with 'v'")
    x = text.numbers(lines, vertices, (1, 2, 3))
    faces = _corners(lines, _rows(lines, "f"), 0, vertices)
    polylines = _corners(lines, _rows(lines, "l"), 0, vertices) if faces is None else None
    return Geometry(
        x,
        edges=None if polylines is None else chain(polylines),
        faces=None if faces is None else fan(faces),
        attributes=_colors(lines, vertices),
    )


def _colors(lines: list[str], vertices: list[int]) -> dict[str, Array]:
    """The colors that some programs write after the coordinates."""
    if len(text.fields(lines[vertices[0]], None)) != 7:
        return {}
    colors = text.numbers(lines, vertices, (4, 5, 6))
    return dict(zip(("red", "green", "blue"), colors.T, strict=True))


def _corners(lines: list[str], rows: list[int], part: int, meant: list[int]) -> Ragged | None:
    """The corners of faces: their vertices (part 0) or normals (part 2), from 0; None if some have none.

    ``meant`` are the lines of what is numbered: negative numbers count back from the last one before the face.
    """
    corners = [text.bare(lines[row]).split()[1:] for row in rows]
    sizes = np.array([len(c) for c in corners], np.int64)
    index = [_part(corner, part) for c in corners for corner in c]
    if not all(index):
        return None
    try:
        numbers = np.array([int(entry) for entry in index], np.int64)
    except ValueError:
        raise ValueError(next(_complaints(lines, rows), "its faces are not lists of vertex numbers")) from None
    before = np.repeat(np.searchsorted(meant, rows), sizes)
    return Ragged(np.where(numbers < 0, numbers + before, numbers - 1), sizes) if rows else None


def _part(corner: str, part: int) -> str:
    return [*corner.split("/"), "", ""][part]


def _complaints(lines: list[str], rows: list[int]) -> Iterator[str]:
    for row in rows:
        for corner in text.bare(lines[row]).split()[1:]:
            if not re.fullmatch(r"-?\d+(/\S*)?", corner):
                yield f"line {row + 1}: {corner!r} is not a vertex number"
