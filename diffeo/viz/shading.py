"""Surfaces as pictures: smooth shading, true depth, outlines, and ghosts that are seen through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffeo.viz.raster import Seen, seen
from diffeo.viz.view import Array

Pixels = NDArray[np.uint8]
Depth = NDArray[np.float32]
Canvas = NDArray[np.float32]

FINE = 2
"""Pixels that are computed per pixel and direction, so that borders are smooth."""
CREASE = np.cos(np.radians(50))
"""Faces that meet at a sharper angle than 50° keep their edge."""
LIGHT = np.array([-0.45, 0.5, 1.0], np.float32) / np.float32(np.linalg.norm([-0.45, 0.5, 1.0]))
"""Where light comes from: to the right, upward, toward the viewer."""
GLOSS = (LIGHT + np.eye(3, dtype=np.float32)[2]) / np.float32(np.sqrt(2 + 2 * LIGHT[2]))
"""Halfway between the light and the viewer: where gloss is brightest."""
STEP = 0.02
"""A jump in depth, as a part of the picture's side, that an outline is drawn at."""
HIDDEN, BEFORE = 0.45, 0.5
"""How much of a ghost's outline shows through what hides it, and of its fill before something solid."""


class Surface(NamedTuple):
    """A triangle surface, and how it is drawn."""

    x: Array
    """Vertices, shape (n, 3)."""
    faces: NDArray[np.integer]
    """Shape (f, 3)."""
    rgb: Array
    """Between 0 and 1: shape (3,), or (n, 3) for one per vertex."""
    ambient: float = 0.4
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

    def cut(self, rows: slice, columns: slice) -> Look:
        """A part of the picture."""
        column, row = self.origin
        origin = column - columns.start, row - rows.start
        return Look(self.right, self.up, origin, rows.stop - rows.start, columns.stop - columns.start)

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
    out = np.zeros((look.height, look.width, 4), np.uint8)
    rows, columns = _covered(surfaces, look, line)
    if out[rows, columns].size:
        out[rows, columns] = _drawn(surfaces, look.cut(rows, columns), line, STEP * max(look.height, look.width))
    return out


def _covered(surfaces: Sequence[Surface], look: Look, line: float) -> tuple[slice, slice]:
    """The rows and columns in which something may be seen."""
    at = np.concatenate([look.place(surface.x)[:, :2] for surface in surfaces] or [np.zeros((1, 2))])
    low, high = np.floor(at.min(0) - line - 1).astype(int), np.ceil(at.max(0) + line + 1).astype(int)
    (left, right), (top, bottom) = np.clip([low, high], 0, [look.width, look.height]).T
    return slice(top, bottom), slice(left, right)


def _drawn(surfaces: Sequence[Surface], look: Look, line: float, step: float) -> Pixels:
    """Draw surfaces; ``step`` is a jump in depth, in pixels, that an outline is drawn at."""
    fine, step, line = look.finer(FINE), FINE * step, FINE * line
    canvas = np.zeros((fine.height, fine.width, 4), np.float32)
    solid = [surface for surface in surfaces if surface.fill == 1]
    front = np.full(canvas.shape[:2], -np.inf, np.float32)
    for surface in solid:
        at, rgb = _shaded(surface, fine)
        nearer = at.depth > front
        canvas[nearer, :3], canvas[nearer, 3] = rgb[nearer], 1
        front = np.maximum(front, at.depth)
    if solid:
        lines = _lines(front, line, step)
        canvas[lines, :3] *= 1 - max(surface.outline for surface in solid)
    front += step / 2  # where a ghost and a solid nearly touch, the solid is seen
    for ghost in surfaces:
        if ghost.fill < 1:
            _haunt(canvas, front, ghost, fine, line, step)
    return _reduced(canvas)


