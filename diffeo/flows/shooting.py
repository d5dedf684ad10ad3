"""Maps that are shot from the identity: Hamilton's equations for controls and momenta, everything else rides along."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Self

import torch
from torch import Tensor

from diffeo.core import Solver
from diffeo.flows.layered import Layered
from diffeo.flows.layers import Layer, Velocity, identities
from diffeo.kernels import reductions
from diffeo.kernels.momenta import Momenta
from diffeo.solvers import Adaptive, integrate


class Motion(NamedTuple):
    """What Hamilton's equations say of a state (q, p)."""

    position: Tensor
    """∂H/∂p, the rate of q, shape (m, d)."""
    momentum: Tensor
    """−∂H/∂q, the rate of p, shape (m, d)."""
    velocity: Velocity
    """The field that carries everything along."""


class Shot(Layered):
    """The end of a solution of Hamilton's equations from ``controls`` with ``momenta``, in ``steps`` steps."""

    controls: Tensor
    unknown: Momenta
    solver: Solver
    steps: int

    @property
    @abstractmethod
    def momenta(self) -> Tensor:
        """The initial momenta, shape (m, d)."""

    @abstractmethod
    def motion(self, q: Tensor, p: Tensor) -> Motion:
        """The right-hand side at positions q and momenta p, shape (m, d)."""

    @abstractmethod
    def hamiltonian(self, q: Tensor, p: Tensor) -> Tensor:
        """½‖v‖²_V of the field that the state means, a scalar."""

    def with_steps(self, steps: int, solver: Solver | None = None) -> Self:
        """The same initial momenta, integrated with another number of steps."""
        return type(self)(**{**self.arguments(), "steps": steps, "solver": solver or self.solver})

    def shoot(self) -> list[tuple[Tensor, ...]]:
        """Positions and momenta (q, p) of the controls at times 0, 1/steps, …, 1."""
        return integrate(self.solver, self._alone, (self.controls, self.momenta), self.steps)

    def _alone(self, _: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self.motion(*state)[:2]

    def _with_passengers(self, _: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        q, p, x = state
        *rates, velocity = self.motion(q, p)
        return *rates, velocity(x)

    def _with_slopes(self, _: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        q, p, x, J = state
        *rates, velocity = self.motion(q, p)
        return *rates, velocity(x), velocity.jacobian(x) @ J

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
        return [_ShotLayer(self, *state) for state in self.shoot()[:-1]]

    def energy(self) -> Tensor:
        """The Hamiltonian at time 0, which exact geodesics conserve."""
        return self.hamiltonian(self.controls, self.momenta)

    @torch.no_grad()
    def hamiltonian_drift(self) -> float:
        """Largest relative change of the Hamiltonian along the computed path: 0 for exact geodesics."""
        values = torch.stack([self.hamiltonian(*state) for state in self.shoot()])
        scale = float(values[0])
        return float((values - values[0]).abs().max()) / scale if scale > 0 else 0.0


class _ShotLayer(Layer):
    """A step of the controls, with passengers."""

    def __init__(self, shot: Shot, q: Tensor, p: Tensor) -> None:
        self.shot, self.q, self.p = shot, q, p
        self.together = isinstance(shot.solver, Adaptive)

    def around(self) -> list[Tensor]:
        """The controls."""
        return [self.q]

    def __call__(self, x: Tensor) -> Tensor:
        """The passengers after the step."""
        shot = self.shot
        return shot.solver.step(shot._with_passengers, 0.0, 1 / shot.steps, (self.q, self.p, x))[2]

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The passengers and the derivative of the step in them."""
        shot, start = self.shot, (self.q, self.p, x, identities(x))
        _, _, moved, jacobian = shot.solver.step(shot._with_slopes, 0.0, 1 / shot.steps, start)
        return moved, jacobian
