"""Velocity fields carried by momenta on control points that move, and see as far as they learn to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.fields.kernel_field import PlainField
from diffeo.kernels.algebra import Radial


class TrainedKernelField(Field):
    r"""$v(x) = \sum_j k(|x - c_j|^2/s^2)\,a_j$: controls, momenta and the scale s are all trained.

    With s = 1 it is the `KernelField` of the same controls and momenta, and its norm is that in the space of the kernel
    stretched s times, in which it lies. What it spends is where the data are, and as fine as they ask for.

    Args:
        kernel: of the space at the start.
        controls: the points c_j, shape (m, d).
        momenta: the vectors a_j, shape (m, d); zero if left out.
        log_scale: log s, one number, shape (1,); 0 if left out.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self, kernel: Radial, controls: Tensor, momenta: Tensor | None = None, log_scale: Tensor | float = 0.0
    ) -> None:
        super().__init__()
        momenta = torch.zeros_like(controls) if momenta is None else momenta
        log_scale = torch.as_tensor(log_scale).to(controls)
        if controls.ndim != 2 or momenta.shape != controls.shape or log_scale.numel() != 1:
            raise ValueError(
                f"TrainedKernelField expects controls and momenta of one shape (m, d), and one number log s, and got "
                f"shapes {tuple(controls.shape)}, {tuple(momenta.shape)} and {tuple(log_scale.shape)}."
            )
        self.kernel = kernel
        self.controls = nn.Parameter(controls.detach().clone())
        self.momenta = nn.Parameter(momenta.detach().clone())
        self.log_scale = nn.Parameter(log_scale.detach().reshape(1).clone())

    @property
    def scale(self) -> Tensor:
        """How many times the kernel is stretched, shape (1,)."""
        return self.log_scale.exp()

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.frozen()(x)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.frozen().jacobian(x)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return self.frozen().divergence(x)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V = Σ_ij k(|c_i − c_j|²/s²) a_i·a_j, in the space of the kernel as stretched as it is now."""
        return self.frozen().sqnorm()

    def lipschitz(self) -> Tensor:
        """√(−2k'(0)) ‖v‖_V / s; infinite where k' does not exist at 0."""
        return self.frozen().lipschitz()

    def frozen(self) -> PlainField:
        """Controls, momenta and the scale as they are."""
        return PlainField(self.kernel, self.controls, self.momenta, self.log_scale)

    def arguments(self) -> dict[str, Any]:
        """Kernel, controls, momenta, log s."""
        return {
            "kernel": self.kernel,
            "controls": self.controls.detach(),
            "momenta": self.momenta.detach(),
            "log_scale": self.log_scale.detach(),
        }

    def rescaled(self, factor: float, shift: Tensor) -> TrainedKernelField:
        """Controls, momenta and the kernel in the other units; s has none."""
        controls = factor * self.controls.detach() + shift.to(self.controls)
        momenta = factor * self.momenta.detach()
        return TrainedKernelField(self.kernel.rescaled(factor), controls, momenta, self.log_scale)

    def extra_repr(self) -> str:
        """The kernel and the number of controls."""
        return f"{self.kernel!r} stretched {float(self.scale.detach()):.3g} times, {len(self.controls)} controls"
