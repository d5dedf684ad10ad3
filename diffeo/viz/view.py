"""What is seen of a shape: which coordinates, how many points, from where, at which scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import NDArray
from torch import Tensor

from diffeo.shapes import Mesh, PointShape
from diffeo.viz.style import INK, SMALL

Array = NDArray[np.floating]
MOST_POINTS = 6000
MOST_FACES = 12000


def array(x: Tensor) -> Array:
    """A tensor as a float64 array."""
    return x.detach().cpu().double().numpy()


def visible(x: Tensor, width: int) -> Array:
    """The first ``width`` coordinates of x, shape (n, d), as an array (n, width); zeros where d is smaller."""
    seen = array(x)[:, :width]
    return np.pad(seen, ((0, 0), (0, width - seen.shape[1])))


def sample(n: int, most: int = MOST_POINTS) -> NDArray[np.intp]:
    """Which of n points to draw: all of them, or ``most``, chosen at random but always the same ones."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def coarse(x: Array, faces: NDArray[np.intp], most: int = MOST_FACES) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A mesh light enough to draw: vertices in one cell of a grid become one of them, collapsed faces go.

    Returns: the faces kept, as indices into x, shape (k, 3) with k <= most, and their rows in ``faces``, shape (k,).
    """
    rows, cells = np.arange(len(faces)), 256
    kept = faces
    while len(kept) > most:
        grid = np.floor((x - x.min(0)) / np.ptp(x, axis=0).max() * cells * (1 - 1e-9)).astype(np.int64)
        first, inverse = np.unique(grid, axis=0, return_index=True, return_inverse=True)[1:]
        merged = first[inverse.ravel()][faces]
        rows = np.flatnonzero((merged != np.roll(merged, 1, axis=1)).all(1))
        rows = rows[np.unique(np.sort(merged[rows], axis=1), axis=0, return_index=True)[1]]
        kept, cells = merged[rows], cells * 3 // 4
    return kept, rows


def dominant_plane(lo: Array, hi: Array) -> tuple[int, int]:
    """The two coordinates, among the first three, in which a box (lo, hi), each of shape (d,), is longest."""
    extent = (hi - lo)[:3]
    i, j = sorted(np.argsort(-extent, kind="stable")[:2])
    return int(i), int(j)


def is_flat(x: Array) -> bool:
    """Whether points (n, 3) lie in a plane z = constant, as plane shapes do when their format knows only space."""
    return bool(np.ptp(x[:, 2]) <= 1e-6 * np.ptp(x, axis=0).max())


def remark(source: PointShape) -> str:
    """How many points a shape has, and what of them is not shown."""
    n, d = source.x.shape
    kind = "vertices" if isinstance(source, Mesh) else "points"
    shown = f", the first 3 of {d} coordinates shown" if d > 3 else ""
    return f"source: {n:,} {kind} in {d} dimension{'s' if d > 1 else ''}{shown}"


def face_plane(ax: Axes3D, plane: tuple[int, int], tilt: float = 20.0) -> None:
    """Turn a 3D view toward a coordinate plane, a little from the side and from above so that depth can be seen."""
    azimuth, upward = {(1, 2): (tilt, "z"), (0, 2): (tilt - 90, "z"), (0, 1): (tilt, "y")}[plane]
    ax.view_init(elev=tilt, azim=azimuth, vertical_axis=upward)


def frame(ax: Axes3D, x: Array, filled: float = 0.95) -> None:
    """Fit a parallel projection to the points x, shape (n, 3): true to scale, centered, no box around it."""
    ax.set_proj_type("ortho")
    ax.set_axis_off()
    middle, half = (x.min(0) + x.max(0)) / 2, max(float(np.ptp(x, axis=0).max()) / 2, 1e-12)
    _limits(ax, middle, half)
    ax.set_box_aspect((1, 1, 1), zoom=1)
    zoom: Any = filled / max(float(np.ptp(_camera(ax, x)[0], axis=0).max()), 1e-12)  # the stubs say int
    ax.set_box_aspect((1, 1, 1), zoom=zoom)
    seen, right, up = _camera(ax, x)
    off = (seen.min(0) + seen.max(0)) / 2 - 0.5
    _limits(ax, middle + off[0] * right / (right @ right) + off[1] * up / (up @ up), half)


def _limits(ax: Axes3D, middle: Array, half: float) -> None:
    ax.set(
        xlim3d=(middle[0] - half, middle[0] + half),
        ylim3d=(middle[1] - half, middle[1] + half),
        zlim3d=(middle[2] - half, middle[2] + half),
    )


def projection(ax: Axes3D) -> tuple[Array, Array, Array]:
    """Where x = 0 is seen in a parallel projection, in axes fractions, and those to the right and upward per unit."""
    seen, right, up = _camera(ax, np.zeros((1, 3)))
    return seen[0], right, up


def _camera(ax: Axes3D, x: Array) -> tuple[Array, Array, Array]:
    """Where x is seen, in axes fractions (n, 2), and the two rows (3,) of the linear map that leads there."""
    projection = ax.get_proj()
    projection = projection / projection[3, 3]  # homogeneous; the last row is constant in a parallel projection
    window = np.array([ax.viewLim.width, ax.viewLim.height])
    linear = projection[:2, :3] / window[:, None]
    offset = (projection[:2, 3] - np.array([ax.viewLim.x0, ax.viewLim.y0])) / window
    return x @ linear.T + offset, linear[0], linear[1]


def scale_bar(ax: Axes3D, names: Sequence[str]) -> None:
    """A bar of a round length, and the directions of the axes, on the lower edge of a framed 3D view."""
    _, right, up = _camera(ax, np.zeros((1, 3)))
    per_unit = float(np.linalg.norm(right))
    length = round_length(0.25 / per_unit)
    _stroke(ax, [0.0, length * per_unit], [-0.08, -0.08], 2.0)
    _note(ax, length * per_unit / 2, -0.07, f"{length:g}", "bottom")
    for axis, name in enumerate(names):
        arm = 0.06 * np.array([right[axis], up[axis]]) / per_unit
        _stroke(ax, [0.9, 0.9 + arm[0]], [-0.09, -0.09 + arm[1]], 0.8)
        tip = np.array([0.9, -0.09]) + arm + 0.025 * arm / max(np.hypot(*arm), 1e-12)
        _note(ax, tip[0], tip[1], name, "center")


def _stroke(ax: Axes3D, x: Sequence[float], y: Sequence[float], width: float) -> None:
    ax.add_artist(Line2D(x, y, color=INK, lw=width, transform=ax.transAxes, clip_on=False))


def _note(ax: Axes, x: float, y: float, text: str, va: str) -> None:
    # Axes.text, since Axes3D's own wants a third coordinate.
    Axes.text(ax, x, y, text, transform=ax.transAxes, ha="center", va=va, fontsize=SMALL, color=INK)


def round_length(length: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above ``length``."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(digit * power for digit in (1, 2, 5) if digit * power <= length * (1 + 1e-9)))
