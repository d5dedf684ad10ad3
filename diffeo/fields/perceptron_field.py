"""Two-layer networks as velocity fields: the mean-field (Barron) face of residual networks, and its linear limit."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.fields.activations import Activation, ReLU
from diffeo.fields.blocks import in_blocks
from diffeo.fields.bounds import waves_bound
from diffeo.fields.linear import PlaneWaveField, waves_divergence, waves_jacobian
from diffeo.fields.units import Units


class PerceptronField(Field):
    r"""$v(x) = \rho\frac{\alpha}{M} \sum_m a_m\,\sigma(w_m\cdot y + b_m)$, $y = (x - c)/\rho$: all weights are trained.

    The scale α leads from the mean-field limit to the lazy one. With α = 1 the sum is an average over units, which move
    like particles as the width M grows. With α = √M, or any α ≫ 1, the outer weights, of size 1/α, reach every field
    before the inner ones have moved: training becomes that of `FrozenPerceptronField` (Chizat, Oyallon & Bach,
    NeurIPS 2019). Gradients multiplied by `rates` make the speed of learning independent of α and of M.

    Outer weights start at 0, and v with them; their gradient there is not 0.

    Args:
        dim: d, the dimension of the points.
        width: the number M of units.
        scale: α.
        seed: of the inner weights (see `Units`).
        activation: σ.
        radius: ρ, a length: of a ball around most of the data; √d if left out, as for standardized data.
        center: c, shape (d,); the origin if left out.
        outer: a, shape (M, d); zero if left out.
        inner: w, shape (M, d), instead of drawing it.
        biases: b, shape (M,), instead of drawing it.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        dim: int,
        width: int = 256,
        scale: float = 1.0,
        seed: int = 0,
        activation: Activation | None = None,
        radius: float | None = None,
        center: Tensor | None = None,
        outer: Tensor | None = None,
        inner: Tensor | None = None,
        biases: Tensor | None = None,
    ) -> None:
        super().__init__()
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"PerceptronField expects a positive, finite scale, and got {scale}.")
        sigma = activation or ReLU()
        self.units = Units(dim, width, seed, sigma, radius, center, inner, biases, outer, trained=True)
        self.scale, self.outer = float(scale), nn.Parameter(_checked(outer, self.units))

    @property
    def amplitude(self) -> float:
        """ρα/M."""
        return self.units.radius * self.scale / self.units.width

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        outer = self.amplitude * self.outer
        return in_blocks(lambda part: self.units(part) @ outer, x, self.units.width)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return waves_jacobian(self.units.slopes(x), self.units.directions, self.amplitude * self.outer)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return waves_divergence(self.units.slopes(x), self.units.directions, self.amplitude * self.outer)

    def sqnorm(self) -> Tensor:
        r"""$\rho^2\frac{\alpha^2}{M}\sum_m |a_m|^2\,\frac{|w_m|^2 + b_m^2}{d + 1}$, in length units squared.

        Its root is at least the Barron norm of v, the mean of |a_m| |(w_m, b_m)| for the best choice of units, with
        equality where all units count the same (by Jensen's inequality; E, Ma & Wu, Constr. Approx. 2022). It bounds
        speed and derivative: |v(x)|² ≤ (d + 1)(1 + |y|²) ‖v‖² and ‖Dv‖ ≤ √(d + 1) ‖v‖ / ρ, times the Lipschitz
        constant of σ (squared).
        """
        total = (self.outer.square().sum(1) * self.units.sqnorms()).sum()
        return (self.units.radius * self.scale) ** 2 / self.units.width * total

    def lipschitz(self) -> Tensor:
        """From the matrices of the weights and the range of σ': see `waves_bound`."""
        return waves_bound(self.amplitude * self.outer, self.units.directions, self.units.activation.slopes)

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """M/(ρα)² for all weights: the gradient in ρ²α²/M Σ_m |δ(a_m, w_m, b_m)|²."""
        rate = self.units.width / (self.units.radius * self.scale) ** 2
        return [(p, rate) for p in self.parameters()]

    def linear(self) -> FrozenPerceptronField:
        """The same velocity, the inner weights fixed where they are; its norm is the same."""
        size = self.units.radius * self.scale / math.sqrt(self.units.width)
        coefficients = size * self.units.sqnorms().sqrt()[:, None] * self.outer
        return FrozenPerceptronField(**self.units.arguments(), coefficients=coefficients)

    def redrawn(self, seed: int) -> PerceptronField:
        """Other inner weights; outer ones are 0."""
        changed = {"seed": seed, "inner": None, "biases": None, "outer": torch.zeros_like(self.outer)}
        return PerceptronField(**{**self.arguments(), **changed}).to(self.outer.device)

    def arguments(self) -> dict[str, Any]:
        """The units, the scale, the outer weights."""
        return {**self.units.arguments(), "scale": self.scale, "outer": self.outer.detach()}

    def rescaled(self, factor: float, shift: Tensor) -> PerceptronField:
        """The ball in the other units: the weights have none."""
        return PerceptronField(**{**self.arguments(), **self.units.rescaled_arguments(factor, shift)})

    def extra_repr(self) -> str:
        """The scale."""
        return f"scale={self.scale:.4g}"


