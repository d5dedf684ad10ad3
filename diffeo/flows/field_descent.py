"""Descents along any field: boosting by flows."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.fields.linear import LinearField
from diffeo.flows.greedy import Greedy


class FieldDescent(Greedy):
    r"""Layers id + h u grown one at a time, where u lowers the loss D fastest among the fields of a family.

    Fields that are linear in their unknowns have a steepest descent in V: u = −Σ_i K(·, x_i) ∇_i D, which ``gather``
    gives. Others are fitted to it: inner weights are drawn, and all weights climb Σ_i −∇_i D · u(x_i) − ½‖u‖² from
    the gradient in V there, which is functional gradient boosting (Mason, Baxter, Bartlett & Frean, NeurIPS 1999;
    Friedman, Ann. Statist. 2001) with residual layers. In both cases h Lip(u) < 1 certifies every layer. What losses
    of `Samples` say of log-volumes, divergences take up.

    Args:
        field: the family. A copy is kept; its coefficients do not matter.
        redraw: draw what is random in the fields anew for every layer (see `Field.redrawn`), from ``seed``, seed + 1,
            …; None means only for fields that are not linear in their unknowns.
        seed: of the first layer.
        refine: steps of L-BFGS in which fields that are not linear are fitted.
        fields: the fields u of the layers grown so far.
        sizes: their steps h.

    Raises: ValueError where these do not fit together.
    """

    strides: Tensor

    def __init__(
        self,
        field: Field,
        redraw: bool | None = None,
        seed: int = 0,
        refine: int = 10,
        fields: Sequence[Field] = (),
        sizes: Sequence[float] | None = None,
    ) -> None:
        steps = [1.0] * len(fields) if sizes is None else list(sizes)
        if len(steps) != len(fields):
            raise ValueError(f"FieldDescent expects a step for each of {len(fields)} fields, and got {len(steps)}.")
        super().__init__(fields)
        self.requires_grad_(False)
        self.field = copy.deepcopy(field).requires_grad_(False)
        self.redraw = not isinstance(field, LinearField) if redraw is None else redraw
        self.seed, self.refine = seed, refine
        like = next(iter((*self.field.parameters(), *self.field.buffers())))
        self.register_buffer("strides", torch.tensor(steps, dtype=like.dtype, device=like.device))

    def layer_fields(self) -> list[Field]:
        """The fields, first to last."""
        return [field for field in self.fields if isinstance(field, Field)]

    def sizes(self) -> list[float]:
        """The step of each layer."""
        return self.strides.tolist()

    def blank(self, k: int) -> Field:
        """The field of layer k before it is fitted; what layers have in common lies in memory once."""
        if self.redraw:
            return self.field.redrawn(self.seed + k)
        return copy.deepcopy(self.field, {id(b): b for b in self.field.buffers()})

    def steepest(self, x: Tensor, gradient: Tensor, spread: Tensor | None = None) -> Field | None:
        """The steepest descent in V, or the best that L-BFGS finds."""
        field, work = self.blank(len(self.fields)), Work(x, -gradient, None if spread is None else -spread)
        if isinstance(field, LinearField):
            coefficients = gathered(field, work)
            with torch.no_grad():
                field.coefficients.copy_(coefficients)
        elif not climb(field.requires_grad_(True), work, self.refine):
            return None
        return field.requires_grad_(False)

    def add(self, field: Field, step: float) -> None:
        """On top."""
        self.fields.append(field)
        self.strides = torch.cat([self.strides, self.strides.new_tensor([step])])

    def growth(self) -> dict[str, Any]:
        """The layers, their steps, and the last one as it was tried."""
        layers = [field.state_dict() for field in self.fields]
        return {"layers": [dict(layer) for layer in layers], "sizes": self.strides, "step": self._step}

    def regrow(self, growth: dict[str, Any]) -> None:
        """Take up saved layers."""
        self.fields, self._step, self._reached = nn.ModuleList(), growth["step"], []
        for k, layer in enumerate(growth["layers"]):
            field = self.blank(k).requires_grad_(False)
            field.load_state_dict(layer)
            self.fields.append(field)
        self.strides = growth["sizes"].to(self.strides)

    def arguments(self) -> dict[str, Any]:
        """The family, how it is fitted, and the layers."""
        return {
            "field": self.field,
            "redraw": self.redraw,
            "seed": self.seed,
            "refine": self.refine,
            "fields": self.layer_fields(),
            "sizes": self.sizes(),
        }

    def rescaled(self, factor: float, shift: Tensor) -> FieldDescent:
        """Every layer in the other units."""
        changed = {
            "field": self.field.rescaled(factor, shift),
            "fields": [field.rescaled(factor, shift) for field in self.layer_fields()],
        }
        return FieldDescent(**{**self.arguments(), **changed})

    def extra_repr(self) -> str:
        """How fields are fitted."""
        return f"redraw={self.redraw}, seed={self.seed}, refine={self.refine}"


class Work(NamedTuple):
    """Σ_i p_i·u(x_i) + q_i div u(x_i), as a function of u."""

    x: Tensor
    p: Tensor
    q: Tensor | None = None

    def of(self, field: Field) -> Tensor:
        """A scalar."""
        total = (self.p * field(self.x)).sum()
        return total if self.q is None else total + self.q @ field.divergence(self.x)


def gathered(field: LinearField, work: Work) -> Tensor:
    """The coefficients whose product with those of any field is the work on it."""
    theta = field.gather(work.x, work.p)
    if work.q is None:
        return theta
    with torch.enable_grad():
        of_divergence = work.q @ field.requires_grad_(True).divergence(work.x)
    return theta + torch.autograd.grad(of_divergence, field.coefficients)[0]


def climb(field: Field, work: Work, steps: int) -> bool:
    r"""Fit a field u to work(u) − ½‖u‖²: from its gradient in V at the start by L-BFGS; False where that is 0.

    The work is scaled so that the gradient has norm 1: then inner weights, which are of that size, move as much as
    outer ones.
    """
    parameters = list(field.parameters())
    start = [q.detach().clone() for q in parameters]
    with torch.enable_grad():
        gradients = torch.autograd.grad(work.of(field), parameters, allow_unused=True)
    rates = {id(q): rate for q, rate in field.rates()}

    @torch.no_grad()
    def along(size: float) -> None:
        for q, q0, g in zip(parameters, start, gradients, strict=True):
            q.copy_(q0 if g is None else q0 + size * rates[id(q)] * g)

    along(1.0)
    norm = float(field.sqnorm().detach().sqrt())
    if not (math.isfinite(norm) and norm > 0):
        return False
    along(1 / norm)

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            value = 0.5 * field.sqnorm() - work.of(field) / norm
            value.backward()
        return value.detach()

    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, history_size=steps, line_search_fn="strong_wolfe")
    if steps:
        optimizer.step(closure)
    if not all(bool(torch.isfinite(q).all()) for q in parameters):
        along(1 / norm)
    for q in parameters:
        q.grad = None
    return True
