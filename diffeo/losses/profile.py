"""Likelihoods under the best law of a family, which is solved for, never trained."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Loss
from diffeo.losses.likelihood import likelihood
from diffeo.shapes.samples import Samples


class GaussianProfileLoss(Loss):
    r"""`NLLLoss` under the Gaussian that has the mean and the shrunk covariance of the moved samples themselves.

    The covariance is $(1 - a)S + a\,\mathrm{diag}\,S$. Without shrinkage this is $\tfrac12\log\det S$ minus the mean
    log-volume, up to constants: how far from Gaussian the samples are (their negentropy).

    Args:
        toward_diagonal: a, from 0 to 1.
        barrier: what a unit of `Samples.deficit` costs.

    Raises: ValueError for other numbers; when called, where the covariance is singular.
    """

    def __init__(self, toward_diagonal: float = 0.0, barrier: float = 10.0) -> None:
        super().__init__()
        if not 0 <= toward_diagonal <= 1 or not barrier >= 0:
            raise ValueError(
                "GaussianProfileLoss expects toward_diagonal from 0 to 1 and a barrier of 0 or more, and got "
                f"{toward_diagonal} and {barrier}."
            )
        self.toward_diagonal, self.barrier = toward_diagonal, barrier

    def forward(self, moved: Samples, target: Any = None) -> Tensor:
        """In nats, per sample; there is no other target."""
        return likelihood(moved, self.log_prob, self.barrier, type(self).__name__)

    def log_prob(self, x: Tensor) -> Tensor:
        """Of points x, shape (n, d), under their own Gaussian."""
        apart = x - x.mean(0)
        covariance = apart.T @ apart / len(x)
        a, d = self.toward_diagonal, x.shape[1]
        factor, failed = torch.linalg.cholesky_ex((1 - a) * covariance + a * covariance.diagonal().diag())
        if int(failed):
            raise ValueError(
                f"GaussianProfileLoss expects a covariance of full rank, and {len(x)} points in {d} dimensions have "
                "none: shrink it further toward its diagonal, or leave out columns that do not change."
            )
        z = torch.linalg.solve_triangular(factor, apart.T, upper=False)
        return -0.5 * z.square().sum(0) - factor.diagonal().log().sum() - 0.5 * d * math.log(2 * math.pi)

    def rescaled(self, factor: float) -> GaussianProfileLoss:
        """The same: volumes and covariances change in opposite ways."""
        return GaussianProfileLoss(self.toward_diagonal, self.barrier)

    def arguments(self) -> dict[str, Any]:
        """Shrinkage and barrier."""
        return {"toward_diagonal": self.toward_diagonal, "barrier": self.barrier}
