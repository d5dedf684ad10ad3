"""PLY files: meshes, curves (element ``edge``) and point clouds; ascii and binary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from diffeo.io import text
from diffeo.io.geometry import Array, Format, Geometry, Ragged, fan, in_space, like_numbers, scalar_columns, whole
from diffeo.io.normals import vertex_normals
from diffeo.io.ply_elements import Header, Table, parse_header, read_ascii, read_binary

_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_CORNERS = ("vertex_indices", "vertex_index")
_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float"}


class PLY(Format):
    """The Stanford polygon format. Polygons are cut into triangles; the vertices' scalar properties are attributes."""

    suffixes = (".ply",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        _, tables = _parse(path)
        return _geometry(tables)

    def write(self, path: Path, geometry: Geometry) -> None:
        """A binary file; double precision if the positions are."""
        blocks = [_vertices(geometry)]
        if geometry.edges is not None:
            edges = geometry.edges.astype("<i4")
            blocks.append(("edge", {"vertex1": edges[:, 0], "vertex2": edges[:, 1]}))
        header = [line for name, columns in blocks for line in _element_lines(name, columns)]
        body = b"".join(_packed(columns) for _, columns in blocks)
        if geometry.faces is not None:
            header += [f"element face {len(geometry.faces)}", "property list uchar int vertex_indices"]
            body += _packed_faces(geometry.faces)
        lines = ["ply", "format binary_little_endian 1.0", "comment written by diffeo", *header, "end_header", ""]
        path.write_bytes("\n".join(lines).encode() + body)

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """A copy of the file ``like`` with its points at x; vertex normals, if there are any, are computed anew."""
        header, tables = _parse(like)
        vertex = tables["vertex"]
        if vertex.lists or not all(vertex.values[name].dtype.kind == "f" for name in _POSITION):
            self.write(path, replace(_geometry(tables), x=x))  # no room for moved positions among integers
            return
        columns: dict[str, Array] = {name: x[:, k] for k, name in enumerate(_POSITION)}
        faces = _faces(tables)
        if faces is not None and all(name in vertex.values for name in _NORMAL):
            old = np.stack([vertex.values[name] for name in _NORMAL], 1)
            columns |= dict(zip(_NORMAL, vertex_normals(x, faces, old).T, strict=True))
        _patch(path, like, header, vertex, columns)


def _parse(path: Path) -> tuple[Header, dict[str, Table]]:
    """The header of a file and the content of all its elements."""
    data = path.read_bytes()
    header = parse_header(data)
    tables = read_binary(header, data) if header.order else read_ascii(header, text.read_lines(path))
    if "vertex" not in tables or not all(name in tables["vertex"].values for name in _POSITION):
        raise ValueError("its header has no element 'vertex' with the properties x, y and z")
    return header, tables


def _geometry(tables: dict[str, Table]) -> Geometry:
    vertex = tables["vertex"].values
    dtype = np.result_type(*(vertex[name].dtype for name in _POSITION))
    x = np.stack([vertex[name] for name in _POSITION], 1).astype(dtype.newbyteorder("="))
    attributes = {name: _native(values) for name, values in vertex.items() if name not in _POSITION}
    return Geometry(x, _edges(tables), _faces(tables), attributes)


def _native(values: Array) -> Array:
    return values.astype(values.dtype.newbyteorder("="))


def _faces(tables: dict[str, Table]) -> Array | None:
    """The triangles; None if there are no faces."""
    if "tristrips" in tables:
        raise ValueError("it holds triangle strips, and faces are expected: export it with faces")
    if "face" not in tables or not tables["face"].count:
        return None
    lists = tables["face"].lists
    name = next((name for name in _CORNERS if name in lists), None)
    if name is None:
        raise ValueError(f"its faces have no list property {' or '.join(_CORNERS)}")
    return fan(Ragged(whole(lists[name].flat), lists[name].sizes))


def _edges(tables: dict[str, Table]) -> Array | None:
    """The segments; None if there are none."""
    if "edge" not in tables or not tables["edge"].count:
        return None
    values = tables["edge"].values
    if "vertex1" not in values or "vertex2" not in values:
        raise ValueError("its edges have no properties vertex1 and vertex2")
    return np.stack([whole(values["vertex1"]), whole(values["vertex2"])], 1)


def _patch(path: Path, like: Path, header: Header, vertex: Table, columns: dict[str, Array]) -> None:
    """Copy a file with some columns of its vertices replaced."""
    if header.order:
        data = bytearray(like.read_bytes())
        table = np.frombuffer(data, vertex.dtype, vertex.count, vertex.offset)
        for name, values in columns.items():
            table[name] = values
        path.write_bytes(data)
        return
    lines = text.read_lines(like)
    names = list(vertex.values)
    new = np.stack(list(columns.values()), 1)
    text.substitute(lines, vertex.rows, [names.index(name) for name in columns], new)
    text.write_lines(path, lines)


def _vertices(geometry: Geometry) -> tuple[str, dict[str, Array]]:
    """The element of the vertices, with the attributes that are numbers."""
    x = like_numbers(in_space(geometry.x), geometry.x.dtype)
    extra = {name.replace(" ", "_"): v for name, v in scalar_columns(geometry.attributes).items()}
    columns = dict(zip(_POSITION, x.T, strict=True)) | {k: v for k, v in extra.items() if k not in _POSITION}
    return "vertex", {name: _storable(values) for name, values in columns.items()}


def _storable(values: Array) -> Array:
    """A column in a number type that PLY knows, little-endian."""
    kind = values.dtype.kind
    if kind == "b":
        return values.astype("u1")
    if values.dtype.str[1:] in _NAMES:
        return values.astype(values.dtype.newbyteorder("<"))
    if kind in "iu" and (not len(values) or abs(values.astype(object)).max() < 2**31):
        return values.astype("<i4")
    return values.astype("<f8")


def _element_lines(name: str, columns: dict[str, Array]) -> list[str]:
    count = len(next(iter(columns.values())))
    types = {key: _NAMES.get(values.dtype.str[1:], "double") for key, values in columns.items()}
    return [f"element {name} {count}", *(f"property {kind} {key}" for key, kind in types.items())]


def _packed(columns: dict[str, Array]) -> bytes:
    table = np.empty(len(next(iter(columns.values()))), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    return table.tobytes()


def _packed_faces(faces: Array) -> bytes:
    table = np.empty(len(faces), [("size", "u1"), ("corners", "<i4", 3)])
    table["size"], table["corners"] = 3, faces
    return table.tobytes()
