"""The deformed grid of a map, colored by its log-Jacobian."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.viz.style import DIVERGING, INK, axis_names, color_bar, dress
from diffeo.viz.view import Array, array, dominant_plane

FINE = 4
"""Points per cell side: lines bend and colors blend between the lines' crossings."""


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

    Raises: ValueError if the corners are not two tensors of one shape (d,) with lo < hi, or lines < 2.
    """
    _check(lo, hi, lines)
    if len(lo) == 1:
        _graph(ax, phi, lo, hi, limit)
        return
    axes = plane or dominant_plane(array(lo), array(hi))
    sheet = _sheet(phi, lo, hi, lines, axes)
    colors = _norm(sheet.logdet, limit)
    x, y = sheet.moved[..., 0], sheet.moved[..., 1]
    mesh = ax.pcolormesh(
        x, y, np.ma.masked_invalid(sheet.logdet), norm=colors, cmap=DIVERGING, shading="gouraud", rasterized=True
    )
    folded = ~np.isfinite(sheet.logdet)
    ax.scatter(x[folded], y[folded], s=6, color="black", marker="s", linewidths=0)
    lined = [*sheet.moved[::FINE], *sheet.moved[:, ::FINE].swapaxes(0, 1)]
    ax.add_collection(LineCollection(lined, colors=INK, linewidths=0.45, alpha=0.75))
    dress(ax, *axis_names(len(lo), axes))
    ax.set_aspect("equal", adjustable="box")
    ax.use_sticky_edges = False
    ax.margins(0.02)
    color_bar(ax, mesh, _label(sheet.logdet))


def _sheet(phi: Diffeo, lo: Tensor, hi: Tensor, lines: int, axes: tuple[int, int]) -> Sheet:
    i, j = axes
    cell = float(max(hi[i] - lo[i], hi[j] - lo[j])) / (lines - 1)
    cells = [max(1, round(float(hi[k] - lo[k]) / cell)) for k in axes]
    a, b = (torch.linspace(float(lo[k]), float(hi[k]), FINE * count + 1) for k, count in zip(axes, cells, strict=True))
    x = ((lo + hi) / 2).repeat(len(a), len(b), 1)
    x[..., i], x[..., j] = a.to(x)[:, None], b.to(x)
    with torch.no_grad():
        y, logdet = phi.with_logdet(x.reshape(-1, len(lo)))
    return Sheet(array(y)[:, axes].reshape(len(a), len(b), 2), array(logdet).reshape(len(a), len(b)))


def _graph(ax: Axes, phi: Diffeo, lo: Tensor, hi: Tensor, limit: float | None) -> None:
    x = torch.linspace(float(lo), float(hi), 400).to(lo)[:, None]
    with torch.no_grad():
        y, logdet = phi.with_logdet(x)
    at, values = np.stack([array(x)[:, 0], array(y)[:, 0]], 1), array(logdet)
    pieces = LineCollection(
        list(np.stack([at[:-1], at[1:]], 1)), array=values[:-1], norm=_norm(values, limit), cmap=DIVERGING, linewidths=4
    )
    ax.plot(*at.T, color=INK, lw=5)
    ax.add_collection(pieces)
    dress(ax, axis_names(1, [0])[0], "φ")
    color_bar(ax, pieces, _label(values))


def _norm(logdet: Array, limit: float | None) -> Normalize:
    finite = np.abs(logdet[np.isfinite(logdet)])
    reach = limit or float(finite.max(initial=0.0))
    return Normalize(-max(reach, 1e-3), max(reach, 1e-3))


def _label(logdet: Array) -> str:
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
