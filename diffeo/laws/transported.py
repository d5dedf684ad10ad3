"""The law that a diffeomorphism carries to another: a normalizing flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.laws.base import Law


class Transported(Law):
    r"""The law of x where φ(x) has the law of the base: $\log p(x) = \log p_0(\varphi(x)) + \log\det D\varphi(x)$.

    Args:
        phi: φ.
        base: p₀.
    """

    def __init__(self, phi: Diffeo, base: Law) -> None:
        super().__init__()
        self.phi, self.base = phi, base

    @property
    def dim(self) -> int:
        """That of the base."""
        return self.base.dim

    def log_prob(self, x: Tensor) -> Tensor:
        """log p₀(φ(x)) + log det Dφ(x); NaN where φ folds: there is no density there."""
        z, logdet = self.phi.with_logdet(x)
        return self.base.log_prob(z) + logdet

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """φ⁻¹ of points of the base."""
        with torch.no_grad():
            return self.phi.inverse(self.base.sample(n, generator))

    def arguments(self) -> dict[str, Any]:
        """Map and base."""
        return {"phi": self.phi, "base": self.base}

    def rescaled(self, factor: float, shift: Tensor) -> Transported:
        """Map and base in the other units."""
        return Transported(self.phi.rescaled(factor, shift), self.base.rescaled(factor, shift))
