"""The scene of a shape on its way: points, curves and surfaces in one, two, three and more dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffeo.core import Compose, Diffeo
from diffeo.shapes import Curve, Mesh, PointShape
from diffeo.shapes.sampling import trimmed
from diffeo.viz.page.companions import grid_lines, ways
from diffeo.viz.page.scene import Layer, Scene
from diffeo.viz.quantities import Displacement, Growth, telling
from diffeo.viz.style import FAINT, ROLES, axis_names
from diffeo.viz.surface import face_array
from diffeo.viz.timeline import Timeline, timeline
from diffeo.viz.view import Array, coarse, is_flat, sample, visible

MOMENTS, FEWEST, NUMBERS = 25, 9, 150_000
"""How many moments a page has: fewer where many points would make it large, points times moments."""
MOST_POINTS, MOST_FACES = 20_000, 40_000
LINES = {2: 24, 3: 16}
"""Of the grid, along its longer side, in the plane and in space."""


@dataclass(frozen=True)
class Seen:
    """What of a shape is shown: some of its points, and how they are joined."""

    rows: NDArray[np.intp]
    edges: Any = None
    faces: Any = None

    @property
    def joined(self) -> dict[str, Any]:
        """As a layer takes it."""
        return {"edges": self.edges, "faces": self.faces}


def seen(shape: PointShape) -> Seen:
    """All of a shape, or as much of it as a browser draws fast, thinned always in the same way."""
    if isinstance(shape, Mesh):
        faces, _ = coarse(visible(shape.x, 3), face_array(shape), MOST_FACES)
        rows, corners = np.unique(faces, return_inverse=True)
        return Seen(rows, faces=corners.reshape(-1, 3))
    if isinstance(shape, Curve):
        return Seen(np.arange(len(shape.x)), edges=shape.edges.detach().cpu().numpy())
    return Seen(sample(len(shape.x), MOST_POINTS))


def shape_scene(source: PointShape, target: PointShape, phi: Diffeo) -> Scene:
    """The source on its way to the target, colored by how far it goes and how much it grows.

    Args:
        source: the shape before, d coordinates; d > 3 shows the first three, d = 1 draws the time upward.
        target: what it was registered to.
        phi: the map, in the dtype and on the device of the source.
    """
    source, target = trimmed(source), trimmed(target)
    d, before = source.x.shape[1], seen(source)
    shown = source.x[torch.as_tensor(before.rows, device=source.x.device)]
    moments = int(np.clip(NUMBERS // len(shown), FEWEST, MOMENTS))
    if d == 1:
        return _rising(timeline(phi, shown, moments), visible(target.x, 1)[:, 0], _note(source, phi, before, 1))
    width = _width(source, target, phi)
    lines, edges = grid_lines(source.x, width, LINES[width])
    way, grid = timeline(phi, torch.cat([shown, lines]), moments, measured=len(shown)).split(len(shown))
    growth = Growth().label(way)
    lattice = Layer(
        "grid", grid.positions[..., :width], FAINT, edges,
        quantities={growth: grid.logdet}, diverging={growth}, size=1.3, visible=width == 2,
    )  # fmt: skip
    ends = _ends(way.positions[:1, :, :width], before, visible(target.x, width)[None], seen(target))
    moved = _moved(way, way.positions[..., :width], before)
    return Scene(
        "The source on its way to the target",
        [lattice, *ends, moved, ways(way.positions[..., :width])],
        way.times,
        _note(source, phi, before, width),
        [letter(name) for name in axis_names(d, range(width))],
        clock="part of the way",
        color=telling(way).label(way),
    )


def _ends(start: Array, before: Seen, goal: Array, after: Seen) -> list[Layer]:
    """Source and target, which stay where they are; of surfaces only the target, which one looks through."""
    solid, cloud = before.faces is not None, before.edges is None and before.faces is None
    look = {"opacity": 0.2 if solid else 1.0, "size": 4.0 if after.edges is None else None}
    return [
        Layer("source", start, ROLES["source"], **before.joined, **look, dash="dot", visible=not (solid or cloud)),
        Layer(
            "target", goal[:, after.rows], ROLES["target"], **after.joined, **look, dash="dash", symbol="circle-open"
        ),
    ]


def _moved(way: Timeline, positions: Array, before: Seen) -> Layer:
    quantities = {quantity.label(way): quantity.values(way) for quantity in (Displacement(), Growth())}
    signed = {Growth().label(way)}
    size = 4.0 if before.edges is not None else None
    return Layer(
        "moved", positions, ROLES["moved"], **before.joined, quantities=quantities, diverging=signed, size=size
    )


def _rising(way: Timeline, goal: Array, note: str) -> Scene:
    """Points on a line: their position to the right, the part of the way upward."""
    height = np.broadcast_to(way.times[:, None], way.positions.shape[:2])
    positions = np.stack([way.positions[..., 0], height], 2)
    above = np.stack([goal, np.full(len(goal), 1.0)], 1)[None]
    before = Seen(np.arange(positions.shape[1]))
    ends = _ends(positions[:1], before, above, Seen(np.arange(len(goal))))
    return Scene(
        "The source on its way to the target",
        [ways(positions, visible=True), *ends, _moved(way, positions, before)],
        way.times,
        f"Positions to the right, the part of the way that is done upward. {note}",
        ("x", "part of the way"),
        clock="part of the way",
        color=telling(way).label(way),
        equal=False,
    )


def _width(source: PointShape, target: PointShape, phi: Diffeo) -> int:
    """How many coordinates are shown: two also where shapes in space lie in a plane, and stay there."""
    d = source.x.shape[1]
    if d != 3 or isinstance(source, Mesh) or isinstance(target, Mesh):
        return min(d, 3)
    with torch.no_grad():
        every = np.concatenate([visible(x, 3) for x in (source.x, target.x, phi(source.x))])
    return 2 if is_flat(every) else 3


def _note(source: PointShape, phi: Diffeo, shown: Seen, width: int) -> str:
    """How to look at it, and what is not shown of it."""
    n, d = source.x.shape
    words = ["Drag to turn, scroll to zoom." if width == 3 else "Drag a box to zoom, double-click to go back."]
    if width == 3:
        words.append("The grid lies in a plane through the center of the source.")
    if isinstance(phi, Compose):
        words.append("First comes the motion that aligns the shapes.")
    if d > 3:
        words.append(f"The first 3 of {d} coordinates are shown.")
    if len(shown.rows) < n:
        words.append(f"{len(shown.rows):,} of {n:,} points are shown.")
    return " ".join(words)


def letter(name: str) -> str:
    """An axis's name without matplotlib's mathematics: x₁ instead of $x_{1}$; other names as they are."""
    if "$" not in name:
        return name
    return name.replace("$", "").replace("_{", "").replace("}", "").translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
