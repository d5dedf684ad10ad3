"""The cells of VTK's data sets as triangles and segments."""

from __future__ import annotations

import numpy as np

from diffeo.io.geometry import Array, Ragged, chain, fan, pieces

# VTK's numbers of cell types: lines and polylines; triangles, polygons and quadrilaterals; vertices
_LINES, _POLYGONS, _VERTICES = {3, 4}, {5, 7, 9}, {1, 2}


def connectivity(cells: dict[str, Ragged], cell_types: Array) -> tuple[Array | None, Array | None]:
    """Segments (e, 2) and triangles (f, 3), each None if there are none; where there are triangles, they are the shape.

    Args:
        cells: the lists of points of the blocks VERTICES, LINES, POLYGONS, TRIANGLE_STRIPS, CELLS that are there.
        cell_types: the type of each entry of CELLS.
    Raises: ValueError if there are cells of another kind.
    """
    faces, lines = [], []
    for kind, lists in cells.items():
        if kind == "POLYGONS":
            faces.append(fan(lists))
        elif kind == "LINES":
            lines.append(chain(lists))
        elif kind == "TRIANGLE_STRIPS":
            faces.append(_unstripped(lists))
        elif kind == "CELLS":
            _sort_in(lists, cell_types, faces, lines)
    if faces:
        return None, np.concatenate(faces)
    return (np.concatenate(lines), None) if lines else (None, None)


def _sort_in(cells: Ragged, types: Array, faces: list[Array], lines: list[Array]) -> None:
    """Sort the cells of an unstructured grid into triangles and segments."""
    if len(types) != len(cells.sizes):
        raise ValueError(f"it has {len(cells.sizes)} cells and {len(types)} cell types: it is damaged")
    unknown = set(types.tolist()) - _LINES - _POLYGONS - _VERTICES
    if unknown:
        raise ValueError(
            f"it holds cells that are not vertices, lines or polygons (VTK types {sorted(unknown)}), "
            "and a curve or a surface is expected: extract the surface first"
        )
    for wanted, out, split in ((_POLYGONS, faces, fan), (_LINES, lines, chain)):
        chosen = np.isin(types, list(wanted))
        if chosen.any():
            out.append(split(Ragged(cells.flat[np.repeat(chosen, cells.sizes)], cells.sizes[chosen])))


def _unstripped(strips: Ragged) -> Array:
    """The triangles of strips, every second one turned round so that all have the strip's orientation."""
    flat, sizes = strips
    if (sizes < 3).any():
        raise ValueError("it holds a triangle strip of less than 3 points")
    first, k = pieces(sizes, 2)
    odd = k % 2
    return np.stack([flat[first + k + odd], flat[first + k + 1 - odd], flat[first + k + 2]], 1)
