"""What of a triangle surface is drawn as lines: its edges, and where a plane cuts it."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffeo.shapes import Mesh
from diffeo.viz.view import Array, coarse, visible


def face_array(mesh: Mesh) -> Any:
    """The faces of a mesh as an integer array (f, 3)."""
    return mesh.faces.detach().cpu().numpy()


def mesh_edges(mesh: Mesh, width: int) -> Any:
    """The edges of the faces that would be drawn, each once, as vertex indices (e, 2)."""
    faces, _ = coarse(visible(mesh.x, width), face_array(mesh))
    return np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)


def section(mesh: Mesh, axis: int, level: float) -> Array:
    """Where a surface meets the plane x[axis] = level: segments, shape (k, 2, 3)."""
    x = visible(mesh.x, 3)
    corners = x[face_array(mesh)]
    height = corners[..., axis] - level
    # A vertex in the plane counts as above it, so that a face is cut in two places or not at all.
    cut = corners[((height >= 0).any(1)) & ((height < 0).any(1))]
    height = cut[..., axis] - level
    following = np.roll(height, -1, axis=1)
    crossed = (height >= 0) != (following >= 0)
    t = np.where(crossed, height / np.where(crossed, height - following, 1.0), 0.0)
    ends = cut + t[..., None] * (np.roll(cut, -1, axis=1) - cut)
    return ends[crossed].reshape(-1, 2, 3)
