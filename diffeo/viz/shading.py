"""Surfaces as pictures: smooth shading, true depth, outlines, and ghosts that are seen through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffeo.viz.raster import Seen, seen
from diffeo.viz.view import Array

Pixels = NDArray[np.uint8]

FINE = 2
"""Pixels that are computed per pixel and direction, so that borders are smooth."""
CREASE = np.cos(np.radians(50))
"""Faces that meet at a sharper angle than 50° keep their edge."""
LIGHT = np.array([-0.45, 0.5, 1.0]) / np.linalg.norm([-0.45, 0.5, 1.0])
"""Where light comes from: to the right, upward, toward the viewer."""
GLOSS = np.add(LIGHT, [0, 0, 1]) / np.linalg.norm(np.add(LIGHT, [0, 0, 1]))
"""Halfway between the light and the viewer: where gloss is brightest."""
STEP = 0.02
"""A jump in depth, as a part of the picture's side, that an outline is drawn at."""


class Surface(NamedTuple):
    """A triangle surface, and how it is drawn."""

    x: Array
    """Vertices, shape (n, 3)."""
    faces: NDArray[np.integer]
    """Shape (f, 3)."""
    rgb: Array
    """Between 0 and 1: shape (3,), or (n, 3) for one per vertex."""
    ambient: float = 0.3
    """What a face seen edge-on keeps of its color; more of it for colors that mean numbers."""
    fill: float = 1.0
    """1 is solid; less is a ghost, which is seen where nothing solid is before it and hides nothing."""
    outline: float = 0.5
    """How strong the outlines are, between 0 and 1."""


class Look(NamedTuple):
    """A parallel projection onto pixels."""

    right: Array
    """Pixels to the right per unit of length, shape (3,)."""
    up: Array
    """Pixels upward, the same."""
    origin: tuple[float, float]
    """Column and row where x = 0 is seen, from the upper left corner."""
    height: int
    """Of the picture, in pixels."""
    width: int
    """The same."""

    @property
    def axes(self) -> Array:
        """Rows: to the right, upward and toward the viewer, in pixels per unit of length, shape (3, 3)."""
        toward = np.cross(self.right, self.up) / np.linalg.norm(self.up)
        return np.stack([self.right, self.up, toward])

    def finer(self, factor: int) -> Look:
        """The same with so many times the pixels."""
        column, row = self.origin
        scale = factor * self.right, factor * self.up, (factor * column, factor * row)
        return Look(*scale, factor * self.height, factor * self.width)

    def place(self, x: Array) -> Array:
        """Column, row and nearness of points (n, 3), in pixels."""
        seen_at = x @ self.axes.T
        return seen_at * [1, -1, 1] + [*self.origin, 0]


def picture(surfaces: Sequence[Surface], look: Look, line: float = 1.0) -> Pixels:
    """Draw surfaces.

    Args:
        surfaces: solid ones and ghosts; among those, later ones are drawn over earlier ones.
        look: from where.
        line: how wide outlines are, in pixels.

    Returns: red, green, blue and opacity, shape (height, width, 4).
    """
    fine = look.finer(FINE)
    canvas = np.zeros((fine.height, fine.width, 4), np.float32)
    solid = [surface for surface in surfaces if surface.fill == 1]
    front = np.full(canvas.shape[:2], -np.inf, np.float32)
    for surface in solid:
        at, rgb = _shaded(surface, fine)
        nearer = at.covered & (at.depth > front)
        canvas[nearer] = np.concatenate([rgb, np.ones_like(rgb[..., :1])], -1)[nearer]
        front = np.maximum(front, at.depth)
    if solid:
        lines = _lines(front, FINE * line)
        canvas[..., :3] *= 1 - (lines * max(s.outline for s in solid))[..., None]
    slack = 0.01 * max(canvas.shape)  # where a ghost and a solid nearly touch, the solid is seen
    for ghost in surfaces:
        if ghost.fill < 1:
            _haunt(canvas, front + slack, ghost, fine, FINE * line)
    return _reduced(canvas)


