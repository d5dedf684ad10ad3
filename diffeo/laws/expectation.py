"""Expectation–maximization for mixtures of Gaussians: two products of matrices per iteration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffeo.laws.quadratics import coefficients, monomials, shares_of

LEAST = 1e-12  # of the number of points that a component has, which may be none


@dataclass(frozen=True)
class Components:
    r"""$\sum_k w_k\,N(\mu_k, C_k)$, with log w_k N(x; μ_k, C_k) as a linear function of $1, x_i, x_ix_j$.

    Attributes:
        weights: w, shape (K,).
        means: μ, shape (K, d).
        covariances: C, shape (K, d, d).
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def densities(self, monomials: Tensor) -> Tensor:
        """log w_k + log N(x; μ_k, C_k), shape (n, K), from what `monomials` gives for x."""
        return monomials @ self.coefficients().T

    def coefficients(self) -> Tensor:
        """What monomials are multiplied with, shape (K, 1 + d + d(d + 1)/2)."""
        return coefficients(self.weights.log(), self.means, torch.linalg.cholesky(self.covariances))


@dataclass(frozen=True)
class Shrinkage:
    r"""Covariances for few points: $C_k = (N_kS_k + \nu T)/(N_k + \nu)$, and T what all components have in common.

    T is the covariance around the means, pooled over components, with all but its diagonal multiplied by 1 − a. So
    these are Bayesian estimates under an inverse Wishart law whose center is estimated, too.

    Attributes:
        strength: ν, how many points T counts for.
        toward_diagonal: a, from 0 to 1.
        floor: added to the variances, a number or shape (d,).
    """

    strength: float = 10.0
    toward_diagonal: float = 0.01
    floor: Tensor | float = 1e-8

    def maximize(self, monomials: Tensor, shares: Tensor) -> Components:
        """The components, from how the points, in ``monomials``, share themselves out among them, shape (n, K)."""
        n, k = shares.shape
        d = math.isqrt(2 * monomials.shape[1]) - 1
        rows, columns = torch.triu_indices(d, d)
        moments = shares.T @ monomials
        counts = moments[:, 0] + LEAST
        means = moments[:, 1 : d + 1] / counts[:, None]
        scatter = moments.new_zeros(k, d, d)
        scatter[:, rows, columns] = scatter[:, columns, rows] = moments[:, d + 1 :]
        scatter = scatter - counts[:, None, None] * means[:, :, None] * means[:, None, :]
        pooled = scatter.sum(0) / n
        variances = pooled.diagonal().clamp(min=0)  # rounding errors
        target = (1 - self.toward_diagonal) * pooled + self.toward_diagonal * variances.diag()
        strength = self.strength if k > 1 else math.inf
        if math.isinf(strength):
            covariances = target.expand(k, d, d)
        else:
            covariances = (scatter + strength * target) / (counts + strength)[:, None, None]
        floor = torch.as_tensor(self.floor).to(covariances).expand(d)
        weights = (counts + 1) / (n + k)  # a point more for each: none dies out
        return Components(weights, means, covariances + floor.diag())


def maximized(
    x: Tensor, components: int, shrinkage: Shrinkage, seed: int = 0, iterations: int = 60, tolerance: float = 1e-4
) -> tuple[Components, list[float]]:
    """A mixture of so many Gaussians for points x, shape (n, d), and the mean log-likelihoods on the way.

    It begins at what k-means finds with this seed, and ends when the mean log-likelihood grows by less than the
    tolerance.
    """
    center = x.mean(0)
    values = monomials(x - center)  # centered, as products of large numbers lose digits
    labels = clusters(x - center, components, torch.Generator().manual_seed(seed))
    found = shrinkage.maximize(values, torch.nn.functional.one_hot(labels, components).to(x))
    likelihoods: list[float] = []
    for _ in range(iterations if components > 1 else 0):
        shares, totals = shares_of(found.densities(values))
        likelihoods.append(float(totals.mean()))
        if len(likelihoods) > 1 and likelihoods[-1] - likelihoods[-2] < tolerance:
            break
        found = shrinkage.maximize(values, shares)
    return Components(found.weights, found.means + center, found.covariances), likelihoods


def clusters(x: Tensor, count: int, generator: torch.Generator, iterations: int = 10) -> Tensor:
    """Labels 0..count − 1 of the points x, shape (n, d): k-means from centers that lie apart (k-means++, greedy).

    Source: Arthur & Vassilvitskii, SODA 2007.
    """
    if count == 1:
        return torch.zeros(len(x), dtype=torch.long)
    centers = x[torch.randint(len(x), (1,), generator=generator)]
    apart = (x - centers[0]).square().sum(1)
    tries = 2 + int(math.log(count))
    for _ in range(count - 1):
        odds = apart if float(apart.sum()) > 0 else torch.ones_like(apart)  # fewer distinct points than clusters
        candidates = x[torch.multinomial(odds, tries, replacement=True, generator=generator)]
        distances = torch.minimum(apart, (x - candidates[:, None]).square().sum(2))
        best = distances.sum(1).argmin()
        apart, centers = distances[best], torch.cat([centers, candidates[best][None]])
    labels = torch.zeros(len(x), dtype=torch.long)
    for _ in range(iterations):
        labels = (centers.square().sum(1) - 2 * x @ centers.T).argmin(1)
        counts = torch.bincount(labels, minlength=count)
        sums = torch.zeros_like(centers).index_add_(0, labels, x)
        centers = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centers)
    return labels
