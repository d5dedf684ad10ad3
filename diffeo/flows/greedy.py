"""Maps that grow layer upon layer, each a step along a field that lowers the loss, certified not to fold."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffeo.core import Field, Grown, Loss
from diffeo.flows.layered import Layered
from diffeo.flows.layers import FieldLayer, Layer
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
        self._squares: list[tuple[Field, Any, Tensor]] = []

    @abstractmethod
    def steepest(self, x: Tensor, gradient: Tensor, spread: Tensor | None = None) -> Field | None:
        """A field v along which Σ_i g_i·v(x_i) + s_i div v(x_i), the derivative of the loss, is least; None if none is.

        Args:
            x: the points, shape (n, d).
            gradient: g, the gradient of the loss in the points, shape (n, d).
            spread: s, that in their log-volumes, shape (n,); None where these do not count.
        """

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
        return super().forward(x) if self._recording(x) else self._through(x, False)[0]

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and the determinant of every layer on the way, shape (layers, n), remembered likewise."""
        if self._recording(x):
            return super().with_volumes(x)
        moved, volumes = self._through(x, True)
        return moved, torch.stack(volumes) if volumes else x.new_ones(0, len(x))

    def _recording(self, x: Tensor) -> bool:
        recording = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *self.parameters()))
        return recording or x.is_inference() or torch.is_inference_mode_enabled()

    def _through(self, x: Tensor, measured: bool) -> tuple[Tensor, list[Tensor]]:
        """φ(x), and the determinants of the layers; unless they are asked for, those that are known."""
        versions = self._versions()
        known = (r.resumed(x, versions) for r in self._reached if r.x is x and (r.measured or not measured))
        start, moved, volumes = next(known, (0, x, []))
        for layer in self.layers()[start:]:
            if measured:
                moved, volume = layer.with_volume(moved)
                volumes = [*volumes, volume]
            else:
                moved = layer(moved)
        kept = [r for r in self._reached if r.x is not x]
        reached = _Reached(x, version(x), versions, moved, version(moved), volumes)
        self._reached = [*kept[1 - self.REMEMBERED :], reached]
        return moved, volumes

    def _versions(self) -> list[Any]:
        """Of everything that each layer rests on."""
        tensors = [(*field.parameters(), *field.buffers()) for field in self.fields]
        return [(version(*ts), h) for ts, h in zip(tensors, self.sizes(), strict=True)]

    def grow(self, pairs: Sequence[tuple[Any, Any]], loss: Loss) -> bool:
        """Add the layer id + h u along the steepest descent u; False where no step lowers D as it should."""
        moved = [self @ source for source, _ in pairs]
        forces = [force(m, t, loss) for m, (_, t) in zip(moved, pairs, strict=True)]
        direction = self.steepest(*joined(forces))
        if direction is None:
            return False
        with torch.no_grad():
            trial, before = _Trial(direction), sum(f.value for f in forces)
            slope = -sum(trial.rise(m.x, f) for m, f in zip(moved, forces, strict=True))
            if not slope > 0:
                return False
            trial.size = min(2 * self._step, self.STRENGTH / float(direction.lipschitz()))
            for _ in range(self.HALVINGS):
                after = sum(float(loss(trial @ m, t)) for m, (_, t) in zip(moved, pairs, strict=True))
                if after < before - 0.1 * trial.size * slope:
                    self.add(direction, trial.size)
                    self._step = trial.size
                    return True
                trial.size /= 2
        return False

    def energy(self) -> Tensor:
        """½ ∫‖v_t‖² dt of the path that goes through the layers at equal times: (L/2) Σ_k h_k² ‖u_k‖²."""
        fields = [field for field in self.fields if isinstance(field, Field)]
        if not fields:
            return torch.zeros(())
        squares = [h**2 * square for square, h in zip(self._norms(fields), self.sizes(), strict=True)]
        return 0.5 * len(fields) * torch.stack(squares).sum()

    def _norms(self, fields: Sequence[Field]) -> list[Tensor]:
        """‖u‖² of each layer, computed once for those that no longer change."""
        if self._recording(torch.empty(0)):
            return [field.sqnorm() for field in fields]
        found = []
        for k, field in enumerate(fields):
            now = version(*field.parameters(), *field.buffers())
            known = self._squares[k] if k < len(self._squares) else None
            same = known is not None and known[0] is field and known[1] == now
            found.append(known if same and known is not None else (field, now, field.sqnorm()))
        self._squares = found
        return [square for _, _, square in found]


