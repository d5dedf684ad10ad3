"""Fields that move every coordinate on its own: flows along them change marginals, and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diffeo.fields.checks import check_positions
from diffeo.fields.linear import LinearField

CELLS = 2000  # of the line, in each of which slopes are bounded


class SeparableField(LinearField):
    r"""$v_i(x) = \sum_j \theta_{ji}\,f_{ji}(x_i)$ with $f_{ji}(t) = \sqrt{1 + (t - c_{ji})^2/\sigma^2}$, 1, $t/\sigma$.

    Far out, such fields are linear: flows along them stretch tails by what they stretch the last of the data by. That
    is what skewed columns of tables ask for; kernels that vanish far out leave outliers behind. The bends are taken
    less their values at the origin, so that constants are paid for once.

    Args:
        centers: c, shape (m, d): m in each coordinate.
        scale: σ, of the bends, a length.
        coefficients: θ, shape (m + 2, d): of the bends, of the constant, and of the linear part; zero if left out.
        origin: where coordinates are counted from, shape (d,); 0 if left out.

    Raises: ValueError where these do not fit together.
    """

    centers: Tensor
    origin: Tensor

    def __init__(
        self, centers: Tensor, scale: float, coefficients: Tensor | None = None, origin: Tensor | None = None
    ) -> None:
        super().__init__()
        if centers.ndim != 2 or not centers.is_floating_point() or not scale > 0:
            raise ValueError(
                "SeparableField expects centers of shape (m, d) and a positive scale, and got "
                f"{tuple(centers.shape)}, {centers.dtype}, and {scale}."
            )
        m, d = centers.shape
        coefficients = centers.new_zeros(m + 2, d) if coefficients is None else coefficients
        origin = centers.new_zeros(d) if origin is None else origin
        if coefficients.shape != (m + 2, d) or origin.shape != (d,):
            raise ValueError(
                f"SeparableField with centers of shape ({m}, {d}) expects coefficients ({m + 2}, {d}) and an origin "
                f"({d},), and got {tuple(coefficients.shape)} and {tuple(origin.shape)}."
            )
        self.scale = float(scale)
        self.register_buffer("centers", centers.detach().clone())
        self.register_buffer("origin", origin.detach().clone())
        self.coefficients = nn.Parameter(coefficients.detach().clone())

    @classmethod
    def over(cls, x: Tensor, count: int = 8, scale: float = 0.7) -> SeparableField:
        """At rest, with so many centers evenly over the range of every column of x, shape (n, d)."""
        low, high = x.amin(0), x.amax(0)
        return cls(low + (high - low) * torch.linspace(0, 1, count).to(x)[:, None], scale)

    @property
    def dim(self) -> int:
        """d."""
        return self.centers.shape[1]

    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """The field with the given coefficients at x, shape (n, d)."""
        return self.with_slopes(x, coefficients)[0]

    def with_slopes(self, x: Tensor, coefficients: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """v(x) and ∂v_i/∂x_i, shape (n, d) each: all that its derivative consists of."""
        check_positions(x, self.dim, self.centers)
        theta = self.coefficients if coefficients is None else coefficients
        bends, constant, linear = theta[:-2], theta[-2], theta[-1]
        still = (bends * (1 + ((self.origin - self.centers) / self.scale).square()).sqrt()).sum(0)
        bent = _bent if torch.is_grad_enabled() else _bent_quickly
        values, slopes = bent(x / self.scale, self.centers / self.scale, bends)
        values = values - still + constant + linear * (x - self.origin) / self.scale
        return values, (slopes + linear) / self.scale

    def jacobian_of(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d), of the field with the given coefficients: diagonal."""
        return self.with_slopes(x, coefficients)[1].diag_embed()

    def pull(self, x: Tensor, coefficients: Tensor, p: Tensor) -> Tensor:
        """Dv(x)ᵀp, shape (n, d)."""
        return self.with_slopes(x, coefficients)[1] * p

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return self.with_slopes(x)[1].sum(1)

    def lipschitz(self) -> Tensor:
        """max_i Σ_j |θ_ji| / σ, the constant not counted: no bend is steeper than 1/σ."""
        theta = self.coefficients
        return (theta[:-2].abs().sum(0) + theta[-1].abs()).max() / self.scale

    @torch.no_grad()
    def slope_bounds(self) -> tuple[Tensor, Tensor]:
        """Between which numbers ∂v_i/∂x_i lies, shape (d,) each, wherever x_i is: proven, and tight to about 1%.

        Slopes of bends only grow from −1/σ to 1/σ, so that between two positions each lies between those there.
        """
        bends, linear = self.coefficients[:-2], self.coefficients[-1]
        even = torch.linspace(-1, 1, CELLS + 1).to(bends)[1:-1, None]
        low, high = self.centers.amin(0), self.centers.amax(0)
        half = (high - low) / 2 + self.scale
        x = (low + high) / 2 + half * even / (1 - even.square())  # to infinity, and close where bends are
        apart = (x[:, None] - self.centers) / self.scale
        ends = torch.ones_like(apart[:1])
        terms = bends * torch.cat([-ends, apart / (1 + apart.square()).sqrt(), ends])
        least = torch.minimum(terms[:-1], terms[1:]).sum(1).amin(0)
        most = torch.maximum(terms[:-1], terms[1:]).sum(1).amax(0)
        return (least + linear) / self.scale, (most + linear) / self.scale

    def arguments(self) -> dict[str, Any]:
        """Centers, scale, coefficients, origin."""
        return {
            "centers": self.centers,
            "scale": self.scale,
            "coefficients": self.coefficients.detach(),
            "origin": self.origin,
        }

    def rescaled(self, factor: float, shift: Tensor) -> SeparableField:
        """Centers, origin, scale and coefficients in the other units."""
        shift = shift.to(self.centers)
        return SeparableField(
            factor * self.centers + shift,
            factor * self.scale,
            factor * self.coefficients.detach(),
            factor * self.origin + shift,
        )

    def extra_repr(self) -> str:
        """Centers, dimension, scale."""
        return f"{len(self.centers)} centers, dim={self.dim}, scale={self.scale:g}"


def _bent(x: Tensor, centers: Tensor, bends: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_j θ_j √(1 + (x − c_j)²), column by column, and its slopes."""
    apart = x[:, None] - centers
    heights = (1 + apart.square()).sqrt()
    return (heights * bends).sum(1), ((apart / heights) * bends).sum(1)


def _bent_quickly(x: Tensor, centers: Tensor, bends: Tensor) -> tuple[Tensor, Tensor]:
    """The same in half the time, where nothing is differentiated: one center after the other, in place."""
    values, slopes, one = torch.zeros_like(x), torch.zeros_like(x), torch.ones_like(x)
    for center, bend in zip(centers, bends, strict=True):
        apart = x - center
        heights = torch.addcmul(one, apart, apart).sqrt_()
        values.addcmul_(heights, bend)
        slopes.addcdiv_(apart.mul_(bend), heights)
    return values, slopes
