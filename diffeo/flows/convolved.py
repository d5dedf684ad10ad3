"""Layers of convolutional fields: steps of the midpoint rule whose evaluations are made together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffeo.core import Solver
from diffeo.fields.conv_field import Convolved
from diffeo.fields.separable_field import SeparableField
from diffeo.flows.layers import FieldLayer
from diffeo.flows.separable import SeparableLayer
from diffeo.solvers import Midpoint


class ConvolvedLayer(FieldLayer):
    """A step of the midpoint rule along a convolutional field."""

    def __call__(self, x: Tensor) -> Tensor:
        """x after the step."""
        moved = self.velocity.midpoint(x, self.duration) if isinstance(self.velocity, Convolved) else None
        return super().__call__(x) if moved is None else moved


def field_layer(velocity: Any, solver: Solver, time: float, duration: float) -> FieldLayer:
    """A step along a field, by the fastest class there is."""
    if isinstance(velocity, SeparableField):
        return SeparableLayer(velocity, solver, time, duration)
    fused = isinstance(velocity, Convolved) and isinstance(solver, Midpoint)
    return (ConvolvedLayer if fused else FieldLayer)(velocity, solver, time, duration)
