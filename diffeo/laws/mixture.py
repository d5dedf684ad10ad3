"""Mixtures of Gaussian laws."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffeo.laws.base import Law, check_draws, check_points
from diffeo.laws.gaussian import joined, place, split
from diffeo.laws.quadratics import NUMBERS, cancellation, coefficients, log_sums, precise_enough


class Mixture(Law):
    r"""$\sum_k w_k\,N(\mu_k, A_kA_k^\top)$.

    Args:
        weights: w, shape (K,), positive; they are divided by their sum.
        means: μ, shape (K, d).
        factors: A, lower triangular with positive diagonals, shape (K, d, d).
        trained: whether all of them are learned together with φ.

    Raises: ValueError for tensors that are not such.
    """

    logits: Tensor
    means: Tensor
    lower: Tensor
    log_diagonal: Tensor

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor, trained: bool = False) -> None:
        super().__init__()
        k, d = means.shape if means.ndim == 2 else (0, 0)
        if not k or weights.shape != (k,) or factors.shape != (k, d, d) or not bool((weights > 0).all()):
            raise ValueError(
                "Mixture expects positive weights (K,), means (K, d) and factors (K, d, d), and got "
                f"{tuple(weights.shape)}, {tuple(means.shape)}, {tuple(factors.shape)}."
            )
        self.trained = trained
        lower, log_diagonal = split(factors, "Mixture")
        place(self, "logits", (weights / weights.sum()).log(), trained)
        place(self, "means", means, trained)
        place(self, "lower", lower, trained)
        place(self, "log_diagonal", log_diagonal, trained)

    @property
    def dim(self) -> int:
        """d."""
        return self.means.shape[1]

    @property
    def weights(self) -> Tensor:
        """w, shape (K,), of sum 1."""
        return self.logits.softmax(0)

    @property
    def factors(self) -> Tensor:
        """A, shape (K, d, d)."""
        return joined(self.lower, self.log_diagonal)

    def components(self, x: Tensor) -> Tensor:
        """log w_k + log N(x; μ_k, A_kA_kᵀ), shape (n, K)."""
        check_points(x, self.dim, "Mixture")
        K, d = self.means.shape
        inverse = torch.linalg.solve_triangular(self.factors, torch.eye(d).to(x).expand(K, d, d), upper=False)
        offsets = (inverse @ self.means[..., None])[..., 0]
        z = (x @ inverse.reshape(K * d, d).T).reshape(-1, K, d) - offsets
        constant = self.logits.log_softmax(0) - self.log_diagonal.sum(1) - 0.5 * d * math.log(2 * math.pi)
        return constant - 0.5 * z.square().sum(2)

    def log_prob(self, x: Tensor) -> Tensor:
        """log Σ_k w_k N(x; μ_k, A_kA_kᵀ); without a gradient in much less time, where rounding errors stay small."""
        check_points(x, self.dim, "Mixture")
        differentiated = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *self.parameters()))
        if differentiated or not len(x):
            return self.components(x).logsumexp(1)
        return self._log_sums(x)

    @torch.no_grad()
    def _log_sums(self, x: Tensor) -> Tensor:
        """The same as sums of monomials around the middle of the means, where that loses no digits."""
        center = (self.weights @ self.means).double()
        means, factors = self.means.double() - center, self.factors.double()
        dtype = precise_enough(x.dtype, cancellation(means, factors))
        if dtype is None:
            return self._in_parts(x)
        linear = coefficients(self.logits.double().log_softmax(0), means, factors)
        found = log_sums(x.to(dtype) - center.to(dtype), linear.to(dtype)).to(x)
        over = ~found.isfinite()  # squares of what is very far away
        if bool(over.any()):
            found[over] = self._in_parts(x[over])
        return found

    def _in_parts(self, x: Tensor) -> Tensor:
        """As it stands, for a part of the points at a time."""
        size = max(64, NUMBERS // self.means.numel())
        return torch.cat([self.components(part).logsumexp(1) for part in x.split(size)])

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """A component for each point, and a point of it."""
        check_draws(n, "Mixture")
        if not n:
            return self.means.new_empty(0, self.dim)
        with torch.no_grad():
            which = torch.multinomial(self.weights.double().cpu(), n, replacement=True, generator=generator)
            z = torch.randn(n, self.dim, generator=generator).to(self.means)
            which = which.to(self.means.device)
            return self.means[which] + (self.factors[which] @ z[..., None])[..., 0]

    def arguments(self) -> dict[str, Any]:
        """Weights, means, factors."""
        tensors = {"weights": self.weights, "means": self.means, "factors": self.factors}
        return {**{name: t.detach() for name, t in tensors.items()}, "trained": self.trained}

    def rescaled(self, factor: float, shift: Tensor) -> Mixture:
        """The same shapes in other units."""
        means, factors = self.means.detach(), self.factors.detach()
        return Mixture(self.weights.detach(), factor * means + shift.to(means), factor * factors, self.trained)

    def extra_repr(self) -> str:
        """Components and dimension."""
        return f"{len(self.means)} components, dim={self.dim}"
