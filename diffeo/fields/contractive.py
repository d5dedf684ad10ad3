"""Fields slowed down so that no layer folds, whatever an optimizer does."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.fields.kernel_field import PlainField


class Contractive(Field):
    r"""$v = u / \sqrt{1 + (\mathrm{Lip}(u)/b)^2}$ for any field u: its Lipschitz bound is below b at all parameters.

    A reparametrization instead of a constraint: gradients, every optimizer, minibatches and line searches need not know
    of it. Where the bound of u is a norm of its parameters, as for fields that are linear in them, the slowing maps all
    of them one to one onto the fields with a bound below b, and for those far below b it changes nothing.

    In a Flow of L Euler layers take ``bound`` = c·L with c < 1: every layer is x + v(x)/L with Lip(v/L) < c, a
    diffeomorphism with $1 - c < |D\Phi| < 1 + c$ (see `diffeo.diagnostics.certificate`; for other solvers c must be
    smaller: 0.73 for those of order 2, 0.69 for RK4).

    Args:
        field: u, whose ``lipschitz`` must be finite.
        bound: b > 0.

    Raises: ValueError if the bound is not positive.
    """

    def __init__(self, field: Field, bound: float) -> None:
        super().__init__()
        if not (math.isfinite(bound) and bound > 0):
            raise ValueError(f"Contractive expects a bound above 0 for the Lipschitz constant, and got {bound}.")
        self.field: Field = field
        self.bound = float(bound)

    def slowness(self) -> Tensor:
        """v/u, a scalar in (0, 1].

        Raises: ValueError where the field has no Lipschitz bound.
        """
        lipschitz = self.field.lipschitz()
        if not bool(torch.isfinite(lipschitz)):
            raise ValueError(
                f"Contractive slows a field by its Lipschitz bound, which is {float(lipschitz)} for {self.field!r}: "
                "take a smoother kernel, or smaller parameters."
            )
        if not bool(lipschitz > 0):
            return torch.ones_like(lipschitz.detach())  # its derivative is 0 there, a norm's is not known
        return (1 + (lipschitz / self.bound).square()).rsqrt()

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.frozen()(x)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.frozen().jacobian(x)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return self.slowness() * self.field.divergence(x)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V."""
        return self.slowness().square() * self.field.sqnorm()

    def lipschitz(self) -> Tensor:
        """That of u, slowed: below b."""
        return self.slowness() * self.field.lipschitz()

    def frozen(self) -> Slowed | PlainField:
        """With the slowing computed once; where momenta carry the field, they are made smaller."""
        velocity, slowness = self.field.frozen(), self.slowness()
        if isinstance(velocity, PlainField):
            return PlainField(velocity.kernel, velocity.controls, slowness * velocity.momenta, velocity.log_scale)
        return Slowed(velocity, slowness, self)

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """Those of u, which are those in V as long as v is far below the bound."""
        return self.field.rates()

    def redrawn(self, seed: int) -> Contractive:
        """That of u, slowed."""
        return Contractive(self.field.redrawn(seed), self.bound)

    def arguments(self) -> dict[str, Any]:
        """The field and the bound."""
        return {"field": self.field, "bound": self.bound}

    def rescaled(self, factor: float, shift: Tensor) -> Contractive:
        """The field in the other units; Lipschitz constants have none."""
        return Contractive(self.field.rescaled(factor, shift), self.bound)

    def extra_repr(self) -> str:
        """The bound."""
        return f"bound={self.bound:g}"


class Slowed:
    """A velocity times a number that does not depend on x."""

    def __init__(self, velocity: Any, factor: Tensor, field: Contractive) -> None:
        self.velocity, self.factor, self.field = velocity, factor, field

    def __call__(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.factor * self.velocity(x)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.factor * self.velocity.jacobian(x)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V."""
        return self.field.sqnorm()

    def lipschitz(self) -> Tensor:
        """Below the bound."""
        return self.field.lipschitz()
