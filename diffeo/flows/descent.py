"""Descent: nothing is unknown, layers are grown one at a time along the steepest descent of the loss in V."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.fields.kernel_field import KernelField
from diffeo.flows.layered import FieldLayer, Layer, Layered
from diffeo.kernels.algebra import Radial
from diffeo.solvers import Euler


class Descent(Layered):
    r"""φ = (id − ε K∇D) ∘ … ∘ (id − ε K∇D), grown by `grow`: greedy registration, kernel flows, SVGD.

    Every layer is id + u with u = Σ_j K(·, c_j) a_j, and is kept only if √(−2k'(0)) ‖u‖_V < 1, which certifies that it
    is a diffeomorphism.

    Args:
        kernel: of the space V; differentiable at 0.
        fields: the displacement fields u of the layers grown so far.
    """

    STRENGTH = 0.9
    """How much of the certified range (where the layer is invertible) a step may use."""

    def __init__(self, kernel: Radial, fields: Sequence[KernelField] = ()) -> None:
        super().__init__()
        if kernel.smoothness < 1:
            raise ValueError(f"{kernel!r} is not differentiable at 0, so its fields fold: take a smoother one.")
        self.kernel = kernel
        self.fields = nn.ModuleList(fields)

    def layer_fields(self) -> list[KernelField]:
        """The displacement fields, first to last."""
        return [field for field in self.fields if isinstance(field, KernelField)]

    def layers(self) -> list[Layer]:
        """id + u, for each u."""
        return [FieldLayer(field, Euler(), 0.0, 1.0) for field in self.layer_fields()]

    def append(self, controls: Tensor, momenta: Tensor) -> None:
        """Add a layer id + Σ_j K(·, c_j) a_j on top."""
        field = KernelField(self.kernel, controls, momenta, whiten=False)
        self.fields.append(field.requires_grad_(False))

    @torch.no_grad()
    def largest_step(self, controls: Tensor, momenta: Tensor) -> float:
        """The largest multiple of Σ_j K(·, c_j) a_j that the certificate allows."""
        lipschitz = float(KernelField(self.kernel, controls, momenta, whiten=False).lipschitz())
        return self.STRENGTH / lipschitz if lipschitz > 0 else math.inf

    def energy(self) -> Tensor:
        """½ ∫‖v_t‖² dt of the path that goes through the layers at equal times: (L/2) Σ_k ‖u_k‖²."""
        fields = self.layer_fields()
        if not fields:
            return torch.zeros(())
        return 0.5 * len(fields) * torch.stack([field.sqnorm() for field in fields]).sum()

    def arguments(self) -> dict[str, Any]:
        """Kernel and layers."""
        return {"kernel": self.kernel, "fields": self.layer_fields()}

    def rescaled(self, factor: float, shift: Tensor) -> Descent:
        """Every layer in the other units."""
        fields = [field.rescaled(factor, shift) for field in self.layer_fields()]
        return Descent(self.kernel.rescaled(factor), fields)
