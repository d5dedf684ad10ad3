"""One step of a diffeomorphism: a map close to the identity, with its derivative and its inverse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from diffeo.core import Solver
from diffeo.flows.newton import newton


class Velocity(Protocol):
    """A velocity with its derivative."""

    def __call__(self, x: Tensor) -> Tensor:
        """v(x)."""
        ...

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x)."""
        ...


class Layer(ABC):
    """One step: a map of R^d close to the identity."""

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
        """The x with layer(x) = y, by damped Newton to rounding; differentiable by the implicit function theorem.

        Raises: ArithmeticError where Newton's method finds no solution, or one with a non-positive determinant: where
            the layer folds.
        """
        with torch.no_grad():
            x = newton(self.with_jacobian, y, guess=2 * y - self(y))
        if not torch.is_grad_enabled():
            return x
        image, jacobian = self.with_jacobian(x)
        return x - torch.linalg.solve(jacobian.detach(), (image - y)[..., None])[..., 0]


def determinant(matrices: Tensor) -> Tensor:
    """det A, shape (n,), of matrices A, shape (n, d, d); up to three rows by the formula, which is much faster."""
    d = matrices.shape[-1]
    if d == 1:
        return matrices[..., 0, 0]
    if d == 2:
        return matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]
    if d == 3:
        return (matrices[..., 0] * torch.linalg.cross(matrices[..., 1], matrices[..., 2], dim=-1)).sum(-1)
    return torch.linalg.det(matrices)


class FieldLayer(Layer):
    """A solver's step along a field that does not change during the step."""

    def __init__(self, velocity: Velocity, solver: Solver, time: float, duration: float) -> None:
        self.velocity, self.solver, self.time, self.duration = velocity, solver, time, duration

    def __call__(self, x: Tensor) -> Tensor:
        """x after the step."""
        return self.solver.step(lambda _, z: self.velocity(z), self.time, self.duration, x)

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same step for (x, J), J̇ = Dv(x)J: Runge–Kutta methods commute with differentiation."""

        def f(_: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            z, J = state
            return self.velocity(z), self.velocity.jacobian(z) @ J

        moved, jacobian = self.solver.step(f, self.time, self.duration, (x, identities(x)))
        return moved, jacobian


def identities(x: Tensor) -> Tensor:
    """One identity matrix per point, shape (n, d, d)."""
    return torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
