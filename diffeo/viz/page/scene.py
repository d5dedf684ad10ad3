"""Shapes that move: points, lines and surfaces with a slider for the time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from diffeo.viz.page.panel import Panel, packed, plain
from diffeo.viz.page.strokes import strokes
from diffeo.viz.style import DIVERGING, SEQUENTIAL
from diffeo.viz.view import Array, dominant_plane

SHADES = 33
"""Colors that stand for a scale; an odd number has one for zero."""
PALEST, LUMINANCE = 0.78, np.array([0.2126, 0.7152, 0.0722])
"""The luminance of the palest color, and what red, green and blue add to it (Rec. 709)."""
LEAST = 1e-3
"""Where a zero-centered scale ends at least: rounding errors are not worth a color."""


@dataclass(frozen=True)
class Layer:
    """One thing in a scene: points, or lines where it has edges, or a surface where it has faces.

    Attributes:
        name: of the switch that shows and hides it.
        positions: shape (T, n, d), d = 2 or 3; (1, n, d) for what does not move. NaN leaves a point out.
        color: as CSS has it; that of the text, which is light on a dark page, for "ink".
        edges: pairs of points, shape (m, 2).
        faces: triangles, shape (f, 3), in space.
        quantities: what it may be colored by: numbers of shape (T, n) or (1, n) by their name and unit. Layers share
            the colors of a name. NaN is black: say in the name what that means.
        opacity: from 0 to 1.
        size: of a point or of a line, in pixels; by default few points are large.
        diverging: names of the quantities whose colors are centered at zero.
        visible: whether it is shown at first.
        dash: of its lines: "solid", "dash", "dot" or "dashdot".
        symbol: of its points: "circle", "square", "diamond", "cross" or "x", the first three also as "circle-open".

    Raises: ValueError for arrays of other shapes.
    """

    name: str
    positions: Array
    color: str
    edges: Any = None
    faces: Any = None
    quantities: Mapping[str, Array] = field(default_factory=dict)
    opacity: float = 1.0
    size: float | None = None
    diverging: Collection[str] = ()
    visible: bool = True
    dash: str = "solid"
    symbol: str = "circle"

    def __post_init__(self) -> None:
        shape = np.shape(self.positions)
        if len(shape) != 3 or shape[2] not in (2, 3) or not np.size(self.positions):
            raise ValueError(
                f"the layer {self.name} expects positions of shape (times, points, 2 or 3), and got {shape}."
            )
        for label, values in self.quantities.items():
            if np.shape(values) not in {(shape[0], shape[1]), (1, shape[1])}:
                raise ValueError(
                    f"the layer {self.name} expects {label} of shape {shape[:2]}, and got {np.shape(values)}."
                )
        for word, rows, width in (("edges", self.edges, 2), ("faces", self.faces, 3)):
            if rows is not None and (np.ndim(rows) != 2 or np.shape(rows)[1] != width):
                raise ValueError(f"the layer {self.name} expects {word} of shape (…, {width}), got {np.shape(rows)}.")
        if self.faces is not None and shape[2] != 3:
            raise ValueError(f"the layer {self.name} has faces in the plane: give their edges instead.")

    def data(self) -> dict[str, Any]:
        """The layer for the script; edges as strokes of a pen."""
        found: dict[str, Any] = {"name": self.name, "color": self.color, "opacity": self.opacity, "size": self.size}
        found |= {
            "visible": self.visible,
            "dash": self.dash,
            "symbol": self.symbol,
            "positions": packed(_single(self.positions)),
        }
        found |= {"quantities": {label: packed(_single(values)) for label, values in self.quantities.items()}}
        if self.faces is not None:
            found["faces"] = packed(np.asarray(self.faces, dtype=np.int64))
        elif self.edges is not None:
            found["strokes"] = packed(strokes(np.asarray(self.edges, dtype=np.int64)))
        return found


@dataclass(frozen=True)
class Scene(Panel):
    """Layers over one another, in the plane or in space, with one slider for all of them.

    Attributes:
        title: what it shows.
        layers: all in the plane, or all in space; those that move have one position per time.
        times: shape (T,): what the slider says at each moment. One time means no slider.
        note: how to read it.
        axes: the names of the coordinates, with units where they are known; "" for none.
        clock: the name of the time.
        color: the quantity that colors at first; None for the layers' own colors.
        equal: whether both axes of a plane have one scale.
        start: the moment that is seen at first; by default the last.

    Raises: ValueError for layers that do not belong together.
    """

    title: str
    layers: Sequence[Layer]
    times: Any
    note: str = ""
    axes: Sequence[str] = ("x", "y", "z")
    clock: str = "time"
    color: str | None = None
    equal: bool = True
    start: int | None = None
    kind: ClassVar[str] = "scene"
    plotly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        moments = len(np.ravel(self.times))
        if not self.layers or not moments:
            raise ValueError(f"the scene {self.title} expects layers and times, and has none.")
        dims = {np.shape(layer.positions)[2] for layer in self.layers}
        if len(dims) > 1:
            raise ValueError(f"the scene {self.title} has layers in the plane and in space: make two scenes of them.")
        for layer in self.layers:
            for values in (layer.positions, *layer.quantities.values()):
                if len(values) not in {1, moments}:
                    raise ValueError(
                        f"the layer {layer.name} expects values for {moments} times or for one, and got {len(values)}."
                    )
        if self.color is not None and self.color not in self.labels:
            raise ValueError(f"the scene {self.title} is colored by {self.color}, which no layer has.")

    @property
    def labels(self) -> list[str]:
        """The quantities of all layers."""
        return list(dict.fromkeys(label for layer in self.layers for label in layer.quantities))

    def body(self) -> str:
        """An empty box, which the script fills."""
        return '<div class="controls"></div><div class="plot"></div>'

    def data(self) -> dict[str, Any]:
        """Layers, times, the box that holds everything at all times, and the scales of the quantities."""
        every = np.concatenate(
            [np.reshape(layer.positions, (-1, np.shape(layer.positions)[2])) for layer in self.layers]
        )
        lo, hi = np.nanmin(every, axis=0), np.nanmax(every, axis=0)
        return {
            "layers": [layer.data() for layer in self.layers],
            "times": plain(self.times),
            "clock": self.clock,
            "axes": list(self.axes)[: len(lo)],
            "bounds": [plain(lo), plain(hi)],
            "eye": _eye(lo, hi) if len(lo) == 3 else None,
            "scales": {label: self._scale(label) for label in self.labels},
            "color": self.color,
            "equal": self.equal,
            "start": np.size(self.times) - 1 if self.start is None else self.start,
        }

    def _scale(self, label: str) -> dict[str, Any]:
        """Which colors stand for which numbers, the same at all times and in all layers."""
        having = [layer for layer in self.layers if label in layer.quantities]
        values = np.concatenate([np.ravel(layer.quantities[label]) for layer in having])
        finite = values[np.isfinite(values)]
        lo, hi = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
        if diverging := any(label in layer.diverging for layer in having):
            hi = max(abs(lo), abs(hi), LEAST)
            lo = -hi
        shades = colormaps[DIVERGING if diverging else SEQUENTIAL](np.linspace(0, 1, SHADES))[:, :3]
        colors = [to_hex(shade) for shade in (_deepened(shades) if diverging else shades)]
        return {"lo": lo, "hi": hi if hi > lo else lo + 1, "colors": colors, "gaps": len(finite) < len(values)}


def _deepened(rgb: Array) -> Array:
    """Colors, shape (n, 3), none so pale that a line in it is lost on white paper: zero is grey instead of white."""
    return rgb * np.minimum(1, PALEST / (rgb @ LUMINANCE))[:, None]


def _single(values: Any) -> Array:
    return np.asarray(values, dtype=np.float32)


def _eye(lo: Array, hi: Array) -> dict[str, Any]:
    """A view of the plane in which the box is largest, a little from the side and from above, and which way is up."""
    plane = dominant_plane(lo, hi)
    toward, upward = {
        (1, 2): ((0.90, 0.34, 0.34), 2),
        (0, 2): ((0.34, -0.90, 0.34), 2),
        (0, 1): ((0.34, 0.34, 0.90), 1),
    }[plane]
    return {"from": list(toward), "up": [float(k == upward) for k in range(3)]}
