"""STL files: triangle surfaces, ascii and binary.

The format repeats a vertex for every face that has it. Vertices with exactly equal coordinates are therefore read as
one (in the order in which they first appear), which gives the surface its connectivity back; faces keep their order.
Writing puts the vertices of each face in its place again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeo.io import text
from diffeo.io.geometry import Array, Format, Geometry
from diffeo.io.normals import face_normals

_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_START = 84  # a title of 80 bytes, and the number of faces


class STL(Format):
    """Stereolithography files; always single precision when binary."""

    suffixes = (".stl",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        data = path.read_bytes()
        soup = _binary(data)["corners"].reshape(-1, 3) if _is_binary(data) else _ascii(text.read_lines(path))[0]
        if not len(soup):
            raise ValueError("it has no faces")
        x, faces = _welded(soup)
        return Geometry(x, faces=faces)

    def write(self, path: Path, geometry: Geometry) -> None:
        """A binary file."""
        if geometry.faces is None:
            raise ValueError("STL files hold triangle surfaces only: write to .ply, .vtk or .npz")
        table = np.zeros(len(geometry.faces), _FACE)
        title = b"written by diffeo".ljust(80)
        path.write_bytes(title + np.uint32(len(table)).tobytes() + _filled(table, geometry.x, geometry.faces).tobytes())

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """A copy of the file ``like`` with its points at x, the faces in the same order, and new normals."""
        data, faces = like.read_bytes(), self.read(like).faces
        assert faces is not None
        if _is_binary(data):
            path.write_bytes(data[:_START] + _filled(_binary(data).copy(), x, faces).tobytes())
            return
        lines = text.read_lines(like)
        _, corners, normals = _ascii(lines)
        text.substitute(lines, corners, (1, 2, 3), x[faces].reshape(-1, 3))
        if len(normals) == len(faces):
            text.substitute(lines, normals, (2, 3, 4), face_normals(x, faces))
        text.write_lines(path, lines)


def _is_binary(data: bytes) -> bool:
    """Whether the size fits, or the file does not look like text; some binary files begin with 'solid'."""
    if len(data) >= _START and len(data) == _START + _count(data) * _FACE.itemsize:
        return True
    return not (data.lstrip()[:5].lower() == b"solid" and b"\0" not in data)


def _count(data: bytes) -> int:
    return int(np.frombuffer(data, "<u4", 1, 80)[0])


def _binary(data: bytes) -> Array:
    """The faces of a binary file."""
    if len(data) < _START:
        raise ValueError(f"it is truncated: an STL file begins with {_START} bytes of header, and it has {len(data)}")
    count, there = _count(data), (len(data) - _START) // _FACE.itemsize
    if there < count:
        raise ValueError(
            f"it is truncated, or not an STL file: its header promises {count} faces, and {there} are there"
        )
    return np.frombuffer(data, _FACE, count, _START)


def _ascii(lines: list[str]) -> tuple[Array, list[int], list[int]]:
    """The corners of the faces, the numbers of their lines, and those of the lines with normals."""
    starts = [line.split(maxsplit=1)[0].lower() if line.strip() else "" for line in lines]
    corners = [k for k, word in enumerate(starts) if word == "vertex"]
    normals = [k for k, word in enumerate(starts) if word == "facet"]
    if len(corners) % 3 or len(corners) != 3 * len(normals) or "endsolid" not in starts:
        raise ValueError(f"it is truncated: {len(corners)} vertices for {len(normals)} faces, or no 'endsolid'")
    return text.numbers(lines, corners, (1, 2, 3)) if corners else np.zeros((0, 3)), corners, normals


def _welded(soup: Array) -> tuple[Array, Array]:
    """Distinct points in order of appearance, shape (n, 3), and triangles (f, 3), of corners, shape (3f, 3)."""
    _, first, inverse = np.unique(soup, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.ascontiguousarray(soup[first[order]]), rank[inverse.ravel()].reshape(-1, 3)


def _filled(table: Array, x: Array, faces: Array) -> Array:
    table["corners"], table["normal"] = x[faces], face_normals(x, faces)
    return table
