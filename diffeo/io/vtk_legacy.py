"""Legacy VTK files (``.vtk``): polygonal data, and unstructured grids of lines and polygons; ascii and binary.

Read here rather than through VTK, which is a large package, prints its errors, and writes a file back in a version and
a precision of its own choosing; so the moved shape is the file itself with its block of points replaced.

Source: the VTK file formats, https://docs.vtk.org/en/latest/vtk_file_formats/vtk_legacy_file_format.html
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from diffeo.io import text
from diffeo.io.geometry import Array, Format, Geometry, in_space, scalar_columns
from diffeo.io.normals import vertex_normals
from diffeo.io.vtk_blocks import Block, Content, parse
from diffeo.io.vtk_cells import connectivity

_NAMES = {"f4": "float", "f8": "double", "i4": "int", "u1": "unsigned_char", "i8": "vtktypeint64"}


class LegacyVTK(Format):
    """The old VTK format. Polygons become triangles, polylines segments; data of the points are attributes."""

    suffixes = (".vtk",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        return _geometry(parse(path.read_bytes()))

    def write(self, path: Path, geometry: Geometry) -> None:
        """Polygonal data, version 3.0, ascii with all digits, which every version of VTK reads."""
        lines = ["# vtk DataFile Version 3.0", "written by diffeo", "ASCII", "DATASET POLYDATA"]
        n = len(geometry.x)
        kind = "float" if geometry.x.dtype == np.float32 else "double"
        lines += [f"POINTS {n} {kind}", *map(" ".join, text.formatted(in_space(geometry.x)))]
        lines += _cells(geometry)
        columns = {name.replace(" ", "_"): v for name, v in scalar_columns(geometry.attributes).items()}
        if columns:
            lines += [f"POINT_DATA {n}", f"FIELD FieldData {len(columns)}"]
        for name, values in columns.items():
            values = _storable(values)
            lines += [f"{name} 1 {n} {_NAMES[values.dtype.str[1:]]}", " ".join(map(repr, values.tolist()))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """A copy of the file ``like`` with its points at x; point normals of a surface are computed anew."""
        data = like.read_bytes()
        content = parse(data)
        geometry = _geometry(content)
        if content.points.dtype.kind != "f":
            self.write(path, replace(geometry, x=x))  # integers cannot hold moved positions
            return
        blocks = [(content.points, x)]
        if content.normals is not None and geometry.faces is not None:
            blocks.append((content.normals, vertex_normals(x, geometry.faces, content.normals.values)))
        end = b"\r\n" if b"\r\n" in data[: data.find(b"\n") + 1] else b"\n"  # as the first line ends
        for block, values in sorted(blocks, key=lambda pair: -pair[0].start):
            data = data[: block.start] + _encoded(values, block, content.binary, end) + data[block.end :]
        path.write_bytes(data)


def _geometry(content: Content) -> Geometry:
    edges, faces = connectivity(content.cells, content.cell_types)
    return Geometry(content.points.values, edges, faces, content.point_data)


def _cells(geometry: Geometry) -> list[str]:
    """The block of cells; single vertices for a point cloud, so that viewers show something."""
    if geometry.faces is not None:
        name, index = "POLYGONS", geometry.faces
    elif geometry.edges is not None:
        name, index = "LINES", geometry.edges
    else:
        name, index = "VERTICES", np.arange(len(geometry.x))[:, None]
    width = index.shape[1]
    rows = (f"{width} " + " ".join(map(str, row)) for row in index.tolist())
    return [f"{name} {len(index)} {len(index) * (width + 1)}", *rows]


def _storable(values: Array) -> Array:
    """An attribute in one of the number types that are written."""
    if values.dtype.str[1:] in _NAMES:
        return values
    return values.astype({"b": "u1", "i": "i8", "u": "i8"}.get(values.dtype.kind, "f8"))


def _encoded(values: Array, block: Block, binary: bool, end: bytes) -> bytes:
    """The bytes that replace a block of numbers, in lines with the given end where they are text."""
    if binary:
        return values.astype(block.dtype).tobytes()
    return end.join(" ".join(row).encode() for row in text.formatted(values))
