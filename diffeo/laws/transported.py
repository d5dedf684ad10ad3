"""The law that a diffeomorphism carries to another: a normalizing flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.laws.base import Law, check_points
from diffeo.laws.conditional import ConditionalLaw


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
        check_points(x, self.dim, "Transported")
        z, logdet = self.phi.with_logdet(x)
        return self.base.log_prob(z) + logdet

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """φ⁻¹ of points of the base."""
        with torch.no_grad():
            return self.phi.inverse(self.base.sample(n, generator))

    def sample_given(self, c: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one x, shape (n, d), for each c, shape (n, k), where the base is a `ConditionalLaw`.

        Raises: ValueError for other bases, and where φ moves c: fields that leave it are `Conditioned`.
        """
        if not isinstance(self.base, ConditionalLaw):
            raise ValueError(
                f"x can be drawn given c only from a base that is a ConditionalLaw, and this one is a "
                f"{type(self.base).__name__}."
            )
        with torch.no_grad():
            x = self.phi.inverse(torch.cat([self.base.sample_given(c, generator), c], 1))
        k = self.base.given
        if not torch.allclose(x[:, -k:], c):
            raise ValueError("the map of this law moves c: build it of Conditioned fields.")
        return x[:, :-k]

    def arguments(self) -> dict[str, Any]:
        """Map and base."""
        return {"phi": self.phi, "base": self.base}

    def rescaled(self, factor: float, shift: Tensor) -> Transported:
        """Map and base in the other units."""
        return Transported(self.phi.rescaled(factor, shift), self.base.rescaled(factor, shift))
