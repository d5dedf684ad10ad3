"""Toys whose densities are formulas."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffeo.laws.toys.toy import Toy, chosen, normal, uniform


class Checkerboard(Toy):
    """Uniform on the eight black squares, of side 2, of a board of side 8."""

    ENTROPY = math.log(32)

    def standard_log_prob(self, z: Tensor) -> Tensor:
        """−log 32 on the squares, −∞ elsewhere."""
        black = (z / 2).floor().sum(1) % 2 == 0
        inside = black & ((z >= -4) & (z < 4)).all(1)
        flat = 0 * z.sum(1) - self.ENTROPY  # differentiable, with derivative 0
        return torch.where(inside, flat, -math.inf)

    def standard_sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """A square, and a point of it."""
        corner = torch.stack([chosen(n, generator, 4) - 2, 2 * chosen(n, generator, 2) - 2], 1)
        corner[:, 1] += corner[:, 0] % 2
        return 2 * (corner + uniform(n, generator, 2))


class EightGaussians(Toy):
    """Eight round Gaussians on a circle; 1.414 is not √2 where these come from, either."""

    ENTROPY = 2.8319
    RADIUS, DEVIATION = 4 / 1.414, 0.5 / 1.414

    def centers(self) -> Tensor:
        """Shape (8, 2)."""
        angles = torch.arange(8, dtype=torch.float64) * math.pi / 4
        return self.RADIUS * torch.stack([angles.cos(), angles.sin()], 1)

    def standard_log_prob(self, z: Tensor) -> Tensor:
        """Of a mixture in equal parts."""
        squares = (z[:, None] - self.centers().to(z)).square().sum(2) / self.DEVIATION**2
        return (-0.5 * squares).logsumexp(1) - math.log(8 * 2 * math.pi * self.DEVIATION**2)

    def standard_sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """A center for each point, and noise."""
        return self.centers()[chosen(n, generator, 8)] + self.DEVIATION * normal(n, generator)


class Rings(Toy):
    r"""Four circles of radii R with Gaussian noise.

    The density is the mean over R of $e^{-(|z|^2+R^2)/2\sigma^2}\,I_0(|z|R/\sigma^2) / 2\pi\sigma^2$.
    """

    ENTROPY = 2.6232
    RADII, DEVIATION = (0.75, 1.5, 2.25, 3.0), 0.08

    def standard_log_prob(self, z: Tensor) -> Tensor:
        """The sum, in logarithms; I₀ without its exponential growth."""
        r = (z.square().sum(1, keepdim=True) + 1e-300).sqrt()  # with a derivative at the center
        R = torch.tensor(self.RADII).to(z)
        variance = self.DEVIATION**2
        parts = torch.special.i0e(r * R / variance).log() - 0.5 * (r - R).square() / variance
        return parts.logsumexp(1) - math.log(len(self.RADII) * 2 * math.pi * variance)

    def standard_sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """A circle, an angle, and noise."""
        R = torch.tensor(self.RADII, dtype=torch.float64)[chosen(n, generator, len(self.RADII))]
        angle = 2 * math.pi * uniform(n, generator)[:, 0]
        return R[:, None] * torch.stack([angle.cos(), angle.sin()], 1) + self.DEVIATION * normal(n, generator)