class FrozenPerceptronField(PlaneWaveField):
    r"""$v(x) = \frac{1}{\sqrt M}\sum_m \theta_m\,\sigma(w_m\cdot y + b_m)/s_m$, the inner weights fixed: linear in θ.

    $s_m^2 = (|w_m|^2 + b_m^2)/(d + 1)$, so that ‖v‖ = |θ| is the norm that `PerceptronField` gives the same field. With
    ReLU and weights as they are drawn, the kernel tends to one known in closed form as the width grows, the arc-cosine
    kernel of first order in (y, 1), which is 1 where |y| is (Cho & Saul, NeurIPS 2009).

    Args:
        dim: d, the dimension of the points.
        width: the number M of units.
        seed: of the inner weights (see `Units`).
        activation: σ.
        radius: ρ, a length: of a ball around most of the data; √d if left out, as for standardized data.
        center: c, shape (d,); the origin if left out.
        coefficients: θ, shape (M, d), in length units; zero if left out.
        inner: w, shape (M, d), instead of drawing it.
        biases: b, shape (M,), instead of drawing it.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        dim: int,
        width: int = 256,
        seed: int = 0,
        activation: Activation | None = None,
        radius: float | None = None,
        center: Tensor | None = None,
        coefficients: Tensor | None = None,
        inner: Tensor | None = None,
        biases: Tensor | None = None,
    ) -> None:
        super().__init__()
        sigma = activation or ReLU()
        self.units = Units(dim, width, seed, sigma, radius, center, inner, biases, coefficients, trained=False)
        self.coefficients = nn.Parameter(_checked(coefficients, self.units))

    @property
    def amplitudes(self) -> Tensor:
        """1 / (√M s_m), shape (M,); 0 for a unit without weights."""
        squares = self.units.width * self.units.sqnorms()
        return torch.where(squares > 0, squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt(), 0.0)

    @property
    def directions(self) -> Tensor:
        """w/ρ, shape (M, d)."""
        return self.units.directions

    def features(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, M)."""
        return self.units(x) * self.amplitudes

    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """φ(x) θ."""
        outer = self.amplitudes[:, None] * coefficients
        return in_blocks(lambda part: self.units(part) @ outer, x, self.units.width)

    def gather(self, x: Tensor, p: Tensor) -> Tensor:
        """φ(x)ᵀ p."""
        return self.amplitudes[:, None] * (self.units(x).T @ p)

    def feature_slopes(self, x: Tensor) -> Tensor:
        """Derivatives of the features along w/ρ, shape (n, M)."""
        return self.units.slopes(x) * self.amplitudes

    def lipschitz(self) -> Tensor:
        """From the matrices of the weights and the range of σ': see `waves_bound`."""
        vectors = self.amplitudes[:, None] * self.coefficients
        return waves_bound(vectors, self.directions, self.units.activation.slopes)

    def redrawn(self, seed: int) -> FrozenPerceptronField:
        """Other inner weights."""
        changed = {"seed": seed, "inner": None, "biases": None, "coefficients": torch.zeros_like(self.coefficients)}
        return FrozenPerceptronField(**{**self.arguments(), **changed}).to(self.coefficients.device)

    def arguments(self) -> dict[str, Any]:
        """The units, the coefficients."""
        return {**self.units.arguments(), "coefficients": self.coefficients.detach()}

    def rescaled(self, factor: float, shift: Tensor) -> FrozenPerceptronField:
        """The ball and the coefficients in the other units."""
        coefficients = factor * self.coefficients.detach()
        return FrozenPerceptronField(**{**self.units.rescaled_arguments(factor, shift), "coefficients": coefficients})


def _checked(weights: Tensor | None, units: Units) -> Tensor:
    """Outer weights, shape (M, d)."""
    if weights is None:
        return units.inner.new_zeros(units.width, units.dim)
    if weights.shape != (units.width, units.dim):
        raise ValueError(
            f"{units.width} perceptrons in dimension {units.dim} expect outer weights of shape ({units.width}, "
            f"{units.dim}), and got {tuple(weights.shape)}."
        )
    return weights.detach().clone()
