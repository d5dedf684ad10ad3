"""Descent: nothing is unknown, layers are grown one at a time along the steepest descent of the loss in V."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffeo.core import Grown, Loss
from diffeo.fields.kernel_field import KernelField
from diffeo.flows.layered import FieldLayer, Layer, Layered
from diffeo.kernels.algebra import Radial
from diffeo.kernels.momenta import cholesky
from diffeo.solvers import Euler


class Descent(Layered, Grown):
    r"""φ = (id − ε K∇D) ∘ … ∘ (id − ε K∇D), grown by `grow`: greedy registration, kernel flows, SVGD.

    A layer is id + u with u = Σ_j K(·, c_j) a_j, and is taken only with √(−2k'(0)) ‖u‖_V < 1, which certifies that it
    is a diffeomorphism.

    Args:
        kernel: of the space V; differentiable at 0.
        controls: with points, shape (m, d), the descent direction is projected in V onto fields carried by them, and
            they move along; without, every point of the sources bears a momentum.
        fields: the displacement fields u of the layers grown so far.

    Raises: ValueError for kernels whose fields are not Lipschitz.
    """

    STRENGTH = 0.5  # of the certified range, beyond which a layer could fold
    HALVINGS = 12  # of a step, before growth is called finished
    REMEMBERED = 4  # sets of points whose images are kept

    controls: Tensor | None

    def __init__(self, kernel: Radial, controls: Tensor | None = None, fields: Sequence[KernelField] = ()) -> None:
        super().__init__()
        if kernel.smoothness < 1:
            raise ValueError(f"{kernel!r} is not differentiable at 0, so its fields fold: take a smoother one.")
        self.kernel = kernel
        self.register_buffer("controls", None if controls is None else controls.detach().clone())
        self.fields = nn.ModuleList(fields)
        self._step = math.inf
        self._reached: list[_Reached] = []

    def layer_fields(self) -> list[KernelField]:
        """The displacement fields, first to last."""
        return [field for field in self.fields if isinstance(field, KernelField)]

    def layers(self) -> list[Layer]:
        """id + u, for each u."""
        return [FieldLayer(field, Euler(), 0.0, 1.0) for field in self.layer_fields()]

    def forward(self, x: Tensor) -> Tensor:
        """φ(x); points asked for again after growth go through the new layers only."""
        recording = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *self.parameters()))
        if recording or x.is_inference() or torch.is_inference_mode_enabled():
            return super().forward(x)
        versions = [version(field.controls, field.unknown.coordinates) for field in self.layer_fields()]
        start, moved = next((r.resumed(x, versions) for r in self._reached if r.x is x), (0, x))
        for layer in self.layers()[start:]:
            moved = layer(moved)
        kept = [r for r in self._reached if r.x is not x]
        self._reached = [*kept[1 - self.REMEMBERED :], _Reached(x, version(x), versions, moved, version(moved))]
        return moved

    def append(self, controls: Tensor, momenta: Tensor) -> None:
        """Add a layer id + Σ_j K(·, c_j) a_j on top."""
        # laid out as they come back from a file: the rounding of sums depends on it
        self.fields.append(self._field(controls.contiguous(), momenta.contiguous()))

    def _field(self, controls: Tensor, momenta: Tensor) -> KernelField:
        return KernelField(self.kernel, controls, momenta, whiten=False).requires_grad_(False)

    def grow(self, pairs: Sequence[tuple[Any, Any]], loss: Loss) -> bool:
        """Add the layer id − ε K∇D, ε as large as the certificate and a decrease of D allow; False if there is none."""
        moved = [self @ source for source, _ in pairs]
        points, gradients, before = zip(
            *(value_and_gradient(m, t, loss) for m, (_, t) in zip(moved, pairs, strict=True)), strict=True
        )
        controls, momenta = self._direction(torch.cat(points), -torch.cat(gradients))
        direction = self._field(controls, momenta)
        slope, lipschitz = float(direction.sqnorm()), float(direction.lipschitz())
        if not slope > 0:
            return False
        step = min(2 * self._step, self.STRENGTH / lipschitz)
        with torch.no_grad():
            for _ in range(self.HALVINGS):
                trials = [m.with_positions(m.x + step * direction(m.x)) for m in moved]
                after = sum(float(loss(m, t)) for m, (_, t) in zip(trials, pairs, strict=True))
                if after < sum(before) - 0.1 * step * slope:
                    self.append(controls, step * momenta)
                    self._step = step
                    return True
                step /= 2
        return False

    def growth(self) -> dict[str, Any]:
        """The layers, and the last step."""
        return {"layers": [(f.controls, f.momenta) for f in self.layer_fields()], "step": self._step}

    def regrow(self, growth: dict[str, Any]) -> None:
        """Take up saved layers."""
        self.fields, self._step, self._reached = nn.ModuleList(), growth["step"], []
        for controls, momenta in growth["layers"]:
            self.append(controls, momenta)

    def _direction(self, points: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Controls and momenta of Σ_i K(·, x_i) g_i, projected in V onto the controls where there are some."""
        if self.controls is None:
            return points, gradient
        controls = self(self.controls).detach()
        values = self.kernel(controls, points) @ gradient
        return controls, torch.cholesky_solve(values, cholesky(self.kernel, controls))

    def energy(self) -> Tensor:
        """½ ∫‖v_t‖² dt of the path that goes through the layers at equal times: (L/2) Σ_k ‖u_k‖²."""
        fields = self.layer_fields()
        if not fields:
            return torch.zeros(())
        return 0.5 * len(fields) * torch.stack([field.sqnorm() for field in fields]).sum()

    def arguments(self) -> dict[str, Any]:
        """Kernel, controls and layers."""
        return {"kernel": self.kernel, "controls": self.controls, "fields": self.layer_fields()}

    def rescaled(self, factor: float, shift: Tensor) -> Descent:
        """Every layer in the other units."""
        fields = [field.rescaled(factor, shift) for field in self.layer_fields()]
        controls = None if self.controls is None else factor * self.controls + shift
        return Descent(self.kernel.rescaled(factor), controls, fields)


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
