"""Points on their way through layers, and momenta on their way back: Pontryagin's two equations, exactly discrete."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffeo.core import Compose, Diffeo, Field, Loss, Solver
from diffeo.flows import Flow
from diffeo.flows.layered import Layered
from diffeo.flows.layers import Layer


class Stage(NamedTuple):
    """A part of the way."""

    move: Callable[[Tensor], Tensor]
    """What it does to points."""
    field: Field | None
    """The field of a layer; None for a map that is not a layer of a flow."""
    share: float
    """Of ‖v‖²/2 in the energy."""
    parameters: list[nn.Parameter]
    """What is learned of it."""


def stages(phi: Diffeo) -> list[Stage]:
    """The way through a flow, or through flows and other maps one after the other.

    Raises: ValueError where there is no flow, or one whose layers depend on those before.
    """
    found: list[Stage] = []
    for part in phi.diffeos if isinstance(phi, Compose) else [phi]:
        if isinstance(part, Flow) and part.carried:
            raise ValueError("successive approximations know layer by layer what to do: build the flow uncarried.")
        if not isinstance(part, Flow):
            found.append(Stage(part, None, 0.0, _learned(part)))
            continue
        h = 1 / part.steps
        for k, v in enumerate(part.layer_fields()):
            times = [(k * part.substeps + s) * h for s in range(part.substeps)]
            found.append(Stage(partial(along, v, part.solver, times, h), v, 1 / part.layer_count, _learned(v)))
    if not any(stage.field is not None for stage in found):
        raise ValueError(
            f"successive approximations change the fields of a Flow, and {type(phi).__name__} has none: for geodesics "
            "take L-BFGS."
        )
    return found


def along(velocity: Field, solver: Solver, times: Sequence[float], h: float, x: Tensor) -> Tensor:
    """The points after a layer."""
    still = velocity.frozen()
    for t in times:
        x = solver.step(lambda _, z: still(z), t, h, x)
    return x


def _learned(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


class Visit(NamedTuple):
    """Points on a layer, and what pulls at them behind it."""

    move: Callable[[Tensor], Tensor]
    z: Tensor
    """Where they are, shape (n, d)."""
    p: Tensor
    """Minus the gradient of the data term in where they go, shape (n, d)."""


@dataclass
class Slot:
    """All that is known of a field: where it acts, and how the data term falls with it.

    Attributes:
        field: the field.
        parameters: what is learned of it.
        share: of ‖v‖²/2 in the energy, of all layers that have it.
        visits: one for each of its layers and each pair.
        gains: Σ ∂(p·layer(z))/∂parameter, minus the gradient of the data term.
    """

    field: Field
    parameters: list[nn.Parameter]
    share: float = 0.0
    visits: list[Visit] = dataclasses.field(default_factory=list)
    gains: list[Tensor] = dataclasses.field(default_factory=list)

    @property
    def points(self) -> Tensor:
        """All its points, shape (N, d)."""
        return torch.cat([visit.z for visit in self.visits])


class Trajectory:
    """The forward pass for all pairs, and what comes back.

    Args:
        way: the stages of ``phi``.
        phi: the map.
        pairs: (source, target).
    """

    def __init__(self, way: Sequence[Stage], phi: Diffeo, pairs: Sequence[tuple[Any, Any]]) -> None:
        self.way = way
        self.runs = [_Run(way, phi) for _ in pairs]
        with torch.enable_grad():
            moved = [source.carried(run) for run, (source, _) in zip(self.runs, pairs, strict=True)]
        self.moved = [(m, target) for m, (_, target) in zip(moved, pairs, strict=True)]

    def back(self, loss: Loss) -> tuple[list[Slot], dict[nn.Parameter, Tensor]]:
        """Momenta from the end to the start: what is known of every field, and gradients of the data term in the rest.

        The rest is what is learned of other maps on the way, here, and of what the inputs depend on, such as read-ins,
        in their ``.grad``.
        """
        ends = [run.end for run in self.runs]
        with torch.enable_grad():
            data = torch.stack([loss(m, target) for m, target in self.moved]).sum()
        pulls = torch.autograd.grad(data, ends, allow_unused=True)
        momenta = [torch.zeros_like(end) if g is None else -g for end, g in zip(ends, pulls, strict=True)]
        slots = {id(s.field): Slot(s.field, s.parameters) for s in self.way if s.field is not None and s.parameters}
        gains: dict[nn.Parameter, Tensor] = {}
        for k, stage in reversed(list(enumerate(self.way))):
            slot = slots.get(id(stage.field))
            if slot is not None:
                slot.share += stage.share
            for i, run in enumerate(self.runs):
                z = run.passed[k].requires_grad_()
                with torch.enable_grad():
                    after = stage.move(z)
                back, *found = torch.autograd.grad(after, [z, *stage.parameters], momenta[i], allow_unused=True)
                for q, g in zip(stage.parameters, found, strict=True):
                    gains[q] = gains.get(q, torch.zeros_like(q)) + (0 if g is None else g)
                if slot is not None:
                    slot.visits.append(Visit(stage.move, z.detach(), momenta[i]))
                momenta[i] = back
        for run, p in zip(self.runs, momenta, strict=True):
            if run.start.requires_grad:
                run.start.backward(-p)
        for slot in slots.values():
            slot.gains = [gains.pop(q) for q in slot.parameters]
        return list(slots.values()), {q: -g for q, g in gains.items()}


class _Run(Layered):
    """φ, which remembers where points came by, and lets the graph of what follows begin at their end."""

    start: Tensor
    end: Tensor

    def __init__(self, way: Sequence[Stage], phi: Diffeo) -> None:
        super().__init__()
        self.way, self.phi = way, phi
        self.passed: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """φ(x)."""
        self.start, self.passed = x, [x.detach()]
        with torch.no_grad():
            for stage in self.way:
                self.passed.append(stage.move(self.passed[-1]))
        self.end = self.passed.pop().detach().clone().requires_grad_()
        return self.end

    def layers(self) -> list[Layer]:
        """Those of φ, if it has any."""
        return self.phi.layers() if isinstance(self.phi, Layered) else []

    def energy(self) -> Tensor:
        """That of φ."""
        return self.phi.energy()

    def arguments(self) -> dict[str, Any]:
        """φ."""
        return {"way": self.way, "phi": self.phi}

    def rescaled(self, factor: float, shift: Tensor) -> Diffeo:
        """φ in the other units."""
        return self.phi.rescaled(factor, shift)
