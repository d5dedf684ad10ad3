"""Maps that grow layer upon layer, each a step along a field that lowers the loss, certified not to fold."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffeo.core import Field, Grown, Loss
from diffeo.flows.layered import FieldLayer, Layer, Layered
from diffeo.solvers import Euler


class Greedy(Layered, Grown):
    """Layers id + h u: u is what `steepest` finds, h as large as its Lipschitz constant and a decrease of D allow."""

    STRENGTH = 0.5  # of the certified range, beyond which a layer could fold
    HALVINGS = 12  # of a step, before growth is called finished
    REMEMBERED = 4  # sets of points whose images are kept

    def __init__(self, fields: Sequence[Field] = ()) -> None:
        super().__init__()
        self.fields = nn.ModuleList(fields)
        self._step = math.inf
        self._reached: list[_Reached] = []

    @abstractmethod
    def steepest(self, x: Tensor, gradient: Tensor) -> Field | None:
        """A field along which the loss, with this gradient at points x, shape (n, d), falls; None if there is none."""

    @abstractmethod
    def add(self, field: Field, step: float) -> None:
        """Put id + step · field on top."""

    def sizes(self) -> list[float]:
        """The step h of each layer: 1 where the fields are the displacements themselves."""
        return [1.0] * len(self.fields)

    def layers(self) -> list[Layer]:
        """id + h u, for each u."""
        fields = [field for field in self.fields if isinstance(field, Field)]
        return [FieldLayer(u, Euler(), 0.0, h) for u, h in zip(fields, self.sizes(), strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """φ(x); points asked for again after growth go through the new layers only."""
        recording = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *self.parameters()))
        if recording or x.is_inference() or torch.is_inference_mode_enabled():
            return super().forward(x)
        versions = self._versions()
        start, moved = next((r.resumed(x, versions) for r in self._reached if r.x is x), (0, x))
        for layer in self.layers()[start:]:
            moved = layer(moved)
        kept = [r for r in self._reached if r.x is not x]
        self._reached = [*kept[1 - self.REMEMBERED :], _Reached(x, version(x), versions, moved, version(moved))]
        return moved

    def _versions(self) -> list[Any]:
        """Of everything that each layer rests on."""
        tensors = [(*field.parameters(), *field.buffers()) for field in self.fields]
        return [(version(*ts), h) for ts, h in zip(tensors, self.sizes(), strict=True)]

    def grow(self, pairs: Sequence[tuple[Any, Any]], loss: Loss) -> bool:
        """Add the layer id + h u along the steepest descent u; False where no step lowers D as it should."""
        moved = [self @ source for source, _ in pairs]
        points, gradients, before = zip(
            *(value_and_gradient(m, t, loss) for m, (_, t) in zip(moved, pairs, strict=True)), strict=True
        )
        direction = self.steepest(torch.cat(points), torch.cat(gradients))
        if direction is None:
            return False
        with torch.no_grad():
            velocities = [direction(x) for x in points]
            slope = -sum(float((g * v).sum()) for g, v in zip(gradients, velocities, strict=True))
            if not slope > 0:
                return False
            step = min(2 * self._step, self.STRENGTH / float(direction.lipschitz()))
            for _ in range(self.HALVINGS):
                trials = [m.with_positions(x + step * v) for m, x, v in zip(moved, points, velocities, strict=True)]
                after = sum(float(loss(m, t)) for m, (_, t) in zip(trials, pairs, strict=True))
                if after < sum(before) - 0.1 * step * slope:
                    self.add(direction, step)
                    self._step = step
                    return True
                step /= 2
        return False

    def energy(self) -> Tensor:
        """½ ∫‖v_t‖² dt of the path that goes through the layers at equal times: (L/2) Σ_k h_k² ‖u_k‖²."""
        fields = [field for field in self.fields if isinstance(field, Field)]
        if not fields:
            return torch.zeros(())
        squares = [h**2 * field.sqnorm() for field, h in zip(fields, self.sizes(), strict=True)]
        return 0.5 * len(fields) * torch.stack(squares).sum()


class _Reached(NamedTuple):
    """Where points have got to, and the versions of everything this rests on: tensors change in place."""

    x: Tensor
    x_version: Any
    layers: list[Any]
    moved: Tensor
    moved_version: Any

    def resumed(self, x: Tensor, layers: list[Any]) -> tuple[int, Tensor]:
        """The first layer still to pass, and the points there."""
        done = len(self.layers)
        unchanged = self.x_version == version(x) and self.moved_version == version(self.moved)
        return (done, self.moved) if unchanged and self.layers == layers[:done] else (0, x)


def version(*tensors: Tensor) -> Any:
    """Something that differs after the tensors were changed or replaced."""
    return [(t.data_ptr(), t._version) for t in tensors]


def value_and_gradient(shape: Any, target: Any, loss: Loss) -> tuple[Tensor, Tensor, float]:
    """Positions of the shape, the gradient of the loss in them, and the loss."""
    x = shape.x.detach().requires_grad_()
    with torch.enable_grad():
        value = loss(shape.with_positions(x), target)
    (gradient,) = torch.autograd.grad(value, x)
    return x.detach(), gradient, float(value.detach())
