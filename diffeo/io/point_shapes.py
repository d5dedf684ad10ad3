"""Files of shapes that are made of points: meshes, curves, clouds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffeo.io.arrays import NPY, NPZ
from diffeo.io.atomic import replacing
from diffeo.io.geometry import Array, Format, Geometry
from diffeo.io.guard import check_readable, guarded
from diffeo.io.obj import OBJ
from diffeo.io.off import OFF
from diffeo.io.ply import PLY
from diffeo.io.stl import STL
from diffeo.io.tables import TextTable
from diffeo.io.vtk_legacy import LegacyVTK
from diffeo.io.vtp import VTP
from diffeo.shapes import Curve, Mesh, Points, PointShape

FORMATS: tuple[Format, ...] = (PLY(), OBJ(), OFF(), STL(), LegacyVTK(), VTP(), TextTable(), NPY(), NPZ())
"""All formats; a new one is one file and one entry here."""

_WEIGHTS = "weights"


def read_points(path: Path, dtype: torch.dtype) -> PointShape:
    """The shape in a file; what `diffeo.read` says of shapes made of points."""
    kind = _format(path)
    geometry = guarded(path, lambda: _checked(kind.read(path)))
    return guarded(path, lambda: _shape(geometry, dtype))


def write_points(path: Path, shape: PointShape, source: Path | None, parents: bool) -> None:
    """Write a shape; what `diffeo.write` says of shapes made of points."""
    kind = _format(path)
    geometry = _as_geometry(shape)
    if source is not None:
        check_readable(source)
    with replacing(path, parents) as temporary:
        if source is None or _format(source) is not kind:
            guarded(path, lambda: kind.write(temporary, geometry), "write")
        else:
            original = guarded(source, lambda: _checked(kind.read(source)))
            x = _fitting(geometry, original, source)
            guarded(path, lambda: kind.rewrite(temporary, source, x), "write")


def _format(path: Path) -> Format:
    """The format of a file, by its extension."""
    suffix = path.suffix.lower()
    for kind in FORMATS:
        if suffix in kind.suffixes:
            return kind
    known = ", ".join(s for kind in FORMATS for s in kind.suffixes)
    raise ValueError(
        f"{path}: the extension {suffix or '(none)'} is not one of the formats {known}; rename or convert it."
    )


def _checked(geometry: Geometry) -> Geometry:
    """The same; ValueError unless it has points of the plane or of space, all finite."""
    x = geometry.x
    if x.ndim != 2 or x.dtype.kind not in "iuf":
        raise ValueError(
            f"its points are {x.dtype} of shape {x.shape}, and numbers of shape (n, 2) or (n, 3) are expected"
        )
    if not len(x):
        raise ValueError("it has no points")
    if x.shape[1] not in (2, 3):
        hint = ": transpose it" if x.shape[0] in (2, 3) else ""
        raise ValueError(f"its points have {x.shape[1]} coordinates, shape {x.shape}, and 2 or 3 are expected{hint}")
    bad = ~np.isfinite(x).all(1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{int(bad.sum())} of its {len(x)} points have NaN or infinite coordinates, the first in row {row}: "
            "remove them"
        )
    return geometry


def _shape(geometry: Geometry, dtype: torch.dtype) -> PointShape:
    """The shape that the arrays describe."""
    x = _tensor(geometry.x, dtype)
    attributes = dict(geometry.attributes)
    if geometry.faces is not None:
        return Mesh(x, faces=_index(geometry.faces, 3, len(x), "faces"), attributes=attributes)
    if geometry.edges is not None:
        return Curve(x, edges=_index(geometry.edges, 2, len(x), "edges"), attributes=attributes)
    weights = attributes.get(_WEIGHTS)
    if weights is None or weights.dtype.kind not in "iuf" or weights.ndim != 1:
        return Points(x, attributes=attributes)
    del attributes[_WEIGHTS]
    return Points(x, _tensor(weights, dtype), attributes=attributes)


def _tensor(values: Array, dtype: torch.dtype) -> Tensor:
    """A tensor that owns its memory."""
    return torch.from_numpy(values.astype(np.float64)).to(dtype)


def _index(index: Array, corners: int, n: int, what: str) -> Tensor:
    """Connectivity as int64; ValueError unless it is integers of shape (m, corners) in 0..n-1."""
    if index.ndim != 2 or index.shape[1] != corners or index.dtype.kind not in "iu" or not len(index):
        raise ValueError(
            f"its {what} are {index.dtype} of shape {index.shape}, and integers (m, {corners}) are expected"
        )
    bad = ((index < 0) | (index >= n)).any(1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{int(bad.sum())} of its {what} refer to points that are not there: row {row} is {index[row].tolist()}, "
            f"and there are {n} points (0..{n - 1})"
        )
    return torch.from_numpy(index.astype(np.int64))


def _as_geometry(shape: PointShape) -> Geometry:
    """The arrays of a shape."""
    attributes = {name: np.asarray(values) for name, values in shape.attributes.items()}
    edges = shape.edges.cpu().numpy() if isinstance(shape, Curve) else None
    faces = shape.faces.cpu().numpy() if isinstance(shape, Mesh) else None
    if isinstance(shape, Points) and shape.weights is not None:
        attributes[_WEIGHTS] = shape.weights.detach().cpu().numpy()
    x = shape.x.detach().cpu()
    return Geometry((x if x.dtype == torch.float32 else x.double()).numpy(), edges, faces, attributes)


def _fitting(geometry: Geometry, original: Geometry, source: Path) -> Array:
    """The moved points, with the coordinates that a plane shape lacks; ValueError unless ``source`` fits the shape."""
    n, d = original.x.shape
    if len(geometry.x) != n:
        raise ValueError(
            f"the shape has {len(geometry.x)} points and {source} has {n}: it is not the file it was read from."
        )
    if geometry.x.shape[1] > d:
        raise ValueError(f"the shape has {geometry.x.shape[1]} dimensions and {source} has {d}.")
    for name in ("edges", "faces"):
        if not _same(getattr(geometry, name), getattr(original, name)):
            raise ValueError(f"the {name} of the shape are not those of {source}: it is not the file it was read from.")
    return np.concatenate([geometry.x, original.x[:, geometry.x.shape[1] :].astype(geometry.x.dtype)], 1)


def _same(a: Array | None, b: Array | None) -> bool:
    return (a is None) == (b is None) and (a is None or b is None or np.array_equal(a, b))
