"""Flows: one velocity field per layer. With Euler steps of 1/L this is a residual network of L layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field, Solver
from diffeo.fields.kernel_field import KernelField
from diffeo.flows.layered import FieldLayer, Layer, Layered, Velocity
from diffeo.solvers import Euler, check_steps


class Flow(Layered):
    r"""The end of $\dot\phi_t = v_t\circ\phi_t$ with $v_t$ constant on each of L intervals: a field owns its knot.

    Args:
        field: a field that every layer gets a copy of, or the L fields themselves.
        solver: one step of it per layer.
        steps: the number L of layers; taken from the fields where they are given one by one.
        shared: one field for all layers: a stationary velocity.
        carried: for `KernelField`: the controls are carried along by the flow instead of staying where they are.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        field: Field | Sequence[Field],
        solver: Solver | None = None,
        steps: int | None = None,
        shared: bool = False,
        carried: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(field, Field):
            self.steps = check_steps(10 if steps is None else steps)
            fields = [copy.deepcopy(field) for _ in range(1 if shared else self.steps)]
        else:
            fields = list(field)
            self.steps = check_steps(steps or len(fields))
            if len(fields) != (1 if shared else self.steps):
                raise ValueError(f"Flow expects {1 if shared else self.steps} field(s), and got {len(fields)}.")
        if carried and not all(isinstance(f, KernelField) for f in fields):
            raise ValueError("Flow can carry controls along only for KernelField, which has them: set carried=False.")
        self.fields = nn.ModuleList(fields)
        self.solver, self.shared, self.carried = solver or Euler(), shared, carried

    def layer_fields(self) -> list[Field]:
        """The field of each layer."""
        fields = [field for field in self.fields if isinstance(field, Field)]
        return fields * self.steps if self.shared else fields

    def _velocities(self) -> list[tuple[Velocity, Tensor]]:
        """Each layer's velocity, and its ‖v‖²."""
        if not self.carried:
            return [(field, field.sqnorm()) for field in self.layer_fields()]
        pairs: list[tuple[Velocity, Tensor]] = []
        controls = None
        for k, field in enumerate(self.layer_fields()):
            assert isinstance(field, KernelField)
            controls = field.controls if controls is None else controls
            velocity = field.at(controls)
            pairs.append((velocity, velocity.sqnorm()))
            controls = FieldLayer(velocity, self.solver, k / self.steps, 1 / self.steps)(controls)
        return pairs

    def layers(self) -> list[Layer]:
        """One step of length 1/L along each field."""
        h = 1 / self.steps
        velocities: list[Velocity] = [v for v, _ in self._velocities()] if self.carried else list(self.layer_fields())
        return [FieldLayer(velocity, self.solver, k * h, h) for k, velocity in enumerate(velocities)]

    def energy(self) -> Tensor:
        """½ Σ_k ‖v_k‖² / L."""
        return 0.5 * torch.stack([sqnorm for _, sqnorm in self._velocities()]).mean()

    def arguments(self) -> dict[str, Any]:
        """Fields, solver and how they go together."""
        return {
            "field": list(self.fields),
            "solver": self.solver,
            "steps": self.steps,
            "shared": self.shared,
            "carried": self.carried,
        }

    def with_steps(self, steps: int, solver: Solver | None = None) -> Flow:
        """The same velocity in time, integrated with a multiple of the steps."""
        if self.carried or steps % self.steps:
            raise ValueError(f"a flow of {self.steps} fixed fields can be refined to a multiple of its steps only.")
        fields = list(self.fields) if self.shared else [f for f in self.fields for _ in range(steps // self.steps)]
        return Flow(copy.deepcopy(fields), solver or self.solver, steps, self.shared)  # type: ignore[arg-type]

    def rescaled(self, factor: float, shift: Tensor) -> Flow:
        """Every field in the other units."""
        fields = [field.rescaled(factor, shift) for field in self.fields if isinstance(field, Field)]
        return Flow(fields, self.solver, self.steps, self.shared, self.carried)
