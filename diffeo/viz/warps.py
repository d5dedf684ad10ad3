"""A map as it is seen on the picture that it makes: the grid that it carries, and how it changes volumes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import Diffeo
from diffeo.grid import Grid
from diffeo.shapes import Image
from diffeo.viz.images import frame, label, reach, signed
from diffeo.viz.planes import Plane, planes
from diffeo.viz.style import BLUE, DIVERGING, color_bar
from diffeo.viz.view import Array, round_length

MOST_MAPPED = 320
"""Points along a side at which a map is evaluated."""
LINES = 16
"""Lines of a grid, at least, along the longer side."""


class Pulled(NamedTuple):
    """φ⁻¹ on a plane."""

    plane: Plane
    """Where it was evaluated."""
    origin: Array
    """The two coordinates of φ⁻¹(y) that the plane shows, shape (2, rows, columns)."""
    logdet: Array
    """log det Dφ at φ⁻¹(y), shape (rows, columns); NaN where φ⁻¹ folds."""


def pulled(phi: Diffeo, plane: Plane) -> Pulled:
    """φ⁻¹ on a plane, and on the planes next to it for the derivatives."""
    plane = dataclasses.replace(plane, most=min(plane.most, MOST_MAPPED))
    with torch.no_grad():
        return as_seen(plane, phi.pullback(thick(plane)).cpu().double())


def thick(plane: Plane) -> Grid:
    """The points of a plane as it is drawn, and those next to it."""
    return plane.slab(1).shrunk(plane.factors)


def as_seen(plane: Plane, u: Tensor) -> Pulled:
    """A displacement u, shape (d, *thick(plane).shape), in steps: φ⁻¹(Ai) = A(i + u), float64.

    log det Dφ(φ⁻¹(y)) = −log det Dφ⁻¹(y), by central differences of the points that are drawn; a point is folded where
    one of the determinants of one-sided differences is not positive (the central one overlooks folds).
    """
    determinant = torch.linalg.det(derivatives(u))
    folded = torch.minimum(determinant, loops_for(u).corner_determinants(u.contiguous())) <= 0
    logdet = torch.where(folded, torch.nan, -determinant.log())
    level = min(1, plane.level) if plane.across is not None else 0
    index = thick(plane).indices(u) + u
    origin = np.stack(
        [
            side.at(plane.laid_out(index[side.axis, None] * factor + (factor - 1) / 2, level)[0])
            for side in (plane.right, plane.up)
            for factor in [plane.factors[side.axis]]
        ]
    )
    return Pulled(plane, origin, plane.laid_out(logdet[None], level)[0])


def derivatives(u: Tensor) -> Tensor:
    """The derivatives of i + u(i), shape (*grid, d, d), by central differences, one-sided at the border."""
    d = len(u)
    columns = [torch.gradient(u, dim=k + 1)[0] if u.shape[k + 1] > 1 else torch.zeros_like(u) for k in range(d)]
    return torch.stack(columns, 1).movedim((0, 1), (-2, -1)) + torch.eye(d).to(u)


def carried_grid(ax: Axes, phi: Diffeo, image: Image, plane: Plane | None = None) -> float:
    """Draw a square grid of the source's space as φ carries it: the points y where a coordinate of φ⁻¹(y) is round.

    In three dimensions these are the planes in which a coordinate is round, carried by φ and cut by the plane.

    Args:
        ax: what is already drawn on it stays.
        image: φ · source, or the target: anything on the grid on which the map is to be seen.
        plane: one of ``planes(image)``, by default the first of them.

    Returns: the distance of the lines in the source's space, in length units.
    """
    found = pulled(phi, plane or planes(image)[0])
    step = spacing([found])
    lines(ax, found, step)
    label(ax, found.plane, dark=False)
    return step


def log_jacobian(ax: Axes, phi: Diffeo, image: Image, limit: float | None = None, plane: Plane | None = None) -> None:
    """Draw log det Dφ where φ⁻¹ is evaluated: on the grid of φ · source; symmetric about zero, folds in black.

    Args:
        image: φ · source, or the target: anything on the grid on which the map is to be seen.
        limit: where the colors saturate, positive; by default at nearly the largest magnitude.
        plane: one of ``planes(image)``, by default the first of them.
    """
    found = pulled(phi, plane or planes(image)[0])
    drawn = signed(ax, found.plane, found.logdet, limit or reach([found.logdet], 1e-3), DIVERGING, smooth=True)
    color_bar(ax, drawn, logdet_label([found]))
    label(ax, found.plane, dark=False)


def spacing(maps: Sequence[Pulled]) -> float:
    """A round distance at which lines are neither few nor crowded."""
    ranges = [float(np.ptp(x[np.isfinite(x)])) if np.isfinite(x).any() else 0.0 for m in maps for x in m.origin]
    return round_length((max(ranges) or 1.0) / LINES)


def lines(ax: Axes, found: Pulled, step: float, color: str = BLUE) -> None:
    """The lines where a coordinate of φ⁻¹ is a multiple of ``step``."""
    for x in found.origin:
        if min(x.shape) < 2:
            continue
        first, last = np.ceil(np.nanmin(x) / step), np.floor(np.nanmax(x) / step)
        if last >= first:
            levels = step * np.arange(first, last + 1)
            ax.contour(*found.plane.ticks, x, levels=levels, colors=color, linewidths=0.5, linestyles="solid")
    frame(ax, found.plane)


def logdet_label(maps: Sequence[Pulled]) -> str:
    """What the colors mean."""
    folded = any(np.isnan(m.logdet).any() for m in maps)
    return f"log det Dφ{' (black: folded)' if folded else ''}"