def _shaded(surface: Surface, look: Look) -> tuple[Seen, NDArray[np.float32]]:
    """What is seen of a surface, and its color under the light, shape (h, w, 3)."""
    at = seen(look.place(surface.x)[surface.faces], look.height, look.width)
    rgb = np.zeros((*at.face.shape, 3), np.float32)
    here = at.covered
    face, parts = at.face[here], at.parts[here]
    weights = np.stack([1 - parts.sum(1), parts[:, 0], parts[:, 1]], 1)
    normals = np.einsum("pk,pkc->pc", weights, _normals(surface, look)[face])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    shade = np.clip(normals @ LIGHT, 0, 1)
    color = surface.rgb.astype(np.float32)
    if color.ndim == 2:
        color = np.einsum("pk,pkc->pc", weights, color[surface.faces[face]])
    gloss = 0.35 * (1 - surface.ambient) * np.clip(normals @ GLOSS, 0, 1) ** 40
    light = surface.ambient + (1.05 - surface.ambient) * shade
    rgb[here] = np.clip(color * light[:, None] + gloss[:, None], 0, 1)
    return at, rgb


def _normals(surface: Surface, look: Look) -> NDArray[np.float32]:
    """Unit normals at the corners of the faces, toward the viewer, in the picture's axes, shape (f, 3, 3)."""
    axes = look.axes / np.linalg.norm(look.axes, axis=1, keepdims=True)
    a, b, c = (surface.x[surface.faces[:, k]] @ axes.T for k in range(3))
    areas = np.cross(b - a, c - a)
    at_vertices = np.zeros_like(surface.x)
    for k in range(3):
        np.add.at(at_vertices, surface.faces[:, k], areas)
    unit = [n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-300) for n in (areas, at_vertices)]
    flat, smooth = unit[0][:, None], unit[1][surface.faces]
    corners = np.where((flat * smooth).sum(-1, keepdims=True) > CREASE, smooth, flat)
    # both sides are lit: an open surface shows its inside, and inward normals must not turn a shape black
    return np.where(flat[..., 2:] < 0, -corners, corners).astype(np.float32)


def _lines(depth: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Where depth jumps: outlines, and the borders of what is before something else; shape (h, w), 0 or 1."""
    far = np.float32(-1e6)
    filled = np.where(np.isfinite(depth), depth, far)
    padded = np.pad(filled, 1, constant_values=far)
    bend = np.zeros(depth.shape, np.float32)
    for axis in (0, 1):
        before, after = (np.roll(padded, shift, axis)[1:-1, 1:-1] for shift in (1, -1))
        bend = np.maximum(bend, 2 * filled - before - after)
    jump = np.isfinite(depth) & (bend > STEP * max(depth.shape))
    radius = max(0, round((width - 1) / 2))
    if radius:
        y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
        jump = ndimage.binary_dilation(jump, x**2 + y**2 <= radius**2 + 0.5) & np.isfinite(depth)
    return jump.astype(np.float32)


def _haunt(canvas: NDArray[np.float32], front: NDArray[np.float32], ghost: Surface, look: Look, width: float) -> None:
    """Draw a ghost over the canvas: faint, stronger toward its borders; its outlines show through solids, weakly."""
    at, rgb = _shaded(ghost._replace(ambient=0.75), look)
    here = at.covered
    before = here & (at.depth > front)
    opacity = np.where(before, ghost.fill, 0.0).astype(np.float32)
    lines = _lines(at.depth, width) > 0
    opacity[lines] = np.where(before[lines], ghost.outline, 0.45 * ghost.outline)
    rgb[lines] = 0.8 * (ghost.rgb if ghost.rgb.ndim == 1 else ghost.rgb.mean(0))
    canvas *= 1 - opacity[..., None]
    canvas[..., :3] += rgb * opacity[..., None]
    canvas[..., 3] += opacity


def _reduced(canvas: NDArray[np.float32]) -> Pixels:
    """Means over fine pixels, with colors that are no longer multiplied by their opacity."""
    height, width, _ = canvas.shape
    blocks = canvas.reshape(height // FINE, FINE, width // FINE, FINE, 4).mean((1, 3))
    alpha = blocks[..., 3:]
    rgb = blocks[..., :3] / np.maximum(alpha, 1e-6)
    return np.round(255 * np.clip(np.concatenate([rgb, alpha], -1), 0, 1)).astype(np.uint8)
