"""Densities in one and two dimensions, and the grid that a flow carries along."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from diffeo.core import Compose, Diffeo
from diffeo.flows.frames import opening, parted
from diffeo.laws import Law, Transported, Wrapped
from diffeo.viz.draw import legend
from diffeo.viz.style import BLUE, FAINT, INK, ORANGE, VERMILION, axis_names, color_bar, dress
from diffeo.viz.view import Array, array, sample

CHUNK = 4096  # points at a time: a mixture takes some hundred numbers for each
CELLS, FINE = 200, 800  # along each side of a map, and along a curve
MAP = "Blues"
LINE = 0.5  # points: the width of level lines
LONGEST, LEAST = 20, 12  # letters of a column's name that are shown, and of what is before its unit
CHECKED, OFF, MISSED = (
    1000,
    2.0,
    0.02,
)  # draws that check a map or refine a curve; by how much log p is off; for how many
DRAWN, ENOUGH = 100_000, 10  # draws that replace it, and how many have to be in a cell
BRIGHT = 0.98  # of the mass shown is below the density at which colors saturate: a thin peak would leave all else pale
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the density at which colors saturate: where lines are drawn
TAIL, FAR = 0.01, 0.5  # of the points, at each side of a column; of the length of the others: see `span`
MOST_DOTS, LOOKED_AT = 1000, 600  # points that are drawn, and that say what is to be seen
TRUE = 1.6  # columns whose ranges differ by less than this factor are drawn true to scale


def density(
    ax: Axes,
    law: Law | Callable[[Tensor], Tensor],
    lo: Tensor,
    hi: Tensor,
    *,
    data: Tensor | None = None,
    exact: Callable[[Tensor], Tensor] | None = None,
    names: Sequence[str] = (),
    limit: float | None = None,
    bar: bool = True,
    lines: bool = True,
    unit: str = "unit of area",
) -> float:
    """Draw a density: a map with level lines in two dimensions, a curve in one.

    Args:
        ax: flat axes.
        law: a law, or log p: from x, shape (n, d), to shape (n,). Points without a density, where φ folds, are red.
        lo, hi: corners of what is shown, shape (d,), d being 1 or 2, in the dtype and on the device of the law.
        data: rows, shape (n, d): dots on a map, a histogram behind a curve.
        exact: log p of the true law, drawn as a dashed curve; in two dimensions draw it on axes of its own.
        names: of the columns, with their units.
        limit: the density at which colors saturate; by default 98% of the mass is below it.
        bar: whether there is a color bar.
        lines: whether there are level lines, at 10, 30, …, 90% of the limit: maps of one limit have the same.
        unit: what the density of a map is per, for its color bar.

    Returns: the limit, for a map beside this one; in one dimension the highest density.
    Raises: ValueError unless the corners are two tensors of shape (1,) or (2,) with lo < hi.
    """
    if lo.ndim != 1 or len(lo) not in (1, 2) or lo.shape != hi.shape or not bool((lo < hi).all()):
        raise ValueError(f"density expects corners lo < hi of shape (1,) or (2,), and got {lo} and {hi}.")
    texts = labels(names, len(lo))
    if len(lo) == 1:
        return _curve(ax, law, lo, hi, data, exact, texts[0])
    p = on_grid(law, lo, hi)
    limit = limit or bright(p)
    scale = shaded(ax, p, lo, hi, limit)
    if lines and np.isfinite(p).any():
        level_lines(ax, p, lo, hi, limit)
    if data is not None:
        dots(ax, data, INK)
    ax.set(xlim=(float(lo[0]), float(hi[0])), ylim=(float(lo[1]), float(hi[1])), aspect=aspect(lo, hi))
    dress(ax, *texts)
    if bar:
        lost = "; red: none, φ folds" if np.isnan(p).any() else ""
        strip = color_bar(ax, scale, f"density p  (per {unit}{lost})")
        strip.ax.hlines([part * limit for part in LEVELS] if lines else [], 0, 1, colors=INK, linewidths=LINE)
    return limit


def shaded(ax: Axes, p: Array, lo: Tensor, hi: Tensor, limit: float) -> ScalarMappable:
    """Shade a density, shape (cells, cells), first coordinate first, up to a limit; red where it is not a number."""
    extent = (float(lo[0]), float(hi[0]), float(lo[1]), float(hi[1]))
    shades, blend = colormaps[MAP].with_extremes(bad=VERMILION), "nearest" if np.isnan(p).any() else "bilinear"
    ax.imshow(p.T, origin="lower", extent=extent, norm=Normalize(0, limit), cmap=shades, interpolation=blend)
    return ScalarMappable(Normalize(0, limit), MAP)


def level_lines(ax: Axes, p: Array, lo: Tensor, hi: Tensor, limit: float) -> None:
    """Lines where a density, shape (cells, cells), is `LEVELS` of a limit: what is read without colors."""
    x, y = (array(lo[k] + (hi[k] - lo[k]) * (torch.arange(len(p)) + 0.5).to(lo) / len(p)) for k in range(2))
    levels = [part * limit for part in LEVELS]
    if np.nanmax(p) > levels[0]:
        ax.contour(x, y, np.ma.masked_invalid(p.T), levels=levels, colors=INK, linewidths=LINE, alpha=0.7)


def aspect(lo: Tensor, hi: Tensor) -> Literal["equal", "auto"]:
    """True to scale, unless one column is much longer than the other."""
    sides = array(hi - lo)
    return "equal" if sides.max() < TRUE * sides.min() else "auto"


def span(x: Tensor) -> tuple[Tensor, Tensor]:
    """From where to where points are, shape (n, d), in each column: corners of shape (d,).

    Few points may be so far away that the others could not be seen: what is farther beyond the middle 98% than half of
    these are long is left out.
    """
    low, high = (torch.quantile(x, part, dim=0) for part in (TAIL, 1 - TAIL))
    far = FAR * (high - low)
    return x.amin(0).maximum(low - far), x.amax(0).minimum(high + far)


def dots(ax: Axes, x: Tensor, color: str, most: int = MOST_DOTS) -> None:
    """Points of the plane, so many at most, always the same ones."""
    rows = sample(len(x), most)
    ax.scatter(*array(x)[rows, :2].T, s=float(np.clip(3000 / max(len(rows), 1), 2, 14)), color=color, alpha=0.6, lw=0)


def carried_plane(
    ax: Axes, phi: Diffeo, data: Tensor, *, base: Law | None = None, lines: int = 25, paths: int = 60
) -> None:
    """Draw what a flow does to the plane: a regular grid around the data, carried along, and the ways of some rows.

    Coordinates are those of the flow, behind what only changes units: columns are standardized, and bounded ones opened
    up.

    Args:
        ax: flat axes.
        phi: a map of the plane.
        data: rows, shape (n, 2), in the dtype and on the device of phi.
        base: the law that the rows are carried to: its density is drawn behind.
        lines: of the grid, along its longer side.
        paths: how many of the rows are followed.
    """
    frame, parts = parted(phi)
    flow = Compose(parts) if parts else None
    with torch.no_grad():
        z = data
        for part in frame:
            z = part(z)
        lo, hi = span(z)
        lo, hi = lo - 0.05 * (hi - lo), hi + 0.05 * (hi - lo)
        moved = [_moved(flow, line) for line in grid_lines(lo, hi, lines)]
        rows = torch.from_numpy(sample(len(z), LOOKED_AT))
        path = torch.stack([z[rows], *(flow.path(z[rows])[1:] if flow else [])])
    ends = np.concatenate([*moved, *(array(corner)[None] for y in path for corner in span(y))])
    ends = ends[np.isfinite(ends).all(1)]
    middle, half = (ends.min(0) + ends.max(0)) / 2, 0.54 * float(np.ptp(ends, axis=0).max())
    low, high = middle - half, middle + half
    if base is not None:
        corners = (torch.as_tensor(c).to(z) for c in (low, high))
        density(ax, base, *corners, bar=False)
    ax.add_collection(LineCollection(moved, colors=FAINT, linewidths=0.6))
    ways = array(path).swapaxes(0, 1)[sample(len(rows), paths)]
    ax.add_collection(LineCollection(list(ways), colors=ORANGE, linewidths=0.9))
    ax.scatter(*ways[:, 0].T, s=12, facecolors="none", edgecolors=ORANGE, linewidths=0.8, zorder=3)
    ax.scatter(*ways[:, -1].T, s=14, color=ORANGE, linewidths=0, zorder=3)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    dress(ax, "$z_1$  (standardized)", "$z_2$  (standardized)")


def log_density(law: Law | Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """log p of x, shape (n, d), a part of the points at a time; −∞ beyond the bounds of a law that has some."""
    inside = torch.ones(len(x), dtype=torch.bool, device=x.device)
    flow = law.law if isinstance(law, Wrapped) else law
    opened = opening(flow.phi) if isinstance(flow, Transported) else None
    if opened is not None:
        inside = opened.contains(law.wrap(x) if isinstance(law, Wrapped) else x)
    found = x.new_full((len(x),), -math.inf)
    if bool(inside.any()):
        with torch.no_grad():
            found[inside] = torch.cat([law(part) for part in x[inside].split(CHUNK)])
    return found


def _curve(
    ax: Axes,
    law: Law | Callable[[Tensor], Tensor],
    lo: Tensor,
    hi: Tensor,
    data: Tensor | None,
    exact: Callable[[Tensor], Tensor] | None,
    name: str,
) -> float:
    x = (lo + (hi - lo) * (torch.arange(FINE, device=lo.device).to(lo)[:, None] + 0.5) / FINE).reshape(-1, 1)
    x = torch.cat([x, draws_within(law, lo, hi, CHECKED)]).sort(0).values  # a mode may be narrower than a step
    handles = []
    if data is not None:
        ax.hist(array(data)[:, 0], bins=60, range=(float(lo), float(hi)), density=True, color="#d8d8d8")
        handles.append(Patch(color="#d8d8d8", label="data"))
    p = np.exp(array(log_density(law, x)))
    ax.plot(array(x)[:, 0], p, color=BLUE, lw=2)
    alone = data is None and exact is None
    handles.append(Line2D([], [], color=BLUE, lw=2, label="density" if alone else "fitted"))
    if exact is not None:
        truth = np.exp(array(log_density(exact, x)))
        ax.plot(array(x)[:, 0], truth, color=ORANGE, lw=1.6, ls="--")
        handles.append(Line2D([], [], color=ORANGE, lw=1.6, ls="--", label="exact"))
    ax.set(xlim=(float(lo), float(hi)), ylim=(0, None))
    dress(ax, name, "density p  (per unit)")
    legend(ax, handles)
    return float(np.nanmax(p))


def on_grid(law: Law | Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor, cells: int = CELLS) -> Array:
    """p at the centers of cells, shape (cells, cells); means over them where these miss how dense a law is."""
    p = array(log_density(law, cells_of(lo, hi, cells)).exp()).reshape(cells, cells)
    return _with_peaks(law, p, lo, hi) if isinstance(law, Law) else p


def _with_peaks(law: Law, p: Array, lo: Tensor, hi: Tensor) -> Array:
    """A map, with what draws fill cells with, where modes are narrower than cells: else only the tails were seen."""

    def places(x: Tensor) -> Tensor:
        index = ((x - lo) / (hi - lo) * len(p)).long().clamp(max=len(p) - 1)
        return (index[:, 0] * len(p) + index[:, 1]).cpu()

    x = draws_within(law, lo, hi, CHECKED)
    with np.errstate(divide="ignore"):
        off = np.abs(array(log_density(law, x)) - np.log(p.flat[places(x).numpy()])) > OFF
    if off.sum() <= MISSED * len(off):
        return p
    counts = places(draws_within(law, lo, hi, DRAWN)).bincount(minlength=p.size).reshape(p.shape).numpy()
    return np.where(counts >= ENOUGH, counts / DRAWN / float(((hi - lo) / len(p)).prod()), p)


def draws_within(law: Law | Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor, count: int) -> Tensor:
    """So many draws of a law, those in a box, shape (n, d), always the same; none where it only knows its density."""
    try:
        x = law.sample(count, torch.Generator().manual_seed(0)).to(lo) if isinstance(law, Law) else lo[None][:0]
    except ArithmeticError:  # φ folds, and has no inverse
        x = lo[None][:0]
    return x[((x >= lo) & (x <= hi)).all(1)]


def cells_of(lo: Tensor, hi: Tensor, cells: int) -> Tensor:
    """The centers of the cells of a box of the plane, shape (cells², 2), the second coordinate going round first."""
    step = (hi - lo) / cells
    x, y = (lo[k] + step[k] * (torch.arange(cells, device=lo.device).to(lo) + 0.5) for k in range(2))
    return torch.stack(torch.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)


def bright(p: Array) -> float:
    """The density below which so much of the mass is."""
    values = np.sort(p[np.isfinite(p)])
    if not len(values) or not values[-1] > 0:
        return 1.0
    mass = np.cumsum(values)
    return float(values[np.searchsorted(mass, BRIGHT * mass[-1])])


def grid_lines(lo: Tensor, hi: Tensor, lines: int) -> list[Tensor]:
    """The lines of a regular grid in a box of the plane, each as points that are close together."""
    step = float((hi - lo).max()) / (lines - 1)
    found = []
    for k in range(2):
        count = max(2, 1 + round(float(hi[k] - lo[k]) / step))
        along = torch.linspace(float(lo[1 - k]), float(hi[1 - k]), 10 * lines).to(lo)
        for level in torch.linspace(float(lo[k]), float(hi[k]), count).to(lo):
            both = [torch.full_like(along, float(level)), along]
            found.append(torch.stack(both if k == 0 else both[::-1], 1))
    return found


def _moved(flow: Diffeo | None, x: Tensor) -> Array:
    return array(flow(x) if flow else x)


def labels(names: Sequence[str], d: int) -> list[str]:
    """What is written at axes: names that fit, with their units, no part of which is read as mathematics.

    Raises: ValueError unless there are d names, or none.
    """
    if len(names) not in (0, d):
        raise ValueError(f"names expects one for each of the {d} columns, or none, and got {list(names)}.")
    return [_short(name).replace("$", r"\$") for name in names] if len(names) else axis_names(d, range(d))


def _short(name: str) -> str:
    """A name of 20 letters at most, more only to keep a unit in brackets at its end."""
    unit = re.search(r"\s*[\[(][^\])]{1,10}[\])]$", name)
    kept = unit.group() if unit else ""
    stem, room = name[: len(name) - len(kept)], max(LONGEST - len(kept), LEAST)
    return name if len(name) <= LONGEST or len(stem) <= room else stem[: room - 1].rstrip() + "…" + kept
