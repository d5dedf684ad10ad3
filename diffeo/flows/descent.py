"""Descent: nothing is unknown, layers are grown one at a time along the steepest descent of the loss in V."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.fields.dipole_field import DipoleField
from diffeo.fields.kernel_field import KernelField
from diffeo.flows.greedy import Greedy
from diffeo.kernels.algebra import Radial
from diffeo.kernels.momenta import cholesky


class Descent(Greedy):
    r"""φ = (id − ε K∇D) ∘ … ∘ (id − ε K∇D), grown by `grow`: greedy registration, kernel flows, SVGD, the MMD flow.

    A layer is id + u with u = Σ_j K(·, c_j) a_j, and is taken only with √(−2k'(0)) ‖u‖_V < 1, which certifies that it
    is a diffeomorphism. For losses of `Samples` that depend on log-volumes, too, u has dipoles besides (see
    `DipoleField`): a layer id + v adds div v to log-volumes.

    On `KLLoss` that direction is the one of Stein variational gradient descent, $u(x) = \frac1n \sum_j k(x, x_j)
    \nabla\log\pi(x_j) + \nabla_{x_j} k(x_j, x)$ (Liu & Wang, NeurIPS 2016), and one layer is one of its steps. What
    differs: there, step sizes are fixed or those of AdaGrad, whatever becomes of the divergence, of which nothing is
    known; here every step is certified not to fold, which gives the moved particles a density, and is halved until
    −mean(log π + log-volume) over them falls, an estimate of KL(law of the moved particles ‖ π). As particles are few,
    it can be overfitted: after they have settled, dipoles go on to inflate the volumes around each of them, and the
    estimate falls below what is possible. Stop at a number of layers, or validate with other particles.

    Args:
        kernel: of the space V; differentiable at 0.
        controls: with points, shape (m, d), the descent direction is projected in V onto fields carried by them, and
            they move along; without, every point of the sources bears a momentum.
        fields: the displacement fields u of the layers grown so far.

    Raises: ValueError for kernels whose fields are not Lipschitz.
    """

    controls: Tensor | None

    def __init__(
        self,
        kernel: Radial,
        controls: Tensor | None = None,
        fields: Sequence[KernelField | DipoleField] = (),
    ) -> None:
        super().__init__(fields)
        if kernel.smoothness < 1:
            raise ValueError(f"{kernel!r} is not differentiable at 0, so its fields fold: take a smoother one.")
        self.kernel = kernel
        self.register_buffer("controls", None if controls is None else controls.detach().clone())

    def layer_fields(self) -> list[KernelField | DipoleField]:
        """The displacement fields, first to last."""
        return [field for field in self.fields if isinstance(field, KernelField | DipoleField)]

    def append(self, controls: Tensor, momenta: Tensor, strengths: Tensor | None = None) -> None:
        """Add a layer id + Σ_j K(·, c_j) a_j on top; with strengths b, shape (m,), one that has dipoles, too."""
        # laid out as they come back from a file: the rounding of sums depends on it
        self.fields.append(self._field(controls.contiguous(), momenta.contiguous(), strengths))

    def add(self, field: Field, step: float) -> None:
        """Its momenta and dipoles times the step, on top."""
        assert isinstance(field, KernelField | DipoleField)
        strengths = step * field.strengths if isinstance(field, DipoleField) else None
        self.append(field.controls, step * field.momenta, strengths)

    def _field(self, controls: Tensor, momenta: Tensor, strengths: Tensor | None = None) -> KernelField | DipoleField:
        if strengths is None:
            return KernelField(self.kernel, controls, momenta, whiten=False).requires_grad_(False)
        return DipoleField(self.kernel, controls, momenta, strengths).requires_grad_(False)

    def steepest(self, x: Tensor, gradient: Tensor, spread: Tensor | None = None) -> KernelField | DipoleField:
        """−Σ_i K(·, x_i) g_i + s_i ∇_{x_i} k(·, x_i), projected in V onto momenta on the controls, if given."""
        direction = self._field(x, -gradient, None if spread is None else -spread)
        if self.controls is None:
            return direction
        controls = self(self.controls).detach()
        return self._field(controls, torch.cholesky_solve(direction(controls), cholesky(self.kernel, controls)))

    def growth(self) -> dict[str, Any]:
        """The layers, and the last step."""
        layers = [
            (f.controls, f.momenta, f.strengths) if isinstance(f, DipoleField) else (f.controls, f.momenta)
            for f in self.layer_fields()
        ]
        return {"layers": layers, "step": self._step}

    def regrow(self, growth: dict[str, Any]) -> None:
        """Take up saved layers."""
        self.fields, self._step, self._reached = nn.ModuleList(), growth["step"], []
        for layer in growth["layers"]:
            self.append(*layer)

    def arguments(self) -> dict[str, Any]:
        """Kernel, controls and layers."""
        return {"kernel": self.kernel, "controls": self.controls, "fields": self.layer_fields()}

    def rescaled(self, factor: float, shift: Tensor) -> Descent:
        """Every layer in the other units."""
        fields = [field.rescaled(factor, shift) for field in self.layer_fields()]
        controls = None if self.controls is None else factor * self.controls + shift.to(self.controls)
        return Descent(self.kernel.rescaled(factor), controls, fields)
