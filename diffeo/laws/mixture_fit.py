"""Mixtures fitted to data of any size: chosen by likelihood of points left out, averaged over starts, robust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffeo.laws.base import check_points
from diffeo.laws.expectation import Components, Shrinkage, maximized
from diffeo.laws.mixture import Mixture
from diffeo.laws.quadratics import log_sums

LARGE = 2000  # points, from which on one held-out part of a tenth decides, instead of five
BROAD = 3.0  # standard deviations of the data: what outliers come from
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)
DIAGONALS = (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)
SAFE = 0.7  # for so few points that nothing can be left out


@dataclass(frozen=True)
class MixtureFit:
    r"""How a mixture of Gaussians is fitted to points.

    Likelihoods of mixtures have many maxima, about equally good. The densities that a few of them give are averaged:
    the average is again a mixture, and, as the logarithm is concave, better on new points than they are on average.
    One broad component more, of weight 1/n, is there for outliers: they cost log n, whatever they are.

    Attributes:
        components: of each of the mixtures.
        shrinkage: of their covariances.
        starts: how many mixtures are averaged.
        outliers: whether there is the broad component.
        iterations: of expectation and maximization at most.
        seed: of the starts.
    """

    components: int = 1
    shrinkage: Shrinkage = field(default_factory=Shrinkage)
    starts: int = 4
    outliers: bool = True
    iterations: int = 60
    seed: int = 0

    def fit(self, x: Tensor, trained: bool = False) -> Mixture:
        """The mixture for points x, shape (n, d), in their precision."""
        found = self.found(x)
        tensors = (found.weights, found.means, torch.linalg.cholesky(found.covariances))
        return Mixture(*(t.to(x) for t in tensors), trained=trained)

    def found(self, x: Tensor) -> Components:
        """Its components, in double precision. Raises ValueError unless these are two points or more."""
        check_points(x, x.shape[-1], "MixtureFit")
        if len(x) < 2:
            raise ValueError(f"MixtureFit expects 2 points or more, as one has no spread, and got {len(x)}.")
        x = x.detach().double()
        count = min(self.components, len(x))
        starts = self.starts if count > 1 else 1
        parts = [maximized(x, count, self.shrinkage, self.seed + start, self.iterations)[0] for start in range(starts)]
        weights = torch.cat([part.weights for part in parts]) / starts
        means = torch.cat([part.means for part in parts])
        covariances = torch.cat([part.covariances for part in parts])
        if self.outliers:
            spread = BROAD**2 * x.var(0, correction=0) + torch.as_tensor(self.shrinkage.floor).to(x)
            weights = torch.cat([weights * (1 - 1 / len(x)), weights.new_tensor([1 / len(x)])])
            means = torch.cat([means, x.mean(0, keepdim=True)])
            covariances = torch.cat([covariances, spread.diag()[None]])
        return Components(weights, means, covariances)

    def held_out(self, x: Tensor, parts: Sequence[Tensor]) -> float:
        """The mean log-likelihood of points left out in turn; each of the ``parts``, (n,) of bool, says which."""
        x = x.detach().double()
        center = x.mean(0)
        total = sum(
            float(log_sums((x - center)[left], self.found((x - center)[~left]).coefficients()).sum()) for left in parts
        )
        return total / sum(int(left.sum()) for left in parts)


def chosen_fit(x: Tensor, largest: int = COUNTS[-1], seed: int = 0) -> MixtureFit:
    """The fit that does best for parts of the points x, shape (n, d), that are left out.

    One thing after the other is chosen: how far a single Gaussian is to be shrunk; how many components; how far theirs
    are to be shrunk. Variances get a floor of (median gap)²/12 in each column, the variance of what rounding takes
    away: rounded numbers are no atoms, and are not to be made any.

    Args:
        x: the points, standardized or nearly so.
        largest: number of components that is tried; never more than a tenth of the points, or, from 2000 on, a
            twenty-fifth.
        seed: of the parts, and of all starts.
    """
    n, d = x.shape
    parts = left_out(n, seed)
    trial = MixtureFit(shrinkage=Shrinkage(floor=resolution(x)), starts=3 if n < LARGE else 1, iterations=40, seed=seed)
    if n < 2 * len(parts):
        return replace(trial, shrinkage=replace(trial.shrinkage, toward_diagonal=SAFE))
    search = _Search(x.detach().double(), parts, trial)
    search.try_all("toward_diagonal", DIAGONALS)  # of fewer points than columns small ones are all as bad
    few = d < 8
    search.best = replace(search.best, shrinkage=replace(search.best.shrinkage, strength=3.0 if few else 30.0))
    search.try_counts([k for k in COUNTS[1:] if k <= min(largest, n // (10 if n < LARGE else 25))])
    if search.best.components > 1:
        search.try_all("strength", (1.0, 10.0) if few else (10.0, 100.0, 300.0))
        if n < LARGE:
            a = search.best.shrinkage.toward_diagonal
            search.try_all("toward_diagonal", [b for b in (3 * a, 10 * a, 100 * a) if b < SAFE])
    return replace(search.best, starts=6 if n < LARGE else 4)


class _Search:
    """The best fit so far, and how good it is."""

    def __init__(self, x: Tensor, parts: Sequence[Tensor], trial: MixtureFit) -> None:
        self.x, self.parts, self.best, self.value = x, parts, trial, -math.inf

    def _better(self, trial: MixtureFit) -> bool:
        value = trial.held_out(self.x, self.parts)
        better = value > self.value
        if better:
            self.best, self.value = trial, value
        return better

    def try_all(self, name: str, values: Sequence[float]) -> None:
        """Other values of the shrinkage's attribute."""
        for value in values:
            self._better(replace(self.best, shrinkage=replace(self.best.shrinkage, **{name: value})))

    def try_counts(self, counts: Sequence[int]) -> None:
        """More components, until two numbers in a row are worse."""
        failures = 0
        for count in counts:
            failures = 0 if self._better(replace(self.best, components=count)) else failures + 1
            if failures == 2:
                return


def left_out(n: int, seed: int) -> list[Tensor]:
    """Parts of n points that are left out: five that make up all of them, or, of many, a tenth."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return [order % 5 == part for part in range(5)] if n < LARGE else [order % 10 == 0]


def resolution(x: Tensor) -> Tensor:
    """(median gap between distinct values)² / 12 for each column of x, shape (n, d), and a little more."""
    floors = []
    for column in x.detach().double().T:
        gaps = column.unique().diff()
        floors.append(1e-8 + (float(gaps.median()) ** 2 / 12 if len(gaps) else 0.0))
    return torch.tensor(floors, dtype=torch.float64)
