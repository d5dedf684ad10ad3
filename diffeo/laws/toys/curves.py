"""Toys that are curves with noise: their densities are integrals along the curve."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from diffeo.laws.toys.toy import Toy, chosen, normal, uniform

NODES = 16  # of Gauss and Legendre, in each of a curve's panels: closer than half a deviation of the noise


class CurveToy(Toy):
    r"""$z = c_b(s) + \varepsilon$, b one of the branches, s in [0, 1]: $p(z) = \sum_b \int q(s)\,p_b(z - c_b(s))\,ds$.

    The quadrature is good to 1e-8 of the density wherever that is above e^-100.
    """

    DEVIATION: ClassVar[float]
    BRANCHES: ClassVar[int]
    PANELS: ClassVar[int]

    @abstractmethod
    def curve(self, s: Tensor) -> Tensor:
        """c(s) on every branch, shape (BRANCHES, n, 2), for s of shape (n,)."""

    def density(self, s: Tensor) -> Tensor:
        """q(s)."""
        return torch.ones_like(s)

    def quantile(self, u: Tensor) -> Tensor:
        """The s that lie above a part u of all."""
        return u

    def noise_log_prob(self, e: Tensor) -> Tensor:
        """Of ε, shape (n, BRANCHES, m) for e of shape (n, BRANCHES, m, 2)."""
        return -0.5 * e.square().sum(-1) / self.DEVIATION**2 - math.log(2 * math.pi * self.DEVIATION**2)

    def noise_sample(self, branch: Tensor, generator: torch.Generator | None) -> Tensor:
        """ε on branches, shape (n, 2) for branches of shape (n,)."""
        return self.DEVIATION * normal(len(branch), generator)

    def quadrature(self) -> tuple[Tensor, Tensor]:
        """Nodes and their weights, shape (m,), in panels that hold equal parts of the mass."""
        edges = self.quantile(torch.linspace(0, 1, self.PANELS + 1, dtype=torch.float64))
        nodes, weights = (torch.as_tensor(part) for part in np.polynomial.legendre.leggauss(NODES))
        half = edges.diff()[:, None] / 2
        return (edges[:-1, None] + half * (1 + nodes)).flatten(), (half * weights).flatten()

    def standard_log_prob(self, z: Tensor) -> Tensor:
        """By quadrature, in logarithms."""
        s, weights = (part.to(z) for part in self.quadrature())
        log_weights = (weights * self.density(s) / self.BRANCHES).log()
        parts = self.noise_log_prob(z[:, None, None] - self.curve(s)) + log_weights
        return parts.flatten(1).logsumexp(1)

    def standard_sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """A point of the curve, a branch, and noise."""
        points = self.curve(self.quantile(uniform(n, generator)[:, 0]))
        branch = chosen(n, generator, self.BRANCHES)
        return points[branch, torch.arange(n)] + self.noise_sample(branch, generator)


class Moons(CurveToy):
    """Two half circles of radius 2, one turned into the other."""

    ENTROPY = 2.3939
    DEVIATION, BRANCHES, PANELS = 0.2, 2, 20

    def curve(self, s: Tensor) -> Tensor:
        """By the angle."""
        x, y = (math.pi * s).cos(), (math.pi * s).sin()
        moons = torch.stack([torch.stack([x, y], 1), torch.stack([1 - x, 0.5 - y], 1)])
        return 2 * moons + torch.tensor([-1.0, -0.2]).to(s)


class SwissRoll(CurveToy):
    """One and a half turns of a spiral of Archimedes, uniform in the angle."""

    ENTROPY = 2.6696
    DEVIATION, BRANCHES, PANELS = 0.2, 1, 36

    def curve(self, s: Tensor) -> Tensor:
        """Angles between 3π/2 and 9π/2."""
        t = 1.5 * math.pi * (1 + 2 * s)
        return torch.stack([t * t.cos(), t * t.sin()], 1)[None] / 5


class TwoSpirals(CurveToy):
    """One and a half turns each, the square of the angle being uniform.

    The noise is Gaussian, and uniform on a square of which the point of the curve is a corner: the lower left one on
    the first spiral, the opposite one on the second, which is the first one's negative.
    """

    ENTROPY = 2.6455
    DEVIATION, BRANCHES, PANELS = 0.1, 2, 48
    SIDE: ClassVar[float] = 0.5 / 3

    def curve(self, s: Tensor) -> Tensor:
        """Angles between 0 and 3π."""
        t = 3 * math.pi * s
        first = torch.stack([-t * t.cos(), t * t.sin()], 1) / 3
        return torch.stack([first, -first])

    def density(self, s: Tensor) -> Tensor:
        """2s."""
        return 2 * s

    def quantile(self, u: Tensor) -> Tensor:
        """√u."""
        return u.sqrt()

    def noise_log_prob(self, e: Tensor) -> Tensor:
        """Of a uniform number plus a normal one, twice."""
        low = (e * self.signs(torch.arange(2, device=e.device))[:, None, None]) / self.DEVIATION
        return log_between(low - self.SIDE / self.DEVIATION, low).sum(-1) - 2 * math.log(self.SIDE)

    def noise_sample(self, branch: Tensor, generator: torch.Generator | None) -> Tensor:
        """Both parts."""
        square = self.SIDE * uniform(len(branch), generator, 2)
        return self.signs(branch)[:, None] * square + super().noise_sample(branch, generator)

    @staticmethod
    def signs(branch: Tensor) -> Tensor:
        """1 on the first, −1 on the second."""
        return 1.0 - 2.0 * branch.double()


def log_between(low: Tensor, high: Tensor) -> Tensor:
    """log(Φ(high) − Φ(low)), without cancellation or underflow in either tail.

    With a and b the two over −√2, on the side where |a| < |b|, it is log(erfcx(a) − e^{a² − b²} erfcx(b)) − a² − log 2.
    """
    flip = low + high > 0
    a = torch.where(flip, low, -high) * math.sqrt(0.5)
    b = a + (high - low) * math.sqrt(0.5)
    ratio = torch.special.erfcx(a) - ((a - b) * (a + b)).exp() * torch.special.erfcx(b)
    return ratio.log() - a.square() - math.log(2)
