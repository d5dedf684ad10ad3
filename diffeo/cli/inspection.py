"""What there is to say about a shape: counts, extent, spacing, topology, defects."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffeo.shapes import Curve, Mesh, PointShape

FLAT = 1e-12
"""A face is degenerate below this part of the squared extent."""


def inspect(shape: PointShape) -> dict[str, Any]:
    """Facts about a shape, JSON-able; lengths are in its units, defects are counts."""
    x = shape.x.detach().cpu().double().numpy()
    n, d = x.shape
    facts: dict[str, Any] = {"type": type(shape).__name__, "points": n, "dimension": d}
    defects = {"duplicated points": n - len(np.unique(x, axis=0))}
    extra: dict[str, Any] = {}
    if isinstance(shape, Mesh):
        extra, found = _mesh(x, shape.faces.cpu().numpy())
    elif isinstance(shape, Curve):
        extra, found = _curve(x, shape.edges.cpu().numpy())
    else:
        extra, found = {"mean spacing": _spacing(x)}, {}
    facts |= {
        "extent": (x.max(0) - x.min(0)).tolist(),
        "lower corner": x.min(0).tolist(),
        "upper corner": x.max(0).tolist(),
        "plane": "all points have z = 0" if d == 3 and not x[:, 2].any() else None,
    }
    facts |= extra
    facts["attributes"] = [f"{name}: {_described(values)}" for name, values in shape.attributes.items()]
    facts["defects"] = {name: int(count) for name, count in (defects | found).items() if count}
    return facts


def _described(values: Any) -> str:
    array = np.asarray(values)
    return f"{array.dtype} {array.shape}"


def _mesh(x: Any, faces: Any) -> tuple[dict[str, Any], dict[str, int]]:
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    directed = directed[directed[:, 0] != directed[:, 1]]
    edges, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    corners = x[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1) / 2
    boundary, crowded = int((uses == 1).sum()), int((uses > 2).sum())
    same_way = len(directed) - len(np.unique(directed, axis=0))
    closed = boundary == 0
    volume = float((corners[:, 0] * normals).sum() / 6) if closed else None
    facts = {
        "faces": len(faces),
        "mean edge": _mean_length(x, edges),
        "area": float(areas.sum()),
        "volume": volume,
        "normals": None if volume is None or same_way else "outward" if volume > 0 else "inward",
        "components": _components(len(x), faces, edges),
        "surface": "closed" if closed else f"open, {boundary:,} boundary edges",
        "Euler number": len(np.unique(faces)) - len(edges) + len(faces),
    }
    defects = {
        "degenerate faces": int((areas <= FLAT * np.ptp(x, axis=0).max() ** 2).sum()),
        "repeated faces": len(faces) - len(np.unique(np.sort(faces, axis=1), axis=0)),
        "non-manifold edges": crowded,
        "edges that faces of opposite orientation share": same_way,
        "unreferenced points": len(x) - len(np.unique(faces)),
    }
    return facts, defects


def _curve(x: Any, edges: Any) -> tuple[dict[str, Any], dict[str, int]]:
    degree = np.bincount(edges.ravel(), minlength=len(x))
    ends = int((degree == 1).sum())
    lengths = np.linalg.norm(x[edges[:, 1]] - x[edges[:, 0]], axis=1)
    facts = {
        "segments": len(edges),
        "mean edge": float(lengths.mean()),
        "length": float(lengths.sum()),
        "components": _components(len(x), edges, edges),
        "curve": "closed" if ends == 0 else f"open, {ends:,} end points",
    }
    defects = {
        "segments of length 0": int((lengths == 0).sum()),
        "branching points": int((degree > 2).sum()),
        "unreferenced points": int((degree == 0).sum()),
    }
    return facts, defects


def _mean_length(x: Any, edges: Any) -> float:
    return float(np.linalg.norm(x[edges[:, 1]] - x[edges[:, 0]], axis=1).mean()) if len(edges) else 0.0


def _spacing(x: Any) -> float | None:
    from scipy.spatial import KDTree

    distinct = np.unique(x, axis=0)
    return float(KDTree(distinct).query(distinct, k=2)[0][:, 1].mean()) if len(distinct) > 1 else None


def _components(n: int, cells: Any, edges: Any) -> int:
    """Connected parts by shared indices, points that belong to no cell aside."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return len(np.unique(connected_components(links, directed=False)[1][np.unique(cells)]))
