"""Optimal transport between measures: Sinkhorn divergences, with the exact gradient of what is computed.

Sinkhorn's iterations are differentiated as they are. The usual shortcut, the gradient of converged potentials (which is
what geomloss returns), is off by tens of percent after the ten or twenty iterations that one can afford, and line
searches end there.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Loss
from diffeo.shapes.base import PointShape

LARGEST = 30_000_000  # pairs that are kept in memory at a time: about 1 GB in float32
POLISH = 5  # iterations at the final blur


class SinkhornLoss(Loss):
    """The debiased Sinkhorn divergence of ½|x − y|² between two shapes as measures, in units².

    Args:
        blur: the length below which details are not resolved, in the data's units.
        reach: with a length, mass farther away than that need not be matched (unbalanced: for partial data).
        scaling: ratio of successive blurs, between 0 and 1; nearer 1 is closer to converged, and slower.

    Source: Feydy et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences", AISTATS 2019;
    Séjourné et al., "Sinkhorn divergences for unbalanced optimal transport", 2019.
    """

    def __init__(self, blur: float, reach: float | None = None, scaling: float = 0.7) -> None:
        super().__init__()
        for name, value in (("blur", blur), ("reach", math.inf if reach is None else reach)):
            if not value > 0 or math.isnan(value):
                raise ValueError(f"SinkhornLoss expects a positive {name} (a length in the data's units), got {value}.")
        if not 0 < scaling < 1:
            raise ValueError(f"SinkhornLoss expects a scaling between 0 and 1, and got {scaling}.")
        self.blur, self.reach, self.scaling = float(blur), reach, scaling

    def forward(self, moved: PointShape, target: PointShape) -> Tensor:
        """The divergence. Masses are scaled to 1; with ``reach`` by one factor for both, to a mean of 1."""
        mu, nu = moved.measure(), target.measure()
        if mu.centers.shape[1] != nu.centers.shape[1]:
            raise ValueError(
                f"SinkhornLoss compares shapes of one dimension, and got {mu.centers.shape[1]} and "
                f"{nu.centers.shape[1]}."
            )
        if len(mu.weights) * len(nu.weights) > LARGEST:
            raise ValueError(
                f"SinkhornLoss keeps all pairs in memory, and {len(mu.weights)} × {len(nu.weights)} are too many: use "
                "MMDLoss, or fewer points."
            )
        both = torch.cat([mu.centers, nu.centers]).detach()
        center = both.mean(0)
        x, y, a, b = mu.centers - center, nu.centers - center, mu.weights, nu.weights
        masses = (a.sum(), b.sum()) if self.reach is None else ((a.sum() + b.sum()) / 2,) * 2
        extent = 2 * float((both - center).norm(dim=1).max())
        return divergence(a / masses[0], x, b / masses[1], y, self.blurs(extent), self.reach)

    def blurs(self, extent: float) -> list[float]:
        """From the extent down; multiples of the last, so that the list changes rarely as shapes move."""
        count = math.ceil(math.log(max(1.0, extent / self.blur)) / -math.log(self.scaling) - 1e-6)
        return [self.blur * self.scaling**-k for k in range(count, 0, -1)] + [self.blur] * (1 + POLISH)

    def rescaled(self, factor: float) -> SinkhornLoss:
        """The lengths in the other units."""
        return SinkhornLoss(factor * self.blur, None if self.reach is None else factor * self.reach, self.scaling)

    def extra_repr(self) -> str:
        """Its lengths."""
        return f"blur={self.blur:.4g}, reach={self.reach}"


def divergence(a: Tensor, x: Tensor, b: Tensor, y: Tensor, blurs: list[float], reach: float | None) -> Tensor:
    """OT(a, b) − ½ OT(a, a) − ½ OT(b, b) + ½ε (Σa − Σb)², with ε the square of the last blur."""
    x_y, x_x, y_y = (_HalfSquares.apply(*pair) for pair in ((x, y), (x, x), (y, y)))
    between = transport(a, b, x_y, blurs, reach)
    within = transport(a, a, x_x, blurs, reach) + transport(b, b, y_y, blurs, reach)
    return between - within / 2 + blurs[-1] ** 2 / 2 * (a.sum() - b.sum()) ** 2


def transport(a: Tensor, b: Tensor, cost: Any, blurs: list[float], reach: float | None) -> Tensor:
    """Entropic transport from a to b after one symmetric Sinkhorn iteration per blur: the dual value reached.

    The same tensor as a and b means a symmetric cost, and half the work.
    """
    log_a, log_b = (w.clamp(min=torch.finfo(w.dtype).tiny).log() for w in (a, b))
    rho = math.inf if reach is None else reach**2

    def halves(f: Tensor, g: Tensor, e: float) -> tuple[Any, Any]:
        damping = 1 / (1 + e / rho)
        first: Any = damping * _SoftMin.apply(cost, log_b + g / e, e)  # type: ignore[operator]
        return first, first if a is b else damping * _SoftMin.apply(cost.T, log_a + f / e, e)  # type: ignore[operator]

    def worth(w: Tensor, f: Tensor) -> Tensor:
        return (w * f).sum() if reach is None else -rho * (w * torch.expm1(-f / rho)).sum()

    f, g = halves(torch.zeros_like(a), torch.zeros_like(b), blurs[0] ** 2)
    for blur in blurs:
        new_f, new_g = halves(f, g, blur**2)
        f, g = (f + new_f) / 2, (g + new_g) / 2
    e = blurs[-1] ** 2
    new_f, new_g = halves(f, g, e)
    values = worth(a, new_f) + worth(b, g), worth(b, new_g) + worth(a, f)  # the dual at (new_f, g), and at (f, new_g)
    masses = (a * (-new_f / rho).exp()).sum(), (b * (-new_g / rho).exp()).sum()  # of their transport plans
    return sum(values) / 2 - e * (sum(masses) / 2 - a.sum() * b.sum())


class _HalfSquares(torch.autograd.Function):
    """½|x_i − y_j|², by differences, shape (n, m)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for k in range(x.shape[1]):
            total = total + (x[:, None, k] - y[None, :, k]).square()
        return total / 2

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (x, y), (g,) = ctx.saved_tensors, cotangents
        return g.sum(1)[:, None] * x - g @ y, g.sum(0)[:, None] * y - g.T @ x


class _SoftMin(torch.autograd.Function):
    """−ε log Σ_j exp(h_j − c_ij/ε), shape (n,); nothing of size n × m is kept but the cost itself."""

    @staticmethod
    def forward(ctx: Any, cost: Tensor, h: Tensor, e: float) -> Tensor:
        minimum = -e * torch.logsumexp(h - cost / e, 1)
        ctx.save_for_backward(cost, h, minimum)
        ctx.e = e
        return minimum

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (cost, h, minimum), (g,) = ctx.saved_tensors, cotangents
        plan = torch.exp(h + (minimum[:, None] - cost) / ctx.e)
        return g[:, None] * plan, -ctx.e * (g @ plan), None
