"""One step of a diffeomorphism: a map close to the identity, with its derivative and its inverse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor

from diffeo.backends.rounding import unit
from diffeo.core import Solver
from diffeo.fields.kernel_field import PlainField
from diffeo.flows.newton import determinant, newton, solution
from diffeo.grid import Grid
from diffeo.kernels import euler
from diffeo.solvers import Adaptive, Euler


class Velocity(Protocol):
    """A velocity with its derivative."""

    def __call__(self, x: Tensor) -> Tensor:
        """v(x)."""
        ...

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x)."""
        ...


class Layer(ABC):
    """One step: a map of R^d close to the identity.

    Attributes:
        together: where a point goes depends a little on which others go with it, as with steps that adapt.
    """

    together = False

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The image of x, shape (n, d)."""

    @abstractmethod
    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x and the derivative of the computed map there, shape (n, d, d)."""

    def with_volume(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x and the determinant of the derivative, shape (n,): not positive where the layer folds."""
        image, jacobian = self.with_jacobian(x)
        return image, determinant(jacobian)

    def inverse(self, y: Tensor) -> Tensor:
        """The x with layer(x) = y, to rounding errors; differentiable by the implicit function theorem.

        Raises: ArithmeticError where no solution is found, or one with a non-positive determinant: where the layer
            folds.
        """
        with torch.no_grad():
            x = self.solved(y)
        if not torch.is_grad_enabled():
            return x
        image, jacobian = self.with_jacobian(x)
        if not (image.requires_grad or y.requires_grad):
            return x
        return x - solution(jacobian.detach(), image - y)

    def solved(self, y: Tensor) -> Tensor:
        """The inverse without a gradient."""
        guess = self.guess(y)
        return newton(self.with_jacobian, y, guess, together=self.together, unit=unit(y, guess, *self.around()))

    def guess(self, y: Tensor) -> Tensor:
        """About where y comes from."""
        return 2 * y - self(y)

    def around(self) -> list[Tensor]:
        """Positions that points are seen from, shape (m, d), as far as they are known: they decide what digits mean."""
        return []


class FieldLayer(Layer):
    """A solver's step along a field that does not change during the step."""

    def __init__(self, velocity: Velocity, solver: Solver, time: float, duration: float) -> None:
        self.velocity, self.solver, self.time, self.duration = velocity, solver, time, duration
        self.together = isinstance(solver, Adaptive)

    def __call__(self, x: Tensor) -> Tensor:
        """x after the step."""
        return self.solver.step(lambda _, z: self.velocity(z), self.time, self.duration, x)

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same step for (x, J), J̇ = Dv(x)J: Runge–Kutta methods commute with differentiation."""

        def f(_: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            z, J = state
            if isinstance(self.velocity, PlainField):
                value, slopes = self.velocity.value_and_jacobian(z)
                return value, slopes @ J
            return self.velocity(z), self.velocity.jacobian(z) @ J

        moved, jacobian = self.solver.step(f, self.time, self.duration, (x, identities(x)))
        return moved, jacobian

    def solved(self, y: Tensor) -> Tensor:
        """By compiled loops where there are some; what they leave open, step by step."""
        steps = self.as_euler()
        if steps is None or not isinstance(self.velocity, PlainField):
            return super().solved(y)
        kernel = self.velocity.kernel
        if not euler.covers(kernel, steps, y):
            return super().solved(y)
        x, fine = euler.inverse(kernel, y, steps)
        if not bool(fine.all()):
            left = y[~fine]
            x[~fine] = super().solved(left)
        return x

    def around(self) -> list[Tensor]:
        """Those of the velocity."""
        return places(self.velocity)

    def as_euler(self) -> euler.Steps | None:
        """The step alone, if it is one of Euler's along a kernel field."""
        v = self.velocity
        if not (isinstance(self.solver, Euler) and isinstance(v, PlainField)):
            return None
        scales = None if v.log_scale is None else (v.log_scale,)
        return euler.Steps((self.duration,), (v.controls,), (v.momenta,), scales)


def places(velocity: Any) -> list[Tensor]:
    """Controls, centers, or the far end of the grid of a velocity, shape (m, d); none where it has no such thing."""
    while hasattr(velocity, "velocity"):  # one that is slowed, or has some of its components
        velocity = velocity.velocity
    grid = velocity if isinstance(velocity, Grid) else getattr(velocity, "grid", None)
    if isinstance(grid, Grid):
        ends = torch.tensor([[0.0] * grid.dim, [n - 1.0 for n in grid.shape]], dtype=torch.float64)
        return [grid.to_space(ends).abs().amax(0, keepdim=True)]
    found = (getattr(velocity, name, None) for name in ("controls", "centers"))
    return [x for x in found if isinstance(x, Tensor)]


def identities(x: Tensor) -> Tensor:
    """One identity matrix per point, shape (n, d, d)."""
    return torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
