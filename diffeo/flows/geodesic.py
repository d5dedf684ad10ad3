"""Geodesics: only the initial momentum is unknown, Hamilton's equations do the rest."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffeo.core import Solver
from diffeo.fields.kernel_field import PlainField
from diffeo.flows.shooting import Motion, Shot
from diffeo.kernels import reductions
from diffeo.kernels.algebra import Radial
from diffeo.kernels.momenta import WithMomenta
from diffeo.solvers import Ralston, check_steps


class Geodesic(WithMomenta, Shot):
    r"""The end of a geodesic of diffeomorphisms, shot from the identity (LDDMM).

    Control points q and momenta p follow $\dot q = \partial_p H$, $\dot p = -\partial_q H$ with
    $H = \tfrac12\langle p, K(q, q)p\rangle$; everything else is carried along by $v_t = \sum_j K(\cdot, q_j)\,p_j$.

    Args:
        kernel: of the space V; twice differentiable at 0.
        controls: where momenta live at the start, shape (m, d): all points of the source, or fewer.
        solver: one step of it is one layer.
        steps: how many.
        momenta: initial momenta, shape (m, d); zero, that is the identity, if left out.
        whiten: see `Momenta`.

    Raises: ValueError for kernels that are too rough.
    Source: Miller, Trouvé & Younes, "Geodesic shooting for computational anatomy", J. Math. Imaging Vision 2006.
    """

    def __init__(
        self,
        kernel: Radial,
        controls: Tensor,
        solver: Solver | None = None,
        steps: int = 10,
        momenta: Tensor | None = None,
        whiten: bool | None = None,
    ) -> None:
        super().__init__()
        if kernel.smoothness < 2:
            raise ValueError(
                f"{kernel!r} is not smooth enough at 0 for geodesics, whose equations differentiate it twice: take "
                "GaussianKernel, Matern52Kernel, CauchyKernel or InverseMultiquadricKernel."
            )
        self.solver, self.steps = solver or Ralston(), check_steps(steps)
        self.place_momenta(kernel, controls, momenta, whiten)

    def motion(self, q: Tensor, p: Tensor) -> Motion:
        """Hamilton's equations, both halves in one pass."""
        return Motion(*reductions.hamiltonian_field(self.kernel, q, p), PlainField(self.kernel, q, p))

    def hamiltonian(self, q: Tensor, p: Tensor) -> Tensor:
        """½⟨p, K(q, q)p⟩."""
        return reductions.hamiltonian(self.kernel, q, p)

    def arguments(self) -> dict[str, Any]:
        """Kernel, controls, solver, steps, momenta."""
        return {
            "kernel": self.kernel,
            "controls": self.controls,
            "solver": self.solver,
            "steps": self.steps,
            "momenta": self.momenta.detach(),
            "whiten": self.unknown.whiten,
        }

    def rescaled(self, factor: float, shift: Tensor) -> Geodesic:
        """Controls, momenta and the kernel's scale in the other units."""
        changed = {
            "kernel": self.kernel.rescaled(factor),
            "controls": factor * self.controls + shift.to(self.controls),
            "momenta": factor * self.momenta.detach(),
        }
        return Geodesic(**{**self.arguments(), **changed})

    def extra_repr(self) -> str:
        """What it is made of."""
        return f"{self.kernel!r}, {len(self.controls)} controls, {self.solver!r}, steps={self.steps}"
