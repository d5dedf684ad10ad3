r"""Log-densities of Gaussians as linear functions of $1, x_i, x_ix_j$: very many of them are one product of matrices.

Where a Gaussian is narrow and lies far from where coordinates are counted from, large terms cancel. With
$m = |\mu - c| + s$, s being the standard deviations of the coordinates, no term at x is larger than
$(1 + |z|)^2 \sum_{ij} |P_{ij}|\,m_i m_j$, where P is the precision and |z| how many standard deviations x is away from
μ: that sum, times a rounding unit, is what may be lost.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NUMBERS = 2**17  # of the log-densities and monomials that are computed at a time, so that they stay in the cache
ERRORS = {torch.float32: 1e-5, torch.float64: 1e-9}  # in log-densities, in nats, that nobody sees
NOTHING = -80.0  # the logarithm of what adds nothing to 1, not even a million times


def monomials(x: Tensor) -> Tensor:
    """1, x_i and x_i x_j with i ≤ j, for each of the points x, shape (n, d)."""
    rows, columns = torch.triu_indices(x.shape[1], x.shape[1], device=x.device)
    return torch.cat([torch.ones_like(x[:, :1]), x, x[:, rows] * x[:, columns]], 1)


def coefficients(log_weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """Of log w_k + log N(x; μ_k, A_kA_kᵀ) in the monomials, shape (K, 1 + d + d(d + 1)/2).

    Args:
        log_weights: shape (K,).
        means: μ, shape (K, d).
        factors: A, lower triangular, shape (K, d, d).
    """
    d = means.shape[1]
    rows, columns = torch.triu_indices(d, d, device=means.device)
    precisions = torch.cholesky_inverse(factors)
    linear = (precisions @ means[..., None])[..., 0]
    constant = log_weights - factors.diagonal(dim1=1, dim2=2).log().sum(1)
    constant = constant - 0.5 * (means * linear).sum(1) - 0.5 * d * math.log(2 * math.pi)
    quadratic = -precisions[:, rows, columns] * torch.where(rows == columns, 0.5, 1.0).to(precisions)
    return torch.cat([constant[:, None], linear, quadratic], 1)


def cancellation(means: Tensor, factors: Tensor) -> float:
    """How many rounding units may be lost where the density is: the largest Σ_ij |P_ij| m_i m_j of all Gaussians."""
    reach = means.abs() + factors.norm(dim=2)
    sums = (torch.cholesky_inverse(factors).abs() * reach[:, :, None] * reach[:, None, :]).sum((1, 2))
    return float(sums.max())


def precise_enough(dtype: torch.dtype, lost: float) -> torch.dtype | None:
    """In which precision to compute what is wanted in one: in the same, or a higher one; None where none is enough."""
    for trial in (dtype, torch.float64):
        if lost * torch.finfo(trial).eps < ERRORS.get(dtype, ERRORS[torch.float32]):
            return trial
    return None


def shares_of(logs: Tensor) -> tuple[Tensor, Tensor]:
    """Which part of its row is the exponential of each number, shape (n, K), and the logarithm of the whole, (n,).

    In the memory of the logarithms. Exponentials that underflow take three times as long, so that none does.
    """
    largest = logs.amax(1, keepdim=True)
    parts = logs.sub_(largest).clamp_(min=NOTHING).exp_()
    total = parts.sum(1, keepdim=True)
    return parts.div_(total), (total.log_() + largest)[:, 0]


@torch.no_grad()
def log_sums(x: Tensor, coefficients: Tensor) -> Tensor:
    """log Σ_k of the densities at points x, shape (n,), a part of them at a time; NaN where squares overflow."""
    size = max(64, NUMBERS // max(coefficients.shape))
    return torch.cat([shares_of(monomials(part) @ coefficients.T)[1] for part in x.split(size)])
