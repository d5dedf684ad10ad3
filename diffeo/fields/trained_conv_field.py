"""Convolutional residuals of which both layers are trained: the usual residual network, as a field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.fields.conv_field import Convolutional, check_taps, random_taps


class TrainedConvField(Convolutional):
    r"""$v(z) = \frac{\alpha}{M}\,W_2 * \mathrm{relu}(W_1 * (z - c))$, both convolutions trained; M is ``hidden``.

    The residuals called SHL in arXiv 2112.05531; α leads from the mean-field limit, where hidden channels move like
    particles, to the lazy one, where only W₂ does, as in `PerceptronField`. W₁ is drawn normal with variance 1/k, W₂
    starts at 0, and v with it. With α = √M the field at the start is a `ConvField`.

    Args:
        shape: (channels, height, width) of the images that the points are.
        hidden: M, channels between the convolutions.
        kernel_size: k, odd.
        scale: α.
        seed: of the draw of W₁.
        radius: ρ, a length: the unit in which ‖v‖ measures speed.
        weights: W₂, shape (channels, hidden, k, k); zero if left out.
        inner: W₁, shape (hidden, channels, k, k), instead of drawing it.
        center: c, what is taken from z first, shape (channels·height·width,); nothing if left out.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int = 32,
        kernel_size: int = 3,
        scale: float = 1.0,
        seed: int = 0,
        radius: float = 1.0,
        weights: Tensor | None = None,
        inner: Tensor | None = None,
        center: Tensor | None = None,
    ) -> None:
        super().__init__()
        if not (math.isfinite(scale) and scale > 0 and math.isfinite(radius) and radius > 0):
            raise ValueError(f"TrainedConvField expects a scale and a radius above 0, and got {scale} and {radius}.")
        if inner is None:
            like = torch.empty((), dtype=torch.get_default_dtype() if weights is None else weights.dtype)
            inner = random_taps(shape, hidden, kernel_size, seed, 1.0).to(like)
        self._place(shape, hidden, kernel_size, center, inner)
        k = (kernel_size, kernel_size)
        check_taps("TrainedConvField", "inner", inner, (hidden, self.shape[0], *k))
        if weights is None:
            weights = inner.new_zeros(self.shape[0], hidden, *k)
        check_taps("TrainedConvField", "weights", weights, (self.shape[0], hidden, *k))
        self.scale, self.seed, self.radius = float(scale), seed, float(radius)
        self.inner = nn.Parameter(inner.detach().clone())
        self.weights = nn.Parameter(weights.detach().clone())

    @property
    def outer(self) -> Tensor:
        """(α/M) W₂, shape (c, hidden, k, k)."""
        return self.scale / self.hidden * self.weights

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.frozen()(x)

    def sqnorm(self) -> Tensor:
        r"""$\rho^2\frac{\alpha^2}{M}\sum_m \frac{|a_m|^2\,|w_m|^2}{k\,c}$, a_m and w_m the taps of hidden channel m.

        In length units squared; α²/M |W₂|² where ρ = 1 and inner taps are as large as they are drawn. Its root is at
        least the mean of ρ |a_m| |w_m| α/√(k c), by Jensen's inequality, so that ‖Dv‖ ≤ k² √(k c) ‖v‖/ρ: a convolution
        from or to one channel has at most k times the Euclidean norm of its taps.
        """
        products = self.weights.square().sum((0, 2, 3)) * self.inner.square().sum((1, 2, 3))
        share = (self.radius * self.scale) ** 2 / (self.hidden * self.kernel_size * self.shape[0])
        return share * products.sum()

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """M/(ρα)² for all taps: the gradient in ρ²α²/M Σ_m |δ(a_m, w_m)|²."""
        rate = self.hidden / (self.radius * self.scale) ** 2
        return [(p, rate) for p in self.parameters()]

    def redrawn(self, seed: int) -> TrainedConvField:
        """Other inner taps; outer ones are 0."""
        changed = {"seed": seed, "inner": None, "weights": torch.zeros_like(self.weights, device="cpu")}
        return TrainedConvField(**{**self.arguments(), **changed}).to(self.weights.device)

    def arguments(self) -> dict[str, Any]:
        """Sizes, the draw, the taps."""
        return {
            "shape": self.shape,
            "hidden": self.hidden,
            "kernel_size": self.kernel_size,
            "scale": self.scale,
            "seed": self.seed,
            "radius": self.radius,
            "weights": self.weights.detach(),
            "inner": self.inner.detach(),
            "center": self.center,
        }

    def rescaled(self, factor: float, shift: Tensor) -> TrainedConvField:
        """Radius and center in the other units; taps have none, but turn around with the axes."""
        sign = math.copysign(1.0, factor)
        changed = {
            "radius": abs(factor) * self.radius,
            "weights": sign * self.weights.detach(),
            "inner": sign * self.inner.detach(),
            "center": self._moved(factor, shift),
        }
        return TrainedConvField(**{**self.arguments(), **changed})
