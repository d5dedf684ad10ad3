"""The deformed grid of a map, colored by its log-Jacobian."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.viz.style import DIVERGING, INK, axis_names, color_bar, dress
from diffeo.viz.view import Array, array, dominant_plane

FINE = 4
"""Points per cell side: lines bend and colors blend between the lines' crossings."""
MARGIN = 0.08
"""How far a grid goes beyond the shape it is drawn around, as a part of the extent."""


class Sheet(NamedTuple):
    """A regular grid in a plane, and where a map takes it."""

    moved: Array
    """Where the grid points go, in the plane's two coordinates, shape (a, b, 2)."""
    logdet: Array
    """log det Dφ there, shape (a, b); NaN where the map folds."""


def grid(
    ax: Axes,
    phi: Diffeo,
    lo: Tensor,
    hi: Tensor,
    lines: int = 20,
    *,
    plane: tuple[int, int] | None = None,
    limit: float | None = None,
    bar: bool = True,
) -> None:
    """Draw where φ takes a square grid, colored by log det Dφ (symmetric about zero), with a color bar.

    Args:
        ax: flat axes.
        phi: a map of R^d; d = 1 draws the graph of φ instead.
        lo: lower corner of the box that the grid covers, shape (d,), in the dtype and on the device of phi.
        hi: upper corner, the same.
        lines: how many lines along the longer side.
        plane: for d > 2 the grid lies in this coordinate plane through the center of the box, and its image is seen
            along the other coordinates; by default the plane in which the box is largest.
        limit: where the colors saturate, positive; by default the largest |log det Dφ| on the grid.
        bar: whether there is a color bar; panels beside each other may share one, and a limit.

    Raises: ValueError if the corners are not two tensors of one shape (d,) with lo < hi, or lines < 2.
    """
    _check(lo, hi, lines)
    if len(lo) == 1:
        _graph(ax, phi, lo, hi, limit)
        return
    axes = plane or dominant_plane(array(lo), array(hi))
    sheet = _sheet(phi, lo, hi, lines, axes)
    mesh = draw_sheet(ax, sheet, symmetric(sheet.logdet, limit))
    dress(ax, *axis_names(len(lo), axes))
    ax.set_aspect("equal", adjustable="box")
    ax.use_sticky_edges = False
    ax.margins(0.02)
    if bar:
        color_bar(ax, mesh, growth_label(sheet.logdet))


def around(x: Tensor) -> tuple[Tensor, Tensor]:
    """Corners of the box that a grid around points, shape (n, d), covers, each of shape (d,)."""
    lo, hi = x.amin(0), x.amax(0)
    margin = MARGIN * (hi - lo).max()
    return lo - margin, hi + margin


def lattice(lo: Tensor, hi: Tensor, lines: int, axes: tuple[int, int]) -> Tensor:
    """A square grid in a coordinate plane through the center of a box, ``FINE`` points per cell side.

    Args:
        lo, hi: corners of the box, shape (d,).
        lines: how many lines along its longer side in the plane.
        axes: the coordinates of the plane.

    Returns: positions, shape (a, b, d).
    """
    i, j = axes
    cell = float(max(hi[i] - lo[i], hi[j] - lo[j])) / (lines - 1)
    cells = [max(1, round(float(hi[k] - lo[k]) / cell)) for k in axes]
    a, b = (torch.linspace(float(lo[k]), float(hi[k]), FINE * count + 1) for k, count in zip(axes, cells, strict=True))
    x = ((lo + hi) / 2).repeat(len(a), len(b), 1)
    x[..., i], x[..., j] = a.to(x)[:, None], b.to(x)
    return x


def _sheet(phi: Diffeo, lo: Tensor, hi: Tensor, lines: int, axes: tuple[int, int]) -> Sheet:
    x = lattice(lo, hi, lines, axes)
    with torch.no_grad():
        y, logdet = phi.with_logdet(x.flatten(0, 1))
    return Sheet(array(y)[:, axes].reshape(*x.shape[:2], 2), array(logdet).reshape(x.shape[:2]))


def draw_sheet(ax: Axes, sheet: Sheet, colors: Normalize) -> ScalarMappable:
    """Draw a deformed grid, and what folds of it in black. Returns: what a color bar is of."""
    x, y = sheet.moved[..., 0], sheet.moved[..., 1]
    mesh = ax.pcolormesh(
        x, y, np.ma.masked_invalid(sheet.logdet), norm=colors, cmap=DIVERGING, shading="gouraud", rasterized=True
    )
    folded = ~np.isfinite(sheet.logdet)
    ax.scatter(x[folded], y[folded], s=6, color="black", marker="s", linewidths=0)
    lined = [*sheet.moved[::FINE], *sheet.moved[:, ::FINE].swapaxes(0, 1)]
    ax.add_collection(LineCollection(lined, colors=INK, linewidths=0.45, alpha=0.75))
    return mesh


def _graph(ax: Axes, phi: Diffeo, lo: Tensor, hi: Tensor, limit: float | None) -> None:
    x = torch.linspace(float(lo), float(hi), 400).to(lo)[:, None]
    with torch.no_grad():
        y, logdet = phi.with_logdet(x)
    at, values = np.stack([array(x)[:, 0], array(y)[:, 0]], 1), array(logdet)
    pieces = LineCollection(
        list(np.stack([at[:-1], at[1:]], 1)),
        array=values[:-1],
        norm=symmetric(values, limit),
        cmap=DIVERGING,
        linewidths=4,
    )
    ax.plot(*at.T, color=INK, lw=5)
    ax.add_collection(pieces)
    dress(ax, axis_names(1, [0])[0], "φ")
    color_bar(ax, pieces, growth_label(values))


def symmetric(logdet: Array, limit: float | None = None) -> Normalize:
    """Colors of log-determinants, zero in the middle; they saturate at the limit, by default at the largest."""
    finite = np.abs(logdet[np.isfinite(logdet)])
    reach = limit or float(finite.max(initial=0.0))
    return Normalize(-max(reach, 1e-3), max(reach, 1e-3))


def growth_label(logdet: Array) -> str:
    """What the color bar of log-determinants says; NaN is a fold."""
    folded = "" if np.isfinite(logdet).all() else " (black: folded)"
    return f"log det Dφ   (< 0 shrinks, > 0 grows){folded}"


def _check(lo: Tensor, hi: Tensor, lines: int) -> None:
    if lo.ndim != 1 or lo.shape != hi.shape or not bool((lo < hi).any()) or bool((lo > hi).any()):
        raise ValueError(
            "grid expects two corners of one shape (d,), lo below hi, "
            f"and got shapes {tuple(lo.shape)} and {tuple(hi.shape)}: {lo.tolist()} and {hi.tolist()}."
        )
    if lines < 2:
        raise ValueError(f"grid expects at least 2 lines, and got {lines}.")
