r"""Does a density integrate to 1? By the midpoint rule in one and two dimensions, by importance sampling in more.

The midpoint rule converges faster than any power of the spacing for densities that are smooth and decay. So that no
tail is cut off, the line is brought into an interval by $y = m + h\,t/(1 - t^2)$, −1 < t < 1, which spends most of its
points where most of the mass is. Columns that are bounded are integrated where they are opened up:
$\int p(x)\,dx = \int p(B^{-1}(y))\,|DB^{-1}(y)|\,dy$.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.laws import Mixture

CHUNK = 4096  # points at a time: a mixture takes some hundred numbers for each
CELLS = {1: (1000, 4000, 16_000), 2: (100, 200, 400, 800)}  # along each side of the box
SURE = 1e-4  # grids are refined until the integral changes less
DRAWS, FEWER, CENTERS = 20_000, 5000, 64
"""Draws up to 5 dimensions, and in more, where each takes long; points that a wider law is built around."""
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
        sample: points where mass is, shape (n, d); used for d > 2.
        seed: of the draws.
        circles: which columns are integrated from low to high only, shape (d,); none if left out. Used for d ≤ 2.
    """
    circles = torch.zeros_like(low, dtype=torch.bool) if circles is None else circles
    with torch.no_grad():
        if len(low) in CELLS:
            return _on_grids(log_density, low, high, circles)
        return _by_draws(log_density, sample, seed)


def evaluated(log_density: LogDensity, x: Tensor) -> Tensor:
    """log p of x, shape (n, d), a part of the points at a time."""
    return torch.cat([log_density(part) for part in x.split(CHUNK)]) if len(x) else x.new_empty(0)


def cells(low: Tensor, high: Tensor, count: int) -> Tensor:
    """The centers of count^d cells of a box, shape (count^d, d)."""
    step = (high - low) / count
    axes = [low[k] + step[k] * (torch.arange(count, device=low.device).to(low) + 0.5) for k in range(len(low))]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(low))


def _on_grids(log_density: LogDensity, low: Tensor, high: Tensor, circles: Tensor) -> Mass:
    before, found = math.nan, Mass(math.nan, math.nan, "")
    for count in CELLS[len(low)]:
        t = cells(-torch.ones_like(low), torch.ones_like(low), count)
        middle, half, rest = (low + high) / 2, (high - low) / 2, 1 - t.square()
        y = middle + half * torch.where(circles, t, t / rest)
        stretch = (half * torch.where(circles, torch.ones_like(t), (1 + t.square()) / rest.square())).double()
        values = evaluated(log_density, y).double() + stretch.log().sum(1)
        shape = " × ".join([f"{count:,}"] * len(low))
        lost = int(values.isnan().sum())
        if lost:
            return Mass(
                math.nan, math.nan, f"there is no density at {lost:,} of {shape} points of a grid: φ folds there"
            )
        value = float(values.exp().sum()) * (2 / count) ** len(low)
        found = Mass(value, abs(value - before), f"on a grid of {shape} points")
        if found.error < SURE:
            break
        before = value
    return found


def _by_draws(log_density: LogDensity, sample: Tensor, seed: int) -> Mass:
    generator = torch.Generator().manual_seed(seed)
    wide = _wider(sample, generator)
    if wide is None:
        return Mass(math.nan, math.nan, "not computed: the rows lie in fewer dimensions than there are columns")
    d = sample.shape[1]
    n = DRAWS if d <= 5 else FEWER
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
    return Mixture(weights, means, torch.stack([1.3 * factor, *[near] * len(centers)]))
