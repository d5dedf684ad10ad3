"""Momenta as unknowns: well-posed coordinates for an optimizer.

The energy of momenta p on controls c is ½ pᵀK(c, c)p, badly conditioned wherever controls are close together. In
p = L⁻ᵀz with LLᵀ = K(c, c) + εI it is ½‖z‖² (up to ε), so that z is what an optimizer should see.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.kernels.algebra import Radial

RIDGE = 1e-3  # ε relative to k(0): smaller ones only add directions that rounding errors fill
LARGEST = 6000  # controls up to which the factorization pays: its cost grows with the cube


class Momenta(nn.Module):
    """Momenta p, shape (m, d), on controls; the parameter is ``coordinates``, which is z or, unwhitened, p itself.

    Args:
        factorize: L of given controls, in their dtype; for a kernel ``partial(cholesky, kernel)``.
        controls: shape (m, d).
        value: initial momenta, shape (m, e); zero if left out.
        whiten: optimize z instead of p; None means yes up to 6,000 controls.
    """

    factor: Tensor | None
    anchors: Tensor

    def __init__(
        self,
        factorize: Callable[[Tensor], Tensor],
        controls: Tensor,
        value: Tensor | None = None,
        whiten: bool | None = None,
    ) -> None:
        super().__init__()
        self.whiten = len(controls) <= LARGEST if whiten is None else whiten
        self.factorize = factorize
        self.register_buffer("anchors", controls.detach().clone(), persistent=False)
        self.register_buffer("factor", factorize(controls) if self.whiten else None, persistent=False)
        if value is None:
            value = torch.zeros_like(controls)
        self.coordinates = nn.Parameter(self.inverse(value.detach()))

    def forward(self) -> Tensor:
        """P, shape (m, d)."""
        return self.momenta_of(self.coordinates)

    def momenta_of(self, coordinates: Tensor) -> Tensor:
        """The momenta that given coordinates mean."""
        if self.factor is None:
            return coordinates
        return torch.linalg.solve_triangular(self.factor.T, coordinates, upper=True)

    def inverse(self, momenta: Tensor) -> Tensor:
        """The coordinates of given momenta."""
        return momenta.clone() if self.factor is None else self.factor.T @ momenta

    def follow(self, controls: Tensor) -> None:
        """Whiten on other controls, whose coordinates are about to be, or have been, loaded."""
        if not torch.equal(self.anchors, controls):
            self.refactor(controls)

    def refactor(self, controls: Tensor) -> None:
        """Whiten anew."""
        self.anchors = controls.detach().clone()
        self.factor = self.factorize(controls) if self.whiten else None

    @torch.no_grad()
    def assign(self, momenta: Tensor) -> None:
        """Replace the momenta."""
        if momenta.shape != self.coordinates.shape:
            raise ValueError(f"expected momenta of shape {tuple(self.coordinates.shape)}, got {tuple(momenta.shape)}.")
        self.coordinates.copy_(self.inverse(momenta))


class WithMomenta(nn.Module):
    """What is given by momenta on controls: a field, or a geodesic."""

    controls: Tensor

    def place_momenta(self, kernel: Radial, controls: Tensor, momenta: Tensor | None, whiten: bool | None) -> None:
        """Keep the kernel and the controls, shape (m, d), and make the momenta the unknown."""
        self.kernel = kernel
        self.register_buffer("controls", controls.detach().clone())
        self.unknown = Momenta(partial(cholesky, kernel), self.controls, momenta, whiten)
        self.register_load_state_dict_post_hook(follow_controls)

    @property
    def momenta(self) -> Tensor:
        """The momenta, shape (m, d), dual to the controls; assign to replace them."""
        return self.unknown()

    @momenta.setter
    def momenta(self, value: Tensor) -> None:
        self.unknown.assign(value)


def follow_controls(module: Any, *_: Any) -> None:
    """After ``load_state_dict``: loaded coordinates are those of momenta on the controls loaded with them."""
    module.unknown.follow(module.controls)


@torch.no_grad()
def cholesky(kernel: Radial, controls: Tensor) -> Tensor:
    """L with LLᵀ = K(c, c) + εI, in the controls' dtype; factored in float64."""
    return factored(kernel(controls.double()).dense(), kernel.at_zero).to(controls.dtype)


def factored(gram: Tensor, size: float) -> Tensor:
    """L with LLᵀ = G + εI, for a Gram matrix G, shape (m, m), in float64, with entries up to about ``size``."""
    gram.diagonal().add_(RIDGE * size)
    return torch.linalg.cholesky(gram)
