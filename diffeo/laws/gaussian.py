"""Gaussian laws."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.laws.base import Law, check_draws, check_points


class Gaussian(Law):
    r"""$N(\mu, AA^\top)$.

    Args:
        mean: μ, shape (d,).
        factor: A, lower triangular with a positive diagonal, shape (d, d); the identity if left out.
        trained: whether they are learned together with φ.

    Raises: ValueError for tensors that are not such.
    """

    mean: Tensor
    lower: Tensor
    log_diagonal: Tensor

    def __init__(self, mean: Tensor, factor: Tensor | None = None, trained: bool = False) -> None:
        super().__init__()
        if mean.ndim != 1 or not len(mean) or not mean.is_floating_point():
            raise ValueError(f"Gaussian expects a mean of shape (d,), and got {mean.dtype} of {tuple(mean.shape)}.")
        mean, factor = mean.detach(), torch.eye(len(mean)).to(mean) if factor is None else factor.detach()
        self.trained = trained
        for name, value in zip(("mean", "lower", "log_diagonal"), (mean, *split(factor, "Gaussian")), strict=True):
            place(self, name, value, trained)

    @classmethod
    def standard(cls, dim: int, dtype: torch.dtype | None = None) -> Gaussian:
        """N(0, I) in ``dim`` dimensions."""
        return cls(torch.zeros(dim, dtype=dtype))

    @classmethod
    def fitted(cls, x: Tensor, trained: bool = False) -> Gaussian:
        """Mean and covariance of the points x, shape (n, d).

        Raises: ValueError where they lie in a plane of fewer dimensions and have no density.
        """
        check_points(x, x.shape[-1], "Gaussian.fitted")
        mean = x.mean(0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if int(failed) or not bool((factor.diagonal() > 1e-6 * factor.diagonal().max()).all()):
            raise ValueError(
                f"the {len(x)} points lie in fewer than {x.shape[1]} dimensions, where they have no density: leave out "
                "columns that follow from others, or take more points."
            )
        return cls(mean, factor, trained)

    @property
    def dim(self) -> int:
        """d."""
        return len(self.mean)

    @property
    def factor(self) -> Tensor:
        """A, shape (d, d)."""
        return joined(self.lower, self.log_diagonal)

    def log_prob(self, x: Tensor) -> Tensor:
        """−½|A⁻¹(x − μ)|² − log det A − (d/2) log 2π."""
        check_points(x, self.dim, "Gaussian")
        z = torch.linalg.solve_triangular(self.factor, (x - self.mean).T, upper=False)
        return -0.5 * z.square().sum(0) - self.log_diagonal.sum() - 0.5 * self.dim * math.log(2 * math.pi)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """μ + Az, z standard normal."""
        z = torch.randn(check_draws(n, "Gaussian"), self.dim, generator=generator).to(self.mean)
        with torch.no_grad():
            return self.mean + z @ self.factor.T

    def arguments(self) -> dict[str, Any]:
        """Mean and factor."""
        return {"mean": self.mean.detach(), "factor": self.factor.detach(), "trained": self.trained}

    def rescaled(self, factor: float, shift: Tensor) -> Gaussian:
        """Of the same shape, in other units."""
        return Gaussian(factor * self.mean.detach() + shift.to(self.mean), factor * self.factor.detach(), self.trained)

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


def split(factor: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Triangular factors, shape (…, d, d), as what lies below their diagonals and the logarithms of these.

    Raises: ValueError unless they are such.
    """
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    if factor.shape[-1] != factor.shape[-2] or not bool((diagonal > 0).all()) or not torch.equal(factor, factor.tril()):
        raise ValueError(f"{name} expects lower triangular factors with positive diagonals: torch.linalg.cholesky's.")
    return factor.tril(-1), diagonal.log()


def joined(lower: Tensor, log_diagonal: Tensor) -> Tensor:
    """The factors again, shape (…, d, d)."""
    return lower.tril(-1) + torch.diag_embed(log_diagonal.exp())


def place(module: nn.Module, name: str, value: Tensor, trained: bool) -> None:
    """A tensor as a parameter or as a buffer."""
    value = value.detach().clone()
    if trained:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value)
