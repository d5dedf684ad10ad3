"""The velocities of a map, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.fields.kernel_field import KernelField, PlainField
from diffeo.flows import FieldGeodesic, Flow, Geodesic
from diffeo.flows.greedy import Greedy
from diffeo.flows.layers import FieldLayer


class State(NamedTuple):
    """Of a map at the beginning of a step."""

    velocity: Callable[[Tensor], Tensor]
    speed: Tensor


def states(phi: Diffeo) -> list[State]:
    """One per step of a Flow, a Geodesic or a Descent. Raises ValueError for other maps."""
    if isinstance(phi, Geodesic | FieldGeodesic):
        shot = phi.shoot()[:-1]
        return [State(phi.motion(q, p).velocity, _root(2 * phi.hamiltonian(q, p))) for q, p in shot]
    if isinstance(phi, Flow) and not phi.carried:
        steps = [field for field in phi.layer_fields() for _ in range(phi.substeps)]
        return [State(field, _root(field.sqnorm())) for field in steps]
    if isinstance(phi, Flow | Greedy):
        layers = [layer for layer in phi.layers() if isinstance(layer, FieldLayer)]
        velocities: list[Any] = [layer.velocity for layer in layers]
        found = [State(velocity, _root(velocity.sqnorm())) for velocity in velocities]
        if isinstance(phi, Flow):
            return found
        return [_faster(state, len(found) * layer.duration) for state, layer in zip(found, layers, strict=True)]
    raise ValueError(f"speeds are those of a Flow, a Geodesic, or a Descent, and not of a {type(phi).__name__}.")


def _faster(state: State, factor: float) -> State:
    """Of a displacement that is to be passed in a part of the time."""
    field = state.velocity
    if isinstance(field, KernelField):
        return State(PlainField(field.kernel, field.controls, factor * field.momenta), factor * state.speed)
    return State(lambda x: factor * field(x), factor * state.speed)


def _root(square: Tensor) -> Tensor:
    return square.clamp(min=0).sqrt()


@torch.no_grad()
def speeds(phi: Diffeo) -> Tensor:
    """‖v‖_V in each step of a Flow, a Geodesic or a Descent, shape (L,)."""
    return torch.stack([state.speed for state in states(phi)])
