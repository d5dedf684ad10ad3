"""Velocity fields of momenta and dipoles on control points: what losses of densities descend along."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.kernels import dipoles
from diffeo.kernels.algebra import Radial


class DipoleField(Field):
    r"""$v(x) = \sum_j k(x, c_j)\,a_j + b_j\,\nabla_{c_j} k(x, c_j)$: momenta a, and dipoles of strength b.

    Momenta are what velocities pair with in V, dipoles what divergences pair with: $\langle v, u\rangle_V = \sum_j
    a_j\cdot u(c_j) + b_j\,\mathrm{div}\,u(c_j)$. With $a = \nabla\log\pi(c)/n$ and $b = 1/n$ this is the field of SVGD
    (Liu & Wang, NeurIPS 2016).

    Args:
        kernel: of the space V.
        controls: the points c_j, shape (m, d).
        momenta: the vectors a_j, shape (m, d); zero if left out.
        strengths: the numbers b_j, shape (m,); zero if left out.

    Raises: ValueError where these do not fit together, or where V has no dipoles.
    """

    controls: Tensor

    def __init__(
        self, kernel: Radial, controls: Tensor, momenta: Tensor | None = None, strengths: Tensor | None = None
    ) -> None:
        super().__init__()
        if kernel.smoothness < 1:
            raise ValueError(f"{kernel!r} is not differentiable at 0 and has no dipoles: take a smoother one.")
        momenta = torch.zeros_like(controls) if momenta is None else momenta
        strengths = controls.new_zeros(len(controls)) if strengths is None else strengths
        if controls.ndim != 2 or momenta.shape != controls.shape or strengths.shape != controls.shape[:1]:
            raise ValueError(
                "DipoleField expects controls (m, d), momenta (m, d) and strengths (m,), and got "
                f"{tuple(controls.shape)}, {tuple(momenta.shape)} and {tuple(strengths.shape)}."
            )
        self.kernel = kernel
        self.register_buffer("controls", controls.detach().clone())
        self.momenta = nn.Parameter(momenta.detach().clone())
        self.strengths = nn.Parameter(strengths.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return dipoles.value(self.kernel, x, self.controls, self.momenta, self.strengths)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return dipoles.jacobian(self.kernel, x, self.controls, self.momenta, self.strengths)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return dipoles.divergence(self.kernel, x, self.controls, self.momenta, self.strengths)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V = Σ_j a_j·v(c_j) + b_j div v(c_j)."""
        return _sqnorm(self.kernel, self.controls, self.momenta, self.strengths)

    def lipschitz(self) -> Tensor:
        """√(−2k'(0)) ‖v‖_V, as for all fields of V."""
        wide = [t.double() for t in (self.controls, self.momenta, self.strengths)]  # where terms cancel, digits go
        sqnorm = _sqnorm(self.kernel, *wide).clamp(min=0)
        return (math.sqrt(-2 * self.kernel.slope_at_zero) * sqnorm.sqrt()).to(self.momenta)

    def arguments(self) -> dict[str, Any]:
        """Kernel, controls, momenta, strengths."""
        unknown = {"momenta": self.momenta.detach(), "strengths": self.strengths.detach()}
        return {"kernel": self.kernel, "controls": self.controls, **unknown}

    def rescaled(self, factor: float, shift: Tensor) -> DipoleField:
        """Controls, momenta, strengths (which are lengths squared, as momenta are lengths) and the kernel's scale."""
        return DipoleField(
            self.kernel.rescaled(factor),
            factor * self.controls + shift.to(self.controls),
            factor * self.momenta.detach(),
            factor**2 * self.strengths.detach(),
        )

    def extra_repr(self) -> str:
        """The kernel and the number of controls."""
        return f"{self.kernel!r}, {len(self.controls)} controls"


def _sqnorm(kernel: Radial, controls: Tensor, momenta: Tensor, strengths: Tensor) -> Tensor:
    """‖v‖²_V."""
    moved = dipoles.value(kernel, controls, controls, momenta, strengths)
    spread = dipoles.divergence(kernel, controls, controls, momenta, strengths)
    return (momenta * moved).sum() + (strengths * spread).sum()
