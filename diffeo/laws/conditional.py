"""Laws of x given c: densities in x, one for every c."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffeo.laws.base import Law, check_points
from diffeo.laws.mixture import Mixture


class ConditionalLaw(Law):
    """p(x|c) for rows (x, c) in R^{d+k}: of mass one in x, for every c."""

    given: int
    """k, how many coordinates, the last ones, are given."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x|c), shape (n,), for rows (x, c), shape (n, d + k), in nats per unit of volume of x."""

    @abstractmethod
    def sample_given(self, c: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one x, shape (n, d), for each c, shape (n, k)."""


class Conditional(ConditionalLaw):
    """Of a mixture of Gaussians: log p(x|c) = log p(x, c) − log p(c), another mixture for every c.

    Args:
        joint: of (x, c), in R^{d+k}; its parameters are trained where they were.
        given: k.

    Raises: ValueError where these do not fit together.
    """

    def __init__(self, joint: Mixture, given: int) -> None:
        super().__init__()
        if not isinstance(joint, Mixture):
            raise ValueError(
                f"Conditional expects a Mixture of x and c together, and got {type(joint).__name__}: for a law of x "
                "that does not depend on c use Independent."
            )
        self.joint, self.given = joint, check_given(given, joint.dim - 1, "Conditional")

    @property
    def dim(self) -> int:
        """d + k."""
        return self.joint.dim

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x, c) − log p(c)."""
        return self.joint.log_prob(x) - self._of_context(x[:, -self.given :], self._parts()).logsumexp(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Rows (x, c) of the joint law, shape (n, d + k)."""
        return self.joint.sample(n, generator)

    def sample_given(self, c: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A component by what it says of c, and a point of it."""
        check_points(c, self.given, type(self).__name__)
        d = self.dim - self.given
        if not len(c):
            return c.new_empty(0, d)
        with torch.no_grad():
            parts = self._parts()
            shares = self._of_context(c, parts).softmax(1).double().cpu()
            which = torch.multinomial(shares, 1, generator=generator)[:, 0].to(c.device)
            z = torch.randn(len(c), d, generator=generator).to(c)
            means, chosen = self.joint.means[which], Parts(*(t[which] for t in parts))
            u = torch.linalg.solve_triangular(chosen.context, (c - means[:, d:])[..., None], upper=False)
            return means[:, :d] + (chosen.slope @ u + chosen.rest @ z[..., None])[..., 0]

    def _parts(self) -> Parts:
        """The factors of the components with c first: by QR, which keeps what little x may have of its own given c."""
        d = self.dim - self.given
        factors = self.joint.factors
        reordered = torch.cat([factors[:, d:], factors[:, :d]], 1)
        lower = torch.linalg.qr(reordered.mT).R.mT
        lower = lower * lower.diagonal(dim1=1, dim2=2).sign()[:, None]
        k = self.given
        return Parts(lower[:, :k, :k], lower[:, k:, :k], lower[:, k:, k:])

    def _of_context(self, c: Tensor, parts: Parts) -> Tensor:
        """log w_j + log p_j(c), shape (n, K)."""
        between = (c[:, None] - self.joint.means[:, -self.given :]).movedim(0, 2)  # (K, k, n)
        u = torch.linalg.solve_triangular(parts.context, between, upper=False)
        constant = self.joint.logits.log_softmax(0) - parts.context.diagonal(dim1=1, dim2=2).log().sum(1)
        return (constant[:, None] - 0.5 * u.square().sum(1)).T - 0.5 * self.given * math.log(2 * math.pi)

    def arguments(self) -> dict[str, Any]:
        """The joint law and k."""
        return {"joint": self.joint, "given": self.given}

    def rescaled(self, factor: float, shift: Tensor) -> Conditional:
        """x and c in the other units."""
        return Conditional(self.joint.rescaled(factor, shift), self.given)

    def extra_repr(self) -> str:
        """k."""
        return f"given={self.given}"


class Parts(NamedTuple):
    """Of each component: c = μ_c + L u and x = μ_x + S u + R z, u and z being standard normal."""

    context: Tensor
    """L, shape (K, k, k), lower triangular with a positive diagonal."""
    slope: Tensor
    """S, shape (K, d, k)."""
    rest: Tensor
    """R, shape (K, d, d), lower triangular."""


class Independent(ConditionalLaw):
    """A law of x that is the same for every c.

    Args:
        law: of x, in R^d.
        given: k.
    """

    def __init__(self, law: Law, given: int) -> None:
        super().__init__()
        self.law, self.given = law, check_given(given, None, "Independent")

    @property
    def dim(self) -> int:
        """d + k."""
        return self.law.dim + self.given

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x)."""
        check_points(x, self.dim, "Independent")
        return self.law.log_prob(x[:, : -self.given])

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Raises ValueError: nothing is known of c."""
        raise ValueError("Independent knows no law of c: draw x for given c with sample_given(c).")

    def sample_given(self, c: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One x for each c, whatever it is."""
        check_points(c, self.given, "Independent")
        return self.law.sample(len(c), generator)

    def arguments(self) -> dict[str, Any]:
        """The law and k."""
        return {"law": self.law, "given": self.given}

    def rescaled(self, factor: float, shift: Tensor) -> Independent:
        """The law in the other units."""
        return Independent(self.law.rescaled(factor, shift[: -self.given]), self.given)

    def extra_repr(self) -> str:
        """k."""
        return f"given={self.given}"


def check_given(given: int, most: int | None, name: str) -> int:
    """The number of given coordinates, if it is one. Raises ValueError otherwise."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1 or (most is not None and given > most):
        range_ = "1 or more" if most is None else f"from 1 to {most}"
        raise ValueError(f"{name} expects the number of coordinates that are given, {range_}, and got {given!r}.")
    return given
