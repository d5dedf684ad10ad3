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
        others = [q for q in self.parameters() if q is not self.coefficients]
        recording = torch.is_grad_enabled() and any(t.requires_grad for t in (x, p, *others))
        with torch.inference_mode(False), torch.enable_grad():
            x, p = (t.clone() if t.is_inference() else t for t in (x, p))
            theta = torch.zeros_like(self.coefficients, requires_grad=True)
            work = (self.evaluate(x, theta) * p).sum()
        return torch.autograd.grad(work, theta, create_graph=recording)[0]

    def sqnorm(self) -> Tensor:
        """‖v‖²_V = |θ|²."""
        return self.coefficients.square().sum()

    def features(self, x: Tensor) -> Tensor | None:
        """φ(x), shape (n, M), where v = φ(x)θ with scalar features; None for fields of another kind."""
        return None

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.jacobian_of(x, self.coefficients)

    def jacobian_of(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d), of the field with the given coefficients; row by row, where nothing is known."""
        rows = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        pulls = [self.pull(x, coefficients, row.expand_as(x)) for row in rows]
        return torch.stack(pulls, 1)

    def pull(self, x: Tensor, coefficients: Tensor, p: Tensor) -> Tensor:
        """Dv(x)ᵀp, shape (n, d): what a momentum p at x feels; differentiable where a graph is being recorded."""
        recording = torch.is_grad_enabled() and any(t.requires_grad for t in (x, coefficients, p, *self.parameters()))
        with torch.inference_mode(False), torch.enable_grad():
            x, coefficients, p = (t.clone() if t.is_inference() else t for t in (x, coefficients, p))
            # another node for the same points: coefficients that depend on them are not to be differentiated
            here = x.view_as(x) if recording and x.requires_grad else x.detach().requires_grad_()
            (pulled,) = torch.autograd.grad(self.evaluate(here, coefficients), here, p, create_graph=recording)
        return pulled

    def hamilton(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """θ = `gather` (q, p), v(q) and Dv(q)ᵀp of the field with these coefficients: a step of a geodesic."""
        theta = self.gather(q, p)
        return theta, self.evaluate(q, theta), self.pull(q, theta, p)

    def with_coefficients(self, coefficients: Tensor) -> Expansion:
        """The field with other coefficients, without parameters of its own."""
        return Expansion(self, coefficients)


class Expansion:
    """A linear field with coefficients as they are: what geodesics compute with."""

    def __init__(self, field: LinearField, coefficients: Tensor) -> None:
        self.field, self.coefficients = field, coefficients

    def __call__(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.field.evaluate(x, self.coefficients)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.field.jacobian_of(x, self.coefficients)

    def pull(self, x: Tensor, p: Tensor) -> Tensor:
        """Dv(x)ᵀp, shape (n, d)."""
        return self.field.pull(x, self.coefficients, p)


class FeatureExpansion(LinearField):
    r"""$v(x) = \varphi(x)\,\theta$: scalar features, one coefficient vector for each; the kernel is scalar.

    The coefficients have shape (M, d) for M features.
    """

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, M), with φ(x)·φ(y) = k(x, y)."""

    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """φ(x) θ."""
        return self.features(x) @ coefficients

    def gather(self, x: Tensor, p: Tensor) -> Tensor:
        """φ(x)ᵀ p."""
        return self.features(x).T @ p


class PlaneWaveField(FeatureExpansion):
    r"""Features that change along one direction each, $\varphi_m(x) = f_m(w_m \cdot x)$.

    What is derived from their derivative needs a number for each point and feature, never a vector.
    """

    @property
    @abstractmethod
    def directions(self) -> Tensor:
        """w, shape (M, d)."""

    @abstractmethod
    def feature_slopes(self, x: Tensor) -> Tensor:
        """f_m'(w_m·x), shape (n, M): ∂φ_m/∂x_b is that times w_mb."""

    def jacobian_of(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d), of the field with the given coefficients."""
        return waves_jacobian(self.feature_slopes(x), self.directions, coefficients)

    def pull(self, x: Tensor, coefficients: Tensor, p: Tensor) -> Tensor:
        """Dv(x)ᵀp, shape (n, d)."""
        return (self.feature_slopes(x) * (p @ coefficients.T)) @ self.directions

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return waves_divergence(self.feature_slopes(x), self.directions, self.coefficients)


def waves_jacobian(slopes: Tensor, directions: Tensor, vectors: Tensor) -> Tensor:
    """Σ_m s_im θ_ma w_mb, shape (n, d, d), for slopes s, shape (n, M), directions w and vectors θ, shape (M, d)."""
    n, d = len(slopes), directions.shape[1]
    return (slopes @ (vectors[:, :, None] * directions[:, None]).flatten(1)).reshape(n, d, d)


def waves_divergence(slopes: Tensor, directions: Tensor, vectors: Tensor) -> Tensor:
    """The trace of that, shape (n,)."""
    return slopes @ (vectors * directions).sum(1)
