"""Shaded triangle surfaces in a 3D view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from diffeo.shapes import Mesh
from diffeo.viz.view import Array, camera, coarse, visible

Facets = tuple[Array, Array]
"""Corners, shape (f, 3, 3), and colors, shape (f, 3)."""


def face_array(mesh: Mesh) -> Any:
    """The faces of a mesh as an integer array (f, 3)."""
    return mesh.faces.detach().cpu().numpy()


def lit(ax: Axes3D, mesh: Mesh, rgb: Array, ambient: float = 0.3) -> Facets:
    """The faces to draw and their colors under the view's light.

    Args:
        rgb: shape (1, 3), or (f, 3) for one per face.
        ambient: what a face seen edge-on keeps of its color; more of it for colors that mean numbers.
    """
    x = visible(mesh.x, 3)
    faces, rows = coarse(x, face_array(mesh))
    corners = x[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    # Both sides are lit: an open surface shows its inside, and inward normals must not turn a shape black.
    light = ambient + (1.05 - ambient) * np.abs(normals @ _light(ax))
    return corners, np.clip(np.broadcast_to(rgb, (len(mesh.faces), 3))[rows] * light[:, None], 0, 1)


def add_facets(ax: Axes3D, facets: Sequence[Facets]) -> None:
    """Draw surfaces as one collection: mplot3d sorts faces by depth within a collection only."""
    if facets:
        corners, rgb = (np.concatenate(parts) for parts in zip(*facets, strict=True))
        ax.add_collection3d(Poly3DCollection(corners, facecolors=rgb, edgecolors=rgb, linewidths=0.15))


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


def _light(ax: Axes3D) -> Array:
    """Direction of the light: from the viewer, a little to the left and above; shape (3,)."""
    right, up = camera(ax)
    light = np.cross(right, up) - 0.5 * right + 0.5 * up
    return light / np.linalg.norm(light)
