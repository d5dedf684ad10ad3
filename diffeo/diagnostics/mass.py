r"""Does a density integrate to 1? By the midpoint rule in one and two dimensions, by importance sampling in more.

A grid is believed only where it sees what it integrates: at points of the law, its cells must know how dense it is. Of
modes that are narrow and far apart it sees nothing; these, too, are integrated by importance sampling.

The midpoint rule converges faster than any power of the spacing for densities that are smooth and decay. So that no
tail is cut off, the line is brought into an interval by $y = m + h\,t/(1 - t^2)$, −1 < t < 1, which spends most of its
points where most of the mass is. Columns that are bounded are integrated where they are opened up:
$\int p(x)\,dx = \int p(B^{-1}(y))\,|DB^{-1}(y)|\,dy$.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.laws import Mixture

CHUNK = 4096  # points at a time: a mixture takes some hundred numbers for each
CELLS = {1: (1000, 4000, 16_000), 2: (100, 200, 400, 800)}  # along each side of the box
SURE = 1e-4  # grids are refined until the integral changes less
CHECKED, FAR, MISSED = 1000, 2.0, 5e-3
"""Points of the law that a grid is checked at; a log-density of their cells that is wrong; the part that may be."""
WORST = 1e-2  # changes when a grid is refined above which it is not believed, either
NEIGHBORS = 10  # of a place, by which the law there is known, times d + 1
FEW = 5  # dimensions up to which a law may be tracked from place to place
DRAWS, FEWER, CENTERS, PLACES = 20_000, 5000, 64, 256
"""Draws in few dimensions, and in more, where each takes long; points that a wider law is built around, also by how
close their neighbors are."""
MOST_ERROR = 0.1  # a standard error above which an estimate says nothing

LogDensity = Callable[[Tensor], Tensor]


class Mass(NamedTuple):
    """∫p, as far as it is known."""

    value: float
    """The integral; NaN where it is not known."""
    error: float
    """Of a grid, how much it changed when the grid was refined; of draws, the standard error."""
    how: str
    """What was computed, or why nothing was."""


def mass(
    log_density: LogDensity, low: Tensor, high: Tensor, sample: Tensor, seed: int = 0, circles: Tensor | None = None
) -> Mass:
    """The integral of a density over R^d, d being the number of columns.

    Args:
        log_density: from y, shape (n, d), to log p(y), shape (n,); NaN where there is none.
        low, high: a box with most of the mass, shape (d,); used for d ≤ 2.
        sample: points where mass is, shape (n, d).
        seed: of the draws.
        circles: which columns are integrated from low to high only, shape (d,); none if left out. Used for d ≤ 2.
    """
    circles = torch.zeros_like(low, dtype=torch.bool) if circles is None else circles
    with torch.no_grad():
        if len(low) in CELLS:
            return _on_grids(log_density, low, high, sample, seed, circles)
        return _by_draws(log_density, sample, seed)


def evaluated(log_density: LogDensity, x: Tensor) -> Tensor:
    """log p of x, shape (n, d), a part of the points at a time."""
    return torch.cat([log_density(part) for part in x.split(CHUNK)]) if len(x) else x.new_empty(0)


def cells(low: Tensor, high: Tensor, count: int) -> Tensor:
    """The centers of count^d cells of a box, shape (count^d, d)."""
    step = (high - low) / count
    axes = [low[k] + step[k] * (torch.arange(count, device=low.device).to(low) + 0.5) for k in range(len(low))]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(low))


def _on_grids(log_density: LogDensity, low: Tensor, high: Tensor, sample: Tensor, seed: int, circles: Tensor) -> Mass:
    grid, before, found, missed = _Grid(low, high, circles), math.nan, Mass(math.nan, math.nan, ""), 0.0
    places = grid.places(sample[:: max(1, len(sample) // CHECKED)])
    there = grid.logs(log_density, places)
    for count in CELLS[len(low)]:
        values = grid.logs(log_density, cells(-torch.ones_like(low), torch.ones_like(low), count))
        shape = " × ".join([f"{count:,}"] * len(low))
        lost = int(values.isnan().sum())
        if lost:
            return Mass(
                math.nan, math.nan, f"there is no density at {lost:,} of {shape} points of a grid: φ folds there"
            )
        value = float(values.exp().sum()) * (2 / count) ** len(low)
        found = Mass(value, abs(value - before), f"on a grid of {shape} points")
        nearest = ((((places + 1) * count / 2).floor() + 0.5) * 2 / count - 1).clamp(1 / count - 1, 1 - 1 / count)
        off = (grid.logs(log_density, nearest) - there).abs() > FAR
        missed = float(off.double().mean()) if len(off) else 0.0
        if found.error < SURE and missed <= MISSED:
            return found
        before = value
    if missed <= MISSED and found.error < WORST:
        return found
    drawn = Mass(math.nan, math.nan, "") if bool(circles.any()) else _by_draws(log_density, sample, seed)
    if math.isfinite(drawn.value):
        return drawn
    if missed <= MISSED:
        return found
    return Mass(
        math.nan,
        math.nan,
        f"not known: where {missed:.1%} of the law is, {found.how.removeprefix('on ')} is too coarse",
    )


@dataclass(frozen=True)
class _Grid:
    """Coordinates t between −1 and 1 of a line, or of a circle, shape (d,) each."""

    low: Tensor
    high: Tensor
    circles: Tensor

    def logs(self, log_density: LogDensity, t: Tensor) -> Tensor:
        """log p of t, shape (n, d), per unit of t."""
        middle, half, rest = (self.low + self.high) / 2, (self.high - self.low) / 2, 1 - t.square()
        y = middle + half * torch.where(self.circles, t, t / rest)
        stretch = (half * torch.where(self.circles, torch.ones_like(t), (1 + t.square()) / rest.square())).double()
        return evaluated(log_density, y).double() + stretch.log().sum(1)

    def places(self, y: Tensor) -> Tensor:
        """Where points y, shape (n, d), have their t; without those beyond the end of a circle."""
        u = (y - (self.low + self.high) / 2) / ((self.high - self.low) / 2)
        u = u[(~self.circles | (u.abs() < 1)).all(1)]
        return torch.where(self.circles, u, 2 * u / (1 + (1 + 4 * u.square()).sqrt()))  # the root of u t² + t = u


def _by_draws(log_density: LogDensity, sample: Tensor, seed: int) -> Mass:
    generator = torch.Generator().manual_seed(seed)
    wide = _wider(sample, generator)
    if wide is None:
        return Mass(math.nan, math.nan, "not computed: the rows lie in fewer dimensions than there are columns")
    d = sample.shape[1]
    n = DRAWS if d <= FEW else FEWER
    y = wide.sample(n, generator)
    logs = (evaluated(log_density, y) - evaluated(wide.log_prob, y)).double()
    lost = int(logs.isnan().sum())
    if lost:
        how = f"there is no density at {lost:,} of {n:,} points of a wider law: φ folds there"
        return Mass(math.nan, math.nan, how)
    ratio = logs.exp()
    value, error = float(ratio.mean()), float(ratio.std()) / math.sqrt(n)
    if not error < MOST_ERROR * max(value, MOST_ERROR) or float(ratio.max()) > 0.1 * float(ratio.sum()):
        few = float(ratio.sum().square() / ratio.square().sum()) if float(ratio.sum()) > 0 else 0.0
        how = f"not known: in {d} dimensions, {n:,} draws from a wider law are worth {few:.0f}"
        return Mass(math.nan, math.nan, how)
    return Mass(value, error, f"by {n:,} draws from a wider law")


def _wider(sample: Tensor, generator: torch.Generator) -> Mixture | None:
    """A wide Gaussian, and around some of the points narrower ones; None where they lie in fewer dimensions."""
    n, d = sample.shape
    covariance = torch.cov(sample.T).reshape(d, d)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    diagonal = factor.diagonal()
    if n < 2 or int(failed) or not bool((diagonal > 1e-6 * covariance.diagonal().sqrt()).all()):
        return None
    centers = sample[torch.randperm(n, generator=generator)[:CENTERS].to(sample.device)]
    near = 0.6 * factor
    weights = sample.new_tensor([1.0, *[1 / len(centers)] * len(centers)])
    means = torch.cat([sample.mean(0, keepdim=True), centers])
    factors = torch.stack([1.3 * factor, *[near] * len(centers)])
    if d > FEW or n < NEIGHBORS * (d + 1):
        return Mixture(weights, means, factors)
    places = sample[torch.randperm(n, generator=generator)[:PLACES].to(sample.device)]
    local, fine = _local(sample, places, factor)
    weights = torch.cat([weights / 2, weights.new_full((int(fine.sum()),), 1 / max(1, int(fine.sum())))])
    return Mixture(weights, torch.cat([means, places[fine]]), torch.cat([factors, local[fine]]))


def _local(sample: Tensor, places: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of twice the covariances of the neighbors of places, (k, d, d), and which of them are regular, (k,)."""
    d = sample.shape[1]
    z, centers = (torch.linalg.solve_triangular(factor, y.T, upper=False).T for y in (sample, places))
    nearest = torch.cdist(centers, z).topk(NEIGHBORS * (d + 1), largest=False).indices
    off = sample[nearest] - places[:, None]
    factors, failed = torch.linalg.cholesky_ex(2 * off.mT @ off / off.shape[1])
    return factors, (failed == 0) & (factors.diagonal(dim1=1, dim2=2) > 0).all(1)
