"""Hidden units: the inner layer of a two-layer network, seen by data in a ball."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.fields.activations import Activation
from diffeo.fields.checks import check_positions


class Units(nn.Module):
    r"""$\sigma(w_m\cdot y + b_m)$ for $y = (x - c)/\rho$.

    Unless given, the weights (w_m, b_m) are drawn uniformly from the sphere of radius √(d + 1): arguments of σ are
    about 1 where |y| is, in every dimension, and the hyperplanes on which they vanish lie where such data are.

    Args:
        dim: d, the dimension of the points.
        width: the number M of units.
        seed: of the draw.
        activation: σ.
        radius: ρ, of a ball around most of the data; √d if left out, as for standardized data.
        center: c, shape (d,); the origin if left out.
        inner: w, shape (M, d), instead of drawing it.
        biases: b, shape (M,), instead of drawing it.
        like: a tensor whose dtype and device the weights take; torch's default dtype on the CPU if left out.
        trained: whether w and b are parameters, not buffers.

    Raises: ValueError where these do not fit together.
    """

    inner: Tensor
    biases: Tensor
    center: Tensor

    def __init__(
        self,
        dim: int,
        width: int,
        seed: int,
        activation: Activation,
        radius: float | None,
        center: Tensor | None,
        inner: Tensor | None,
        biases: Tensor | None,
        like: Tensor | None,
        trained: bool,
    ) -> None:
        super().__init__()
        radius = math.sqrt(dim) if radius is None else float(radius)
        if width < 1 or dim < 1 or not (math.isfinite(radius) and radius > 0):
            raise ValueError(
                f"perceptrons expect a width and a dimension, 1 or more, and a radius, a positive length, and got "
                f"width {width}, dim {dim}, radius {radius}."
            )
        self.dim, self.width, self.seed, self.activation, self.radius = dim, width, seed, activation, radius
        drawn = _on_sphere(width, dim, seed).to(torch.empty(()) if like is None else like)
        given = {
            "inner": drawn[:, :dim] if inner is None else inner,
            "biases": drawn[:, dim] if biases is None else biases,
            "center": drawn.new_zeros(dim) if center is None else center,
        }
        expected = {"inner": (width, dim), "biases": (width,), "center": (dim,)}
        for name, value in given.items():
            if value.shape != expected[name]:
                raise ValueError(
                    f"{width} perceptrons in dimension {dim} expect {name} of shape {expected[name]}, and got "
                    f"{tuple(value.shape)}."
                )
            value = value.detach().to(drawn, copy=True)
            if trained and name != "center":
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    @property
    def directions(self) -> Tensor:
        """∂(w·y + b)/∂x, shape (M, d)."""
        return self.inner / self.radius

    def angles(self, x: Tensor) -> Tensor:
        """w·y + b, shape (n, M)."""
        check_positions(x, self.dim, self.inner)
        directions = self.directions
        return torch.addmm(self.biases - directions @ self.center, x, directions.T)

    def forward(self, x: Tensor) -> Tensor:
        """σ(w·y + b), shape (n, M)."""
        return self.activation(self.angles(x))

    def slopes(self, x: Tensor) -> Tensor:
        """σ'(w·y + b), shape (n, M)."""
        return self.activation.slope(self.angles(x))

    def sqnorms(self) -> Tensor:
        """(|w|² + b²) / (d + 1), shape (M,): 1 for weights as they are drawn."""
        return (self.inner.square().sum(1) + self.biases.square()) / (self.dim + 1)

    def arguments(self) -> dict[str, Any]:
        """What fields made of them are called with, outer weights aside."""
        return {
            "dim": self.dim,
            "width": self.width,
            "seed": self.seed,
            "activation": self.activation,
            "radius": self.radius,
            "center": self.center,
            "inner": self.inner.detach(),
            "biases": self.biases.detach(),
        }

    def rescaled_arguments(self, factor: float, shift: Tensor) -> dict[str, Any]:
        """The same in other units: the weights see the data in the ball, which has become another one."""
        center = factor * self.center + shift.to(self.center)
        return {**self.arguments(), "radius": factor * self.radius, "center": center}

    def extra_repr(self) -> str:
        """The activation and the ball."""
        return f"{self.activation!r}, dim={self.dim}, width={self.width}, radius={self.radius:.4g}"


def _on_sphere(n: int, d: int, seed: int) -> Tensor:
    """n points of the sphere of radius √(d + 1) in R^{d + 1}, float64."""
    draw = torch.randn(n, d + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return math.sqrt(d + 1) * torch.nn.functional.normalize(draw, dim=1)
