"""Fields that are linear in their unknowns: the RKHS face of residual networks."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from diffeo.core import Field


class LinearField(Field):
    r"""$v = \sum_k \theta_k e_k$ with $e_k$ orthonormal in V, so that $\|v\|_V = |\theta|$.

    Of everything below only ``evaluate`` must be written. V is the finite-dimensional space that the $e_k$ span, with
    the reproducing kernel $K(x, y) = \sum_k e_k(x)\,e_k(y)^\top$.
    """

    coefficients: nn.Parameter
    """θ, of any shape."""

    @abstractmethod
    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """The field with the given coefficients at x, shape (n, d); differentiable in both."""

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.evaluate(x, self.coefficients)

    def gather(self, x: Tensor, p: Tensor) -> Tensor:
        r"""Coefficients of $\sum_i K(\cdot, x_i)\,p_i$, the steepest descent in V of a loss with gradients −p at x.

        Args:
            x: positions, shape (n, d).
            p: momenta, shape (n, d).

        Returns: a tensor like the coefficients; differentiable in x and p where a graph is being recorded.
        """
        recording = torch.is_grad_enabled() and (x.requires_grad or p.requires_grad)
        with torch.enable_grad():
            theta = torch.zeros_like(self.coefficients, requires_grad=True)
            work = (self.evaluate(x, theta) * p).sum()
        return torch.autograd.grad(work, theta, create_graph=recording)[0]

    def sqnorm(self) -> Tensor:
        """‖v‖²_V = |θ|²."""
        return self.coefficients.square().sum()


class FeatureExpansion(LinearField):
    r"""$v(x) = \varphi(x)\,\theta$: scalar features, one coefficient vector for each; the kernel is scalar.

    The coefficients have shape (M, d) for M features.
    """

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, M), with φ(x)·φ(y) = k(x, y)."""

    @abstractmethod
    def feature_slopes(self, x: Tensor) -> Tensor:
        """∂φ_m/∂x_b, shape (n, M, d)."""

    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """φ(x) θ."""
        return self.features(x) @ coefficients

    def gather(self, x: Tensor, p: Tensor) -> Tensor:
        """φ(x)ᵀ p."""
        return self.features(x).T @ p

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return torch.einsum("nmb,ma->nab", self.feature_slopes(x), self.coefficients)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return torch.einsum("nma,ma->n", self.feature_slopes(x), self.coefficients)
