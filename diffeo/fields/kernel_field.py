"""Velocity fields carried by momenta on control points."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.fields.linear import LinearField
from diffeo.kernels import euler, reductions
from diffeo.kernels.algebra import Radial
from diffeo.kernels.momenta import WithMomenta


class KernelField(WithMomenta, LinearField):
    r"""$v(x) = \sum_j K(x, c_j)\,a_j$: the fields of least norm among those with given values on the controls.

    Args:
        kernel: of the space V.
        controls: the points c_j, shape (m, d).
        momenta: the vectors a_j, shape (m, d); zero if left out.
        whiten: see `Momenta`.
    """

    def __init__(
        self, kernel: Radial, controls: Tensor, momenta: Tensor | None = None, whiten: bool | None = None
    ) -> None:
        super().__init__()
        self.place_momenta(kernel, controls, momenta, whiten)

    @property
    def coefficients(self) -> nn.Parameter:  # pyright: ignore[reportIncompatibleVariableOverride]
        """z, shape (m, d), with momenta L⁻ᵀz; without whitening the momenta themselves, which are not orthonormal."""
        return self.unknown.coordinates

    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """The field with the given coefficients at x, shape (n, d)."""
        return reductions.product(self.kernel, x, self.controls, self.unknown.momenta_of(coefficients))

    def features(self, x: Tensor) -> Tensor:
        """φ(x) = L⁻¹K(c, x), shape (n, m): the kernel seen from the controls (Nyström).

        Raises: ValueError without whitening.
        """
        return torch.linalg.solve_triangular(self._whitener(), self.kernel(self.controls, x).dense(), upper=False).T

    def gather(self, x: Tensor, p: Tensor) -> Tensor:
        """L⁻¹K(c, x) p: the projection of Σ_i K(·, x_i) p_i onto fields carried by the controls.

        Raises: ValueError without whitening.
        """
        values = reductions.product(self.kernel, self.controls, x, p)
        return torch.linalg.solve_triangular(self._whitener(), values, upper=False)

    def jacobian_of(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d), of the field with the given coefficients."""
        return reductions.jacobian(self.kernel, x, self.controls, self.unknown.momenta_of(coefficients))

    def pull(self, x: Tensor, coefficients: Tensor, p: Tensor) -> Tensor:
        """Dv(x)ᵀp, shape (n, d)."""
        return torch.einsum("nab,na->nb", self.jacobian_of(x, coefficients), p)

    def _whitener(self) -> Tensor:
        if self.unknown.factor is None:
            raise ValueError("the momenta of this KernelField are not orthonormal coefficients: build it whitened.")
        return self.unknown.factor

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.at(self.controls)(x)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.at(self.controls).jacobian(x)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return self.at(self.controls).divergence(x)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V = Σ_ij k(c_i, c_j) a_i·a_j."""
        return self.at(self.controls).sqnorm()

    def lipschitz(self) -> Tensor:
        """√(−2k'(0)) ‖v‖_V; for a Gaussian ‖v‖_V / σ. Infinite where k' does not exist at 0."""
        return self.frozen().lipschitz()

    def frozen(self) -> PlainField:
        """The momenta, once."""
        return self.at(self.controls)

    def at(self, controls: Tensor) -> PlainField:
        """The field with the same momenta on other controls, without parameters of its own."""
        return PlainField(self.kernel, controls, self.momenta)

    def arguments(self) -> dict[str, Any]:
        """Kernel, controls, momenta."""
        momenta = self.momenta.detach()
        return {"kernel": self.kernel, "controls": self.controls, "momenta": momenta, "whiten": self.unknown.whiten}

    def rescaled(self, factor: float, shift: Tensor) -> KernelField:
        """Controls, momenta and the kernel's scale in the other units."""
        return KernelField(
            self.kernel.rescaled(factor),
            factor * self.controls + shift.to(self.controls),
            factor * self.momenta.detach(),
            self.unknown.whiten,
        )

    def extra_repr(self) -> str:
        """The kernel and the number of controls."""
        return f"{self.kernel!r}, {len(self.controls)} controls"


class PlainField:
    """Σ_j k(|x − c_j|²/s²) a_j for tensors as they are: what the layers of flows compute with.

    Args:
        kernel: with the function k.
        controls, momenta: c and a, shape (m, d).
        log_scale: log s, shape (1,); 0 if left out.
    """

    def __init__(self, kernel: Radial, controls: Tensor, momenta: Tensor, log_scale: Tensor | None = None) -> None:
        self.kernel, self.controls, self.momenta, self.log_scale = kernel, controls, momenta, log_scale

    def __call__(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        x, controls, _ = self._stretched(x)
        return reductions.product(self.kernel, x, controls, self.momenta)

    def value_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """v(x) and Dv(x)."""
        x, controls, s = self._stretched(x)
        value, jacobian = reductions.value_and_jacobian(self.kernel, x, controls, self.momenta)
        return value, jacobian if self.log_scale is None else jacobian / s

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        x, controls, s = self._stretched(x)
        jacobian = reductions.jacobian(self.kernel, x, controls, self.momenta)
        return jacobian if self.log_scale is None else jacobian / s

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        x, controls, s = self._stretched(x)
        divergence = reductions.divergence(self.kernel, x, controls, self.momenta)
        return divergence if self.log_scale is None else divergence / s

    def sqnorm(self) -> Tensor:
        """‖v‖²_V."""
        scales = None if self.log_scale is None else (self.log_scale,)
        step = euler.Steps((1.0,), (self.controls,), (self.momenta,), scales)
        if euler.covers(self.kernel, step):
            return euler.norms(self.kernel, step)[0]
        return (self.momenta * self(self.controls)).sum()

    def lipschitz(self) -> Tensor:
        """√(−2k'(0)) ‖v‖_V / s; infinite where k' does not exist at 0."""
        if math.isinf(self.kernel.slope_at_zero):
            return self.momenta.new_tensor(math.inf)
        wide = self.double()
        return wide.sqlipschitz(wide.sqnorm()).sqrt().to(self.momenta)

    def double(self) -> PlainField:
        """The same in float64: bounds are proven with it, as momenta that nearly cancel leave few digits of a norm."""
        log_scale = None if self.log_scale is None else self.log_scale.double()
        return PlainField(self.kernel, self.controls.double(), self.momenta.double(), log_scale)

    def sqlipschitz(self, sqnorm: Tensor) -> Tensor:
        """−2k'(0) ‖v‖²_V / s², which the square of the Lipschitz constant does not exceed, by the norm, a scalar.

        To the norm is added what rounding may have taken from it: a unit for each of m terms of size k(0)(Σ|a|)².
        """
        m = len(self.momenta)
        unit = torch.finfo(sqnorm.dtype).eps * (m + 16) * m * self.kernel.at_zero
        most = sqnorm.clamp(min=0) + unit * self.momenta.square().sum().to(sqnorm)  # (Σ|a|)² ≤ m Σ|a|²
        steepness = -2 * self.kernel.slope_at_zero * most
        return steepness if self.log_scale is None else steepness * (-2 * self.log_scale[0]).exp()

    def _stretched(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
        """Positions and controls in units of s, and s."""
        if self.log_scale is None:
            return x, self.controls, 1.0
        reductions.check_positions(x, self.controls)
        s = self.log_scale.exp()
        return x / s, self.controls / s, s
