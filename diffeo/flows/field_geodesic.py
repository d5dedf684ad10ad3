"""Geodesics of any space of fields that is linear in its unknowns: residual networks by shooting."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Solver
from diffeo.fields.linear import LinearField
from diffeo.flows.shooting import Motion, Shot
from diffeo.kernels.momenta import LARGEST, Momenta, factored
from diffeo.solvers import Ralston, check_steps


class FieldGeodesic(Shot):
    r"""The end of a geodesic in the space V that a field's coefficients span, shot from the identity.

    With $\theta = \sum_k e_k \langle e_k(q), p\rangle$, the coefficients that ``field.gather`` gives, controls q and
    momenta p follow Hamilton's equations of $H = \tfrac12|\theta|^2$: $\dot q = v_\theta(q)$,
    $\dot p = -Dv_\theta(q)^\top p$; everything else is carried along by $v_\theta$. At the minimum of an objective with
    energy, the layers of a `Flow` of such fields do the same.

    The equations contain Dv, so that gradients contain its derivative: fields should be smooth. Where v has kinks
    (ReLU) the map jumps as momenta change, and gradients miss what happens there, however wide the field: take Tanh or
    GELU.

    Args:
        field: of the space V. A copy is kept; its coefficients do not matter. What else in it requires a gradient, for
            instance inner weights, is an unknown, too, shared by all times.
        controls: where momenta live at the start, shape (m, d): all points of the source, or fewer.
        solver: one step of it is one layer.
        steps: how many.
        momenta: initial momenta, shape (m, d); zero, that is the identity, if left out.
        whiten: optimize z with momenta L⁻ᵀz, LLᵀ being the Gram matrix of the features at the controls, plus a ridge;
            |z|² is then about twice the energy. None means yes for features that stay, and up to 6,000 controls.

    Raises: ValueError where the field is not linear in its unknowns, or cannot be whitened.
    """

    controls: Tensor

    def __init__(
        self,
        field: LinearField,
        controls: Tensor,
        solver: Solver | None = None,
        steps: int = 10,
        momenta: Tensor | None = None,
        whiten: bool | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(field, LinearField):
            raise ValueError(
                f"FieldGeodesic expects a field that is linear in its unknowns, and got {type(field).__name__}."
            )
        self.field = copy.deepcopy(field)
        with torch.no_grad():
            self.field.coefficients.zero_().requires_grad_(False)
        self.solver, self.steps = solver or Ralston(), check_steps(steps)
        self.register_buffer("controls", controls.detach().clone())
        can = self.field.features(self.controls[:1]) is not None and not self.inner()
        if whiten and not can:
            raise ValueError(
                "FieldGeodesic whitens the momenta of fields with features whose inner weights do not change: leave "
                "whiten out."
            )
        wanted = len(controls) <= LARGEST if whiten is None else whiten
        self.unknown = Momenta(partial(feature_cholesky, self.field), self.controls, momenta, can and wanted)
        self.register_load_state_dict_post_hook(_refactor)

    def inner(self) -> list[nn.Parameter]:
        """Inner weights of the field that are unknown, too."""
        return [p for p in self.field.parameters() if p.requires_grad and p is not self.field.coefficients]

    @property
    def momenta(self) -> Tensor:
        """The initial momenta, shape (m, d); assign to replace them."""
        return self.unknown()

    @momenta.setter
    def momenta(self, value: Tensor) -> None:
        self.unknown.assign(value)

    def motion(self, q: Tensor, p: Tensor) -> Motion:
        """Hamilton's equations of the field's own kernel."""
        theta, rate, pull = self.field.hamilton(q, p)
        return Motion(rate, -pull, self.field.with_coefficients(theta))

    def hamiltonian(self, q: Tensor, p: Tensor) -> Tensor:
        """½|θ|²."""
        return 0.5 * self.field.gather(q, p).square().sum()

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """The momenta's, and those of inner weights that are unknown."""
        inner = self.inner()
        shared = [(p, rate) for p, rate in self.field.rates() if any(p is q for q in inner)]
        return [(self.unknown.coordinates, 1.0), *shared]

    def velocities(self) -> list[Tensor]:
        """The coefficients θ at the beginning of each step: what a `Flow` of this field would have learned."""
        return [self.field.gather(q, p) for q, p in self.shoot()[:-1]]

    def arguments(self) -> dict[str, Any]:
        """Field, controls, solver, steps, momenta."""
        return {
            "field": self.field,
            "controls": self.controls,
            "solver": self.solver,
            "steps": self.steps,
            "momenta": self.momenta.detach(),
            "whiten": self.unknown.whiten,
        }

    def rescaled(self, factor: float, shift: Tensor) -> FieldGeodesic:
        """Field, controls and momenta in the other units."""
        field = self.field.rescaled(factor, shift)
        learned = {name: p.requires_grad for name, p in self.field.named_parameters()}
        for name, p in field.named_parameters():
            p.requires_grad_(learned[name])
        changed = {
            "field": field,
            "controls": factor * self.controls + shift.to(self.controls),
            "momenta": factor * self.momenta.detach(),
        }
        return FieldGeodesic(**{**self.arguments(), **changed})

    def extra_repr(self) -> str:
        """What it is made of."""
        return f"{len(self.controls)} controls, {self.solver!r}, steps={self.steps}"


@torch.no_grad()
def feature_cholesky(field: LinearField, controls: Tensor) -> Tensor:
    """L with LLᵀ = φ(c)φ(c)ᵀ + εI, in the controls' dtype; factored in float64."""
    features = field.features(controls)
    assert features is not None
    gram = features.double() @ features.double().T
    return factored(gram, float(gram.diagonal().mean()) or 1.0).to(controls.dtype)


def _refactor(module: FieldGeodesic, *_: Any) -> None:
    """After ``load_state_dict``: the features may be others."""
    module.unknown.refactor(module.controls)
