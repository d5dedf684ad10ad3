"""One-step methods for ẏ = f(t, y): one ``step`` each. One step is one layer; one Euler step is one residual block.

States are tensors or tuples of tensors: a map and its Jacobian, or positions, momenta and passengers, go together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffeo.core import Solver, State

Dynamics = Callable[[float, State], State]


def axpy(a: float, x: State, y: State) -> State:
    """a·x + y, component by component."""
    left: Any = x
    right: Any = y
    if isinstance(y, tuple):
        return right.__class__(v.add(u, alpha=a) for u, v in zip(left, right, strict=True))
    return right.add(left, alpha=a)


@dataclass(frozen=True)
class Euler(Solver):
    """Order 1: a residual block."""

    order = 1

    def step(self, f: Dynamics[State], t: float, dt: float, y: State) -> State:
        """One evaluation."""
        return axpy(dt, f(t, y), y)


@dataclass(frozen=True)
class Midpoint(Solver):
    """Order 2, two evaluations."""

    order = 2

    def step(self, f: Dynamics[State], t: float, dt: float, y: State) -> State:
        """Slope at the middle."""
        half = axpy(dt / 2, f(t, y), y)
        return axpy(dt, f(t + dt / 2, half), y)


@dataclass(frozen=True)
class Heun(Solver):
    """Order 2, two evaluations: the trapezoidal rule, made explicit."""

    order = 2

    def step(self, f: Dynamics[State], t: float, dt: float, y: State) -> State:
        """Mean of the slopes at both ends."""
        first = f(t, y)
        second = f(t + dt, axpy(dt, first, y))
        return axpy(dt / 2, second, axpy(dt / 2, first, y))


@dataclass(frozen=True)
class Ralston(Solver):
    """Order 2 with the smallest truncation error bound of two evaluations (Ralston, Math. Comp. 1962)."""

    order = 2

    def step(self, f: Dynamics[State], t: float, dt: float, y: State) -> State:
        """A quarter of the slope at the start, three quarters of that at two thirds."""
        first = f(t, y)
        second = f(t + 2 * dt / 3, axpy(2 * dt / 3, first, y))
        return axpy(3 * dt / 4, second, axpy(dt / 4, first, y))


@dataclass(frozen=True)
class RK4(Solver):
    """Order 4, four evaluations: the classical Runge–Kutta method."""

    order = 4

    def step(self, f: Dynamics[State], t: float, dt: float, y: State) -> State:
        """Simpson's rule."""
        k1 = f(t, y)
        k2 = f(t + dt / 2, axpy(dt / 2, k1, y))
        k3 = f(t + dt / 2, axpy(dt / 2, k2, y))
        k4 = f(t + dt, axpy(dt, k3, y))
        return axpy(dt / 6, k4, axpy(dt / 3, k3, axpy(dt / 3, k2, axpy(dt / 6, k1, y))))


@dataclass(frozen=True)
class Adaptive(Solver):
    """An adaptive method of torchdiffeq; each layer is integrated to the tolerances.

    The steps depend on all points that are asked for together, so that a map, its inverse and its Jacobian belong to
    one another up to the tolerances only; with the other solvers they do up to rounding.

    Args:
        method: its name in torchdiffeq, for instance "dopri5", "bosh3" or "adaptive_heun".
        rtol, atol: relative and absolute tolerance; the latter in the units of the positions, so that small
            units need another one.
    """

    method: str = "dopri5"
    rtol: float = 1e-6
    atol: float = 1e-8

    @property
    def order(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The order of the method."""
        from torchdiffeq._impl.odeint import SOLVERS

        return SOLVERS[self.method].order

    def step(self, f: Dynamics[State], t: float, dt: float, y: State) -> State:
        """From t to t + dt, in as many steps as the tolerances ask for."""
        import torch
        from torchdiffeq import odeint

        like = y[0] if isinstance(y, tuple) else y
        if not sum(part.numel() for part in (y if isinstance(y, tuple) else (y,))):
            return y
        times = torch.tensor([t, t + dt], dtype=torch.float64, device=like.device).to(like.dtype)
        solution: Any = odeint(
            lambda s, z: f(float(s.detach()), z),
            y,
            times,
            rtol=self.rtol,
            atol=self.atol,
            method=self.method,
            # without step_t it steps beyond the end and interpolates, to a lower order; its own guess of the first
            # step depends on the state, and would send a part of the gradient there
            options={"step_t": times[1:], "first_step": abs(dt)},
        )
        last: Any = tuple(z[-1] for z in solution) if isinstance(y, tuple) else solution[-1]
        return last


def integrate(solver: Solver, f: Dynamics[State], y: State, steps: int) -> list[State]:
    """The states at times 0, 1/steps, …, 1, the first being y."""
    states = [y]
    for k in range(steps):
        states.append(solver.step(f, k / steps, 1 / steps, states[-1]))
    return states


def check_steps(steps: int) -> int:
    """The number of steps, if it is one. Raises ValueError otherwise."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"the number of steps must be a whole number, 1 or more, and is {steps!r}.")
    return steps