class _Reached(NamedTuple):
    """Where points have got to, and the versions of everything this rests on: tensors change in place."""

    x: Tensor
    x_version: Any
    layers: list[Any]
    moved: Tensor
    moved_version: Any
    volumes: list[Tensor]

    @property
    def measured(self) -> bool:
        """Whether the determinants of all layers are known."""
        return len(self.volumes) == len(self.layers)

    def resumed(self, x: Tensor, layers: list[Any]) -> tuple[int, Tensor, list[Tensor]]:
        """The first layer still to pass, the points there, and the determinants so far."""
        done = len(self.layers)
        unchanged = self.x_version == version(x) and self.moved_version == version(self.moved)
        return (done, self.moved, self.volumes) if unchanged and self.layers == layers[:done] else (0, x, [])


def version(*tensors: Tensor) -> Any:
    """Something that differs after the tensors were changed or replaced."""
    return [(t.data_ptr(), t._version) for t in tensors]


class Force(NamedTuple):
    """What pulls at a shape: along a small layer id + v the loss changes by Σ_i g_i·v(x_i) + s_i div v(x_i)."""

    x: Tensor
    """The points, shape (n, d)."""
    gradient: Tensor
    """g, shape (n, d)."""
    spread: Tensor | None
    """s, shape (n,); None where volumes do not count."""
    value: float
    """The loss."""


def force(shape: Any, target: Any, loss: Loss) -> Force:
    """The loss of a moved shape made of points, and its gradients."""
    copy, leaves = shape.differentiable()
    with torch.enable_grad():
        value = loss(copy, target)
    gradient, *others = torch.autograd.grad(value, leaves, allow_unused=True)
    gradient = torch.zeros_like(leaves[0]) if gradient is None else gradient
    return Force(leaves[0].detach(), gradient, others[0] if others else None, float(value.detach()))


def joined(forces: Sequence[Force]) -> tuple[Tensor, Tensor, Tensor | None]:
    """The forces on several shapes as those on one: points, gradients, spreads."""
    spread = None
    if any(f.spread is not None for f in forces):
        spread = torch.cat([f.x.new_zeros(len(f.x)) if f.spread is None else f.spread for f in forces])
    return torch.cat([f.x for f in forces]), torch.cat([f.gradient for f in forces]), spread


class _Trial(Layered):
    """id + h u alone, for one size h after another."""

    def __init__(self, direction: Any, size: float = 0.0) -> None:
        super().__init__()
        self.velocity, self.size = _Remembering(direction), size

    def layers(self) -> list[Layer]:
        """One."""
        return [FieldLayer(self.velocity, Euler(), 0.0, self.size)]

    def rise(self, x: Tensor, f: Force) -> float:
        """The derivative of the loss in h at 0, x being the points of the force."""
        total = (f.gradient * self.velocity(x)).sum()
        if f.spread is not None:
            total = total + f.spread @ self.velocity.jacobian(x).diagonal(dim1=1, dim2=2).sum(1)
        return float(total)

    def energy(self) -> Tensor:
        """½ h² ‖u‖²."""
        return 0.5 * self.size**2 * self.velocity.field.sqnorm()

    def arguments(self) -> dict[str, Any]:
        """Direction and size."""
        return {"direction": self.velocity.field, "size": self.size}

    def rescaled(self, factor: float, shift: Tensor) -> _Trial:
        """The direction in the other units."""
        return _Trial(self.velocity.field.rescaled(factor, shift), self.size)


class _Remembering:
    """A velocity that is asked for at the same points again and again."""

    def __init__(self, field: Any) -> None:
        self.field = field
        self._known: list[tuple[Callable[[Tensor], Tensor], Tensor, Tensor]] = []

    def __call__(self, x: Tensor) -> Tensor:
        """v(x)."""
        return self._once(self.field, x)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x)."""
        return self._once(self.field.jacobian, x)

    def _once(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        for asked, at, value in self._known:
            if asked == function and at is x:
                return value
        self._known.append((function, x, function(x)))
        return self._known[-1][-1]
