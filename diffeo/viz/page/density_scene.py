"""The scene of a density: rows and draws between their table and the base, with a slider."""

from __future__ import annotations

import re

import numpy as np
import torch
from contourpy import contour_generator
from numpy.typing import NDArray

from diffeo.viz.density import LEVELS, bright, cells_of
from diffeo.viz.density_way import DensityWay
from diffeo.viz.page.scene import Layer, Scene
from diffeo.viz.page.shapes import letter
from diffeo.viz.style import BLUE, FAINT, ORANGE
from diffeo.viz.view import Array, sample

FINE = 240  # points of a curve
CELLS, BENDS = 90, 64  # along each side of a map, and points of each line of the grid
LOG_DENSITY, GROWN, WAY = "log p of the moment (nats)", "log det Dφ so far", "way so far (standard deviations)"


def density_scene(way: DensityWay, note: str) -> Scene:
    """Rows that go to the base, and points of the base that draws come from, as the slider says.

    The plane shows two columns with the grid that goes along, or one column and its density; space shows the first
    three. A context comes first.
    """
    quantities = _quantities(way)
    flat = len(way.low) == 1
    layers = _curve(way) if flat else [*_grid(way), *_levels(way)]
    space = len(way.low) > 2
    drawn = way.drawn[:, sample(way.drawn.shape[1], way.rows.shape[1])]
    size = 3 if space else 5
    layers.append(Layer("draws", _shown(way, drawn, 1), BLUE, size=size, opacity=0.8, symbol="diamond"))
    layers.append(
        Layer("rows", _shown(way, way.rows, 2), ORANGE, quantities=quantities, size=size, diverging=(GROWN,)),
    )
    names = [re.sub(r"\s*\([^)]*\)$", "", name) if space else name for name in way.names]  # room is scarce in space
    names = [letter(name) for name in names]
    axes = [names[0], "density p (per unit)"] if flat else [names[k] for k in _axes(way)]
    return Scene(
        "From the rows to the base, and back", layers, way.times, note=note, axes=axes, clock="part of the way",
        equal=not flat and not way.given, start=0,
    )  # fmt: skip


def _axes(way: DensityWay) -> list[int]:
    """Which columns are shown: two, or the first three; a context first where there is room for it."""
    d = len(way.low)
    if way.given and way.columns == 1:
        return [*range(1, min(d, 3)), 0]
    return list(range(min(d, 3)))


def _shown(way: DensityWay, points: Array, row: int) -> Array:
    """Points, shape (T, n, d), where a scene has them; those of one column in rows below its curve."""
    if len(way.low) > 1:
        return points[:, :, _axes(way)]
    level = -0.06 * row * max(float(np.nanmax(way.density(k, _line(way)))) for k in (0, len(way.times) - 1))
    return np.concatenate([points, np.full_like(points, level)], 2)


def _line(way: DensityWay) -> Array:
    return np.linspace(way.low[0], way.high[0], FINE)[:, None]


def _curve(way: DensityWay) -> list[Layer]:
    """The density of one column, moment by moment."""
    x = _line(way)
    curve = np.stack([np.concatenate([x, way.density(k, x)[:, None]], 1) for k in range(len(way.times))])
    return [Layer("density of the moment", curve, "ink", edges=_chain(FINE), size=2)]


def _grid(way: DensityWay) -> list[Layer]:
    """The grid that goes along, where there is one."""
    if not way.lines:
        return []
    chosen = np.unique(np.linspace(0, way.lines[0].shape[1] - 1, BENDS).astype(int))
    lines, n = [line[:, chosen] for line in way.lines], len(chosen)
    edges = np.concatenate([_chain(n) + k * n for k in range(len(lines))])
    return [Layer("grid", np.concatenate(lines, 1), FAINT, edges=edges, size=1, opacity=0.8)]


def _levels(way: DensityWay) -> list[Layer]:
    """Level lines of the density of every moment, in the plane: as many points at each, NaN between lines."""
    if len(way.low) != 2:
        return []
    axes = _axes(way)
    low, high = (torch.from_numpy(corner[axes]) for corner in (way.low, way.high))
    cells = cells_of(low, high, CELLS).numpy()
    x, y = cells[::CELLS, 0], cells[:CELLS, 1]
    maps = [way.density(k, cells[:, axes]).reshape(CELLS, CELLS) for k in range(len(way.times))]
    limit, gap = max(bright(p) for p in maps), np.full((1, 2), np.nan)
    drawn = []
    for p in maps:
        lines = contour_generator(x, y, np.ma.masked_invalid(p.T))
        found = [np.concatenate([np.asarray(line), gap]) for part in LEVELS for line in lines.lines(part * limit)]
        drawn.append(np.concatenate([gap, *found]))
    most = max(map(len, drawn))
    if most == 1:
        return []
    every = np.stack([np.concatenate([points, np.repeat(gap, most - len(points), 0)]) for points in drawn])
    return [Layer("level lines of the density", every, "ink", edges=_chain(most), size=1.2, opacity=0.9)]


def _chain(n: int) -> NDArray[np.int_]:
    return np.stack([np.arange(n - 1), np.arange(1, n)], 1)


def _quantities(way: DensityWay) -> dict[str, Array]:
    """What rows may be colored by: the density where they are, how volumes have grown, how far they have come."""
    start, logdet = way.density(0, way.rows[0]), way.logdet
    with np.errstate(divide="ignore"):
        logs = np.log(start)[None] - logdet
    return {
        LOG_DENSITY: np.where(np.isfinite(logs), logs, np.nan),
        GROWN: logdet,
        WAY: np.linalg.norm(way.rows - way.rows[0], axis=2),
    }
