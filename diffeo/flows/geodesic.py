"""Geodesics: only the initial momentum is unknown, Hamilton's equations do the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.core import Solver
from diffeo.flows.layered import Layer, Layered, identities
from diffeo.kernels import reductions
from diffeo.kernels.algebra import Radial
from diffeo.kernels.momenta import WithMomenta
from diffeo.solvers import Ralston, check_steps, integrate


class Geodesic(WithMomenta, Layered):
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

    def shoot(self) -> list[tuple[Tensor, ...]]:
        """Positions and momenta (q, p) of the controls at times 0, 1/steps, …, 1."""
        return integrate(self.solver, self._hamilton, (self.controls, self.momenta), self.steps)

    def _hamilton(self, _: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return reductions.hamiltonian_field(self.kernel, *state)

    def _with_passengers(self, _: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        q, p, x = state
        return *reductions.hamiltonian_field(self.kernel, q, p), reductions.product(self.kernel, x, q, p)

    def forward(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, d); for the controls themselves at no extra cost."""
        return self.path(x)[-1]

    def path(self, x: Tensor) -> list[Tensor]:
        """The trajectory of x: steps + 1 tensors."""
        reductions.check_positions(x, self.controls)
        if x.shape == self.controls.shape and bool(torch.equal(x, self.controls)) and not x.requires_grad:
            return [q for q, _ in self.shoot()]
        start = (self.controls, self.momenta, x)
        return [state[2] for state in integrate(self.solver, self._with_passengers, start, self.steps)]

    def layers(self) -> list[Layer]:
        """One step each, from the controls' state before it."""
        return [_GeodesicLayer(self, *state) for state in self.shoot()[:-1]]

    def energy(self) -> Tensor:
        """½⟨p, K(q, q)p⟩ at time 0, which exact geodesics conserve."""
        return reductions.hamiltonian(self.kernel, self.controls, self.momenta)

    @torch.no_grad()
    def hamiltonian_drift(self) -> float:
        """Largest relative change of the Hamiltonian along the computed path: 0 for exact geodesics."""
        values = torch.stack([reductions.hamiltonian(self.kernel, q, p) for q, p in self.shoot()])
        scale = float(values[0])
        return float((values - values[0]).abs().max()) / scale if scale > 0 else 0.0

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

    def with_steps(self, steps: int, solver: Solver | None = None) -> Geodesic:
        """The same initial momenta, integrated with another number of steps."""
        return Geodesic(**{**self.arguments(), "steps": steps, "solver": solver or self.solver})

    def rescaled(self, factor: float, shift: Tensor) -> Geodesic:
        """Controls, momenta and the kernel's scale in the other units."""
        changed = {
            "kernel": self.kernel.rescaled(factor),
            "controls": factor * self.controls + shift,
            "momenta": factor * self.momenta.detach(),
        }
        return Geodesic(**{**self.arguments(), **changed})

    def extra_repr(self) -> str:
        """What it is made of."""
        return f"{self.kernel!r}, {len(self.controls)} controls, {self.solver!r}, steps={self.steps}"


class _GeodesicLayer(Layer):
    """A step of the controls, with passengers."""

    def __init__(self, geodesic: Geodesic, q: Tensor, p: Tensor) -> None:
        self.geodesic, self.q, self.p = geodesic, q, p

    def __call__(self, x: Tensor) -> Tensor:
        """The passengers after the step."""
        g = self.geodesic
        return g.solver.step(g._with_passengers, 0.0, 1 / g.steps, (self.q, self.p, x))[2]

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The passengers and the derivative of the step in them."""
        g = self.geodesic

        def f(_: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            q, p, z, J = state
            slope = reductions.jacobian(g.kernel, z, q, p) @ J
            return *g._with_passengers(0.0, (q, p, z)), slope

        _, _, moved, jacobian = g.solver.step(f, 0.0, 1 / g.steps, (self.q, self.p, x, identities(x)))
        return moved, jacobian
