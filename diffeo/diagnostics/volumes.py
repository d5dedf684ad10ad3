"""How the layers of a flow change volume: where one does not keep orientation, the flow folds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.diagnostics.mass import CHUNK, cells
from diffeo.flows.frames import FRAME, opening, parted

SIDE = {1: 2000, 2: 100}  # points along each side of a grid in a box
SCATTERED, FEWER = 10_000, 2000  # points of a box in more dimensions, and in more than 5, where each takes long
AROUND = 0.25  # how far a box goes beyond the points in it, relative to their extent


class Volumes(NamedTuple):
    """The determinants of layers at points."""

    smallest: float
    """Of all layers at all points; NaN without layers or points."""
    folds: int
    """Points where a layer's determinant is not positive, or not finite."""
    points: int
    """How many there were."""
    where: str
    """What they are."""


def volumes_at(phi: Diffeo, x: Tensor, where: str) -> Volumes:
    """The determinants of the layers at points x, shape (n, d); changes of units do not count."""
    smallest, folds = [], 0
    with torch.no_grad():
        for part in x.split(CHUNK):
            found = _layers(phi, part)
            if len(found) and found.shape[1]:
                folds += int((~((found > 0) & found.isfinite())).any(0).sum())
                smallest.append(float(found.nan_to_num(nan=-torch.inf).min()))
    return Volumes(min(smallest, default=float("nan")), folds, len(x), where)


def box_around(x: Tensor, phi: Diffeo) -> tuple[Tensor, Tensor, str]:
    """Points all over a box around x, as a regular grid or scattered: within bounds, where φ has any.

    Returns: the points, shape (m, d); the half-extents of the box, shape (d,); what the points are.
    """
    opened = opening(phi)
    y = x if opened is None else opened(x)
    low, high = y.amin(0), y.amax(0)
    margin = AROUND * (high - low)
    low, high = low - margin, high + margin
    d = x.shape[1]
    if d in SIDE:
        points, where = cells(low, high, SIDE[d]), "a grid of " + " × ".join([f"{SIDE[d]:,}"] * d) + " points"
    else:
        count = SCATTERED if d <= 5 else FEWER
        scattered = torch.quasirandom.SobolEngine(d, scramble=True, seed=0).draw(count).to(x)
        points, where = low + (high - low) * scattered, f"{count:,} scattered points"
    return points if opened is None else opened.inverse(points), (high - low) / 2, where


def _layers(phi: Diffeo, x: Tensor) -> Tensor:
    frame, parts = parted(phi)
    for part in frame:
        x = part(x)
    found = [x.new_ones(0, len(x))]
    for part in parts:
        x, volumes = part.with_volumes(x)
        if not isinstance(part, FRAME):
            found.append(volumes)
    return torch.cat(found)