def _shaded(surface: Surface, look: Look) -> tuple[Seen, NDArray[np.float32]]:
    """What is seen of a surface, and its color under the light, shape (h, w, 3)."""
    at = seen(look.place(surface.x)[surface.faces], look.height, look.width)
    rgb = np.zeros((*at.face.shape, 3), np.float32)
    here = at.covered
    if surface.fill == 0 or not here.any():
        return at, rgb
    face, parts = at.face[here], at.parts[here]
    normals = _between(_normals(surface, look), face, parts)
    normals /= np.maximum(np.sqrt(np.einsum("pc,pc->p", normals, normals)), 1e-12)[:, None]
    shade = np.clip(normals @ LIGHT, 0, 1)
    color = surface.rgb.astype(np.float32)
    if color.ndim == 2:
        color = _between(color[surface.faces], face, parts)
    gloss = 0.35 * (1 - surface.ambient) * np.clip(normals @ GLOSS, 0, 1) ** 40
    light = surface.ambient + (1.05 - surface.ambient) * shade
    rgb[here] = np.clip(color * light[:, None] + gloss[:, None], 0, 1)
    return at, rgb


def _between(corners: NDArray[np.float32], face: NDArray[np.int32], parts: NDArray[np.float32]) -> Any:
    """Values at the corners of faces, shape (f, 3, 3), in the faces, shape (p, 3)."""
    a, u, v = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return a[face] + parts[:, :1] * u[face] + parts[:, 1:] * v[face]


def _normals(surface: Surface, look: Look) -> NDArray[np.float32]:
    """Unit normals at the corners of the faces, toward the viewer, in the picture's axes, shape (f, 3, 3)."""
    axes = look.axes / np.linalg.norm(look.axes, axis=1, keepdims=True)
    a, b, c = (surface.x[surface.faces[:, k]] @ axes.T for k in range(3))
    areas = np.cross(b - a, c - a)
    n, corner = len(surface.x), surface.faces.T.ravel()
    at_vertices = np.stack([np.bincount(corner, np.tile(areas[:, k], 3), n) for k in range(3)], 1)
    unit = [n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-300) for n in (areas, at_vertices)]
    flat, smooth = unit[0][:, None], unit[1][surface.faces]
    corners = np.where((flat * smooth).sum(-1, keepdims=True) > CREASE, smooth, flat)
    # both sides are lit: an open surface shows its inside, and inward normals must not turn a shape black
    return np.where(flat[..., 2:] < 0, -corners, corners).astype(np.float32)


def _lines(depth: Depth, width: float, step: float) -> NDArray[np.bool_]:
    """Where depth jumps: outlines, and the borders of what is before something else; shape (h, w)."""
    here = np.isfinite(depth)
    far = np.float32(-1e6)
    padded = np.pad(np.where(here, depth, far), 1, mode="edge")
    twice = 2 * padded[1:-1, 1:-1] - step
    # more than a slope: the surface falls away on one side, and does not rise on the other
    jump = (padded[:-2, 1:-1] + padded[2:, 1:-1] < twice) | (padded[1:-1, :-2] + padded[1:-1, 2:] < twice)
    jump &= here
    radius = max(0, round((width - 1) / 2))
    if radius:
        y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
        jump = ndimage.binary_dilation(jump, x**2 + y**2 <= radius**2 + 0.5) & here
    return jump


def _haunt(canvas: Canvas, front: Depth, ghost: Surface, look: Look, width: float, step: float) -> None:
    """Draw a ghost over the canvas: faint, with outlines that show through what hides them, weakly."""
    at, rgb = _shaded(ghost, look)
    before = at.covered & (at.depth > front)
    opacity = np.where(before, np.float32(ghost.fill), np.float32(0))
    opacity[before & (canvas[..., 3] > 0)] *= BEFORE
    lines = _lines(at.depth, width, step)
    opacity[lines] = np.where(before[lines], ghost.outline, HIDDEN * ghost.outline)
    rgb[lines] = 0.8 * (ghost.rgb if ghost.rgb.ndim == 1 else ghost.rgb.mean(0))
    drawn = opacity > 0
    part = opacity[drawn][:, None]
    canvas[drawn] = (1 - part) * canvas[drawn] + part * np.concatenate([rgb[drawn], np.ones_like(part)], 1)


def _reduced(canvas: NDArray[np.float32]) -> Pixels:
    """Means over fine pixels, with colors that are no longer multiplied by their opacity."""
    height, width, _ = canvas.shape
    blocks = canvas.reshape(height // FINE, FINE, width // FINE, FINE, 4).mean((1, 3))
    alpha = blocks[..., 3:]
    rgb = blocks[..., :3] / np.maximum(alpha, 1e-6)
    return np.round(255 * np.clip(np.concatenate([rgb, alpha], -1), 0, 1)).astype(np.uint8)
