"""Normals that a file stores are those of its surface: when the surface moves they are computed anew."""

from __future__ import annotations

import numpy as np

from diffeo.io.geometry import Array


def face_normals(x: Array, faces: Array) -> Array:
    """Unit normals, shape (f, 3), of triangles with vertices x, shape (n, 3); 0 for a degenerate one."""
    return _unit(_area_vectors(x, faces))


def vertex_normals(x: Array, faces: Array, old: Array, corners: Array | None = None) -> Array:
    """Unit normals: at each vertex the mean of its faces' normals weighted by area.

    Args:
        x: vertices, shape (n, 3).
        faces: triangles, shape (f, 3).
        old: the normals before, shape (m, 3); kept where a normal belongs to no face of positive area.
        corners: which of the m normals each corner uses, shape (f, 3); ``faces`` itself by default.
    Returns: shape (m, 3), in the precision of x.
    """
    sums = np.zeros((len(old), 3), x.dtype)
    vectors = _area_vectors(x, faces)
    for corner in (faces if corners is None else corners).T:
        np.add.at(sums, corner, vectors)
    return np.where((sums != 0).any(1, keepdims=True), _unit(sums), old).astype(x.dtype)


def _area_vectors(x: Array, faces: Array) -> Array:
    a, b, c = (x[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def _unit(v: Array) -> Array:
    length = np.linalg.norm(v, axis=1, keepdims=True)
    return np.divide(v, length, out=np.zeros_like(v), where=length > 0)
