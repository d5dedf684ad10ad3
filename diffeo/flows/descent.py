"""Descent: nothing is unknown, layers are grown one at a time along the steepest descent of the loss in V."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.fields.kernel_field import KernelField
from diffeo.flows.greedy import Greedy
from diffeo.kernels.algebra import Radial
from diffeo.kernels.momenta import cholesky


class Descent(Greedy):
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

    controls: Tensor | None

    def __init__(self, kernel: Radial, controls: Tensor | None = None, fields: Sequence[KernelField] = ()) -> None:
        super().__init__(fields)
        if kernel.smoothness < 1:
            raise ValueError(f"{kernel!r} is not differentiable at 0, so its fields fold: take a smoother one.")
        self.kernel = kernel
        self.register_buffer("controls", None if controls is None else controls.detach().clone())

    def layer_fields(self) -> list[KernelField]:
        """The displacement fields, first to last."""
        return [field for field in self.fields if isinstance(field, KernelField)]

    def append(self, controls: Tensor, momenta: Tensor) -> None:
        """Add a layer id + Σ_j K(·, c_j) a_j on top."""
        # laid out as they come back from a file: the rounding of sums depends on it
        self.fields.append(self._field(controls.contiguous(), momenta.contiguous()))

    def add(self, field: Field, step: float) -> None:
        """Its momenta times the step, on top."""
        assert isinstance(field, KernelField)
        self.append(field.controls, step * field.momenta)

    def _field(self, controls: Tensor, momenta: Tensor) -> KernelField:
        return KernelField(self.kernel, controls, momenta, whiten=False).requires_grad_(False)

    def steepest(self, x: Tensor, gradient: Tensor) -> KernelField:
        """−Σ_i K(·, x_i) g_i, projected in V onto the controls where there are some."""
        if self.controls is None:
            return self._field(x, -gradient)
        controls = self(self.controls).detach()
        values = self.kernel(controls, x) @ -gradient
        return self._field(controls, torch.cholesky_solve(values, cholesky(self.kernel, controls)))

    def growth(self) -> dict[str, Any]:
        """The layers, and the last step."""
        return {"layers": [(f.controls, f.momenta) for f in self.layer_fields()], "step": self._step}

    def regrow(self, growth: dict[str, Any]) -> None:
        """Take up saved layers."""
        self.fields, self._step, self._reached = nn.ModuleList(), growth["step"], []
        for controls, momenta in growth["layers"]:
            self.append(controls, momenta)

    def arguments(self) -> dict[str, Any]:
        """Kernel, controls and layers."""
        return {"kernel": self.kernel, "controls": self.controls, "fields": self.layer_fields()}

    def rescaled(self, factor: float, shift: Tensor) -> Descent:
        """Every layer in the other units."""
        fields = [field.rescaled(factor, shift) for field in self.layer_fields()]
        controls = None if self.controls is None else factor * self.controls + shift
        return Descent(self.kernel.rescaled(factor), controls, fields)
