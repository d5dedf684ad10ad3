"""Flows: one velocity field per layer. With Euler steps of 1/L this is a residual network of L layers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diffeo.core import Field, Solver
from diffeo.fields.grid_field import GridField, SampledField
from diffeo.fields.kernel_field import KernelField
from diffeo.flows import kernel_steps
from diffeo.flows.convolved import field_layer
from diffeo.flows.layered import Layered
from diffeo.flows.layers import Layer
from diffeo.grid import Grid
from diffeo.solvers import Euler, check_steps


class _Start(NamedTuple):
    """What layers begin with: the velocity that all share, if they do, and where controls have been carried."""

    still: Any
    controls: Tensor | None


class Flow(Layered):
    r"""The end of $\dot\phi_t = v_t\circ\phi_t$ with $v_t$ constant on each of L intervals: a field owns its knot.

    Args:
        field: a field that every layer gets a copy of, or the L fields themselves.
        solver: one step of it per layer.
        steps: the number L of layers; taken from the fields where they are given one by one.
        shared: one field for all layers: a stationary velocity (see also `Exponential`).
        carried: for `KernelField`: the controls are carried along by the flow instead of staying where they are.
        substeps: steps of the solver within a layer, which is 1 unless the integration in time is to be refined.
        checkpoint: gradients need the memory of about √L layers instead of L, and the time of another pass: only what
            comes out of each of √L segments (or of so many, 2 or more) is kept, and the rest computed again.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        field: Field | Sequence[Field],
        solver: Solver | None = None,
        steps: int | None = None,
        shared: bool = False,
        carried: bool = False,
        substeps: int = 1,
        checkpoint: bool | int = False,
    ) -> None:
        super().__init__()
        if isinstance(field, Field):
            self.layer_count = check_steps(10 if steps is None else steps)
            fields = [copy.deepcopy(field) for _ in range(1 if shared else self.layer_count)]
        else:
            fields = list(field)
            self.layer_count = check_steps(len(fields) if steps is None else steps)
            if len(fields) != (1 if shared else self.layer_count):
                raise ValueError(f"Flow expects {1 if shared else self.layer_count} field(s), and got {len(fields)}.")
        if carried and not all(isinstance(f, KernelField) for f in fields):
            raise ValueError("Flow can carry controls along only for KernelField, which has them: set carried=False.")
        self.fields = nn.ModuleList(fields)
        self.solver, self.shared, self.carried = solver or Euler(), shared, carried
        self.substeps = check_steps(substeps)
        if not isinstance(checkpoint, bool) and checkpoint < 2:
            raise ValueError(f"Flow expects checkpoint=True, False, or at least 2 segments, and got {checkpoint}.")
        self.checkpoint = checkpoint

    @property
    def steps(self) -> int:
        """Steps of the solver in all."""
        return self.layer_count * self.substeps

    def layer_fields(self) -> list[Field]:
        """The field of each layer."""
        fields = [field for field in self.fields if isinstance(field, Field)]
        return fields * self.layer_count if self.shared else fields

    def _stack(self, first: int = 0, start: _Start | None = None) -> Iterator[tuple[Any, list[Layer], _Start]]:
        """For each layer from ``first`` on: its velocity, the steps along it, and what the next layer begins with."""
        fields, h = self.layer_fields(), 1 / self.steps
        still, controls = start or self._start()
        together = first == 0 and start is None and still is None and controls is None  # all of them will be wanted
        velocities = kernel_steps.frozen(fields) if together else []
        for k in range(first, self.layer_count):
            field = fields[k]
            if controls is not None and isinstance(field, KernelField):
                velocity = field.at(controls)
            elif still is not None:
                velocity = still
            else:
                velocity = velocities[k] if together else field.frozen()
            times = [(k * self.substeps + s) * h for s in range(self.substeps)]
            steps: list[Layer] = [field_layer(velocity, self.solver, time, h) for time in times]
            for step in steps if controls is not None else ():
                controls = step(controls)
            yield velocity, steps, _Start(still, controls)

    def _start(self) -> _Start:
        """What the first layer begins with."""
        field = self.layer_fields()[0]
        if self.carried and isinstance(field, KernelField):
            return _Start(None, field.controls)
        return _Start(field.frozen() if self.shared else None, None)

    def layers(self) -> list[Layer]:
        """One step along each field, or several where it is refined."""
        return [step for _, steps, _ in self._stack() for step in steps]

    def forward(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, d)."""
        if not (self.checkpoint and torch.is_grad_enabled()):
            return super().forward(x)
        return self._in_segments(self._segment, x)[0]

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and the determinant of every layer on the way, shape (layers, n)."""
        if not (self.checkpoint and torch.is_grad_enabled()):
            return super().with_volumes(x)
        moved, volumes = self._in_segments(self._segment_with_volumes, x)
        return moved, torch.cat(volumes)

    def _in_segments(self, through: Callable[..., Any], x: Tensor) -> tuple[Tensor, list[Any]]:
        """φ(x) and the second of what comes out of each segment, of which nothing else is kept for the gradient."""
        segments = math.isqrt(self.layer_count - 1) + 1 if self.checkpoint is True else self.checkpoint
        length = math.ceil(self.layer_count / segments)
        start, seconds = self._start(), []
        for first in range(0, self.layer_count, length):
            x, second, controls = checkpoint(
                through, first, length, start, x, start.controls, use_reentrant=False, preserve_rng_state=False
            )
            start = _Start(start.still, controls)
            seconds.append(second)
        return x, seconds

    def _segment(
        self, first: int, length: int, start: _Start, x: Tensor, controls: Tensor | None
    ) -> tuple[Tensor, None, Tensor | None]:
        """x, and the controls if they are carried, after so many layers."""
        for _, steps, end in islice(self._stack(first, _Start(start.still, controls)), length):
            for step in steps:
                x = step(x)
            controls = end.controls
        return x, None, controls

    def _segment_with_volumes(
        self, first: int, length: int, start: _Start, x: Tensor, controls: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same, with the determinants of these layers, shape (layers, n)."""
        stack = list(islice(self._stack(first, _Start(start.still, controls)), length))
        x, volumes = kernel_steps.with_volumes([step for _, steps, _ in stack for step in steps], x)
        return x, volumes, stack[-1][2].controls

    def energy(self) -> Tensor:
        """½ Σ_k ‖v_k‖² / L."""
        if self.carried:
            return 0.5 * kernel_steps.sqnorms([velocity for velocity, _, _ in self._stack()]).mean()
        return 0.5 * kernel_steps.sqnorms(self.layer_fields()[: len(self.fields)]).mean()

    def rates(self) -> list[tuple[nn.Parameter, float]]:
        """Those of the fields, times the number L of layers: a layer's share of the energy is 1/L."""
        share = 1 if self.shared else self.layer_count
        fields = [field for field in self.fields if isinstance(field, Field)]
        return [(p, share * rate) for field in fields for p, rate in field.rates()]

    def deformation(self, grid: Grid) -> Tensor:
        """u, shape (d, *grid.shape), in steps, with φ(Ai) = A(i + u(i)).

        Along fields on grids, positions stay displacements, and a gradient keeps one per layer: all that happens within
        a layer happens again when the gradient is taken.
        """
        fields = [field for field in self.layer_fields() if isinstance(field, GridField)]
        if len(fields) < self.layer_count:
            return super().deformation(grid)
        u = fields[0].coordinates.new_zeros(grid.dim, *grid.shape)
        still = fields[0].frozen() if self.shared else None
        for k, field in enumerate(fields):
            u = checkpoint(self._through, still or field, grid, k, u, use_reentrant=False, preserve_rng_state=False)
        return u

    def _through(self, field: GridField | SampledField, grid: Grid, k: int, u: Tensor) -> Tensor:
        """The displacement after layer k."""
        velocity, h = field.frozen().along(grid), 1 / self.steps
        for s in range(self.substeps):
            u = self.solver.step(lambda _, w: velocity(w), (k * self.substeps + s) * h, h, u)
        return u

    def arguments(self) -> dict[str, Any]:
        """Fields, solver and how they go together."""
        return {
            "field": list(self.fields),
            "solver": self.solver,
            "steps": self.layer_count,
            "shared": self.shared,
            "carried": self.carried,
            "substeps": self.substeps,
            "checkpoint": self.checkpoint,
        }

    def with_steps(self, steps: int, solver: Solver | None = None) -> Flow:
        """The same velocities, each integrated in more steps. Raises ValueError unless a multiple of the layers."""
        if steps % self.layer_count:
            raise ValueError(f"a flow of {self.layer_count} layers takes a multiple of that many steps, not {steps}.")
        changed = {"substeps": steps // self.layer_count, "solver": solver or self.solver}
        return Flow(**{**self.arguments(), "field": copy.deepcopy(list(self.fields)), **changed})

    def rescaled(self, factor: float, shift: Tensor) -> Flow:
        """Every field in the other units."""
        fields = [field.rescaled(factor, shift) for field in self.fields if isinstance(field, Field)]
        return Flow(**{**self.arguments(), "field": fields})
