"""Diffeomorphisms made of layers: forward, inverse, log-determinant and path follow from the layers alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from diffeo.core import Diffeo, Solver


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


def newton(function: Callable[[Tensor], tuple[Tensor, Tensor]], y: Tensor, guess: Tensor) -> Tensor:
    """The x with f(x) = y, where ``function`` gives f and Df; every point is damped on its own."""
    x = guess
    value, jacobian = function(x)
    residual = (value - y).norm(dim=1)
    tolerance = 16 * torch.finfo(y.dtype).eps * (1 + y.abs().amax(1) + (value - guess).norm(dim=1))
    damping = torch.ones_like(residual)
    for _ in range(60):
        if bool((residual <= tolerance).all()):
            break
        move = torch.linalg.solve_ex(jacobian, (value - y)[..., None])[0][..., 0]  # not finite where it is singular
        trial = x - torch.where(residual > tolerance, damping, 0.0)[:, None] * move
        trial_value, trial_jacobian = function(trial)
        trial_residual = (trial_value - y).norm(dim=1)
        better = trial_residual < residual
        x = torch.where(better[:, None], trial, x)
        value = torch.where(better[:, None], trial_value, value)
        jacobian = torch.where(better[:, None, None], trial_jacobian, jacobian)
        residual = torch.where(better, trial_residual, residual)
        damping = torch.where(better, (2 * damping).clamp(max=1), damping / 2)
        if bool((damping[residual > tolerance] < 1e-4).all()):
            break  # rounding errors, or a fold: decided below
    if not bool((residual <= 1e3 * tolerance).all()):
        worst = float(residual.max())
        raise ArithmeticError(
            f"the inverse of a layer was not found at {int((residual > 1e3 * tolerance).sum())} of {len(y)} points "
            f"(residual up to {worst:.2g}): the layer folds there, or takes too large a step. Use more steps."
        )
    folded = int((torch.linalg.det(jacobian) <= 0).sum())
    if folded:
        raise ArithmeticError(f"a layer folds at {folded} of {len(y)} points and has no inverse there. Use more steps.")
    return x


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


class Layered(Diffeo):
    """A diffeomorphism given by its layers."""

    @abstractmethod
    def layers(self) -> list[Layer]:
        """The layers, first to last."""

    def forward(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, d)."""
        for layer in self.layers():
            x = layer(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """φ⁻¹(y), shape (n, d): every layer inverted to rounding errors."""
        for layer in reversed(self.layers()):
            y = layer.inverse(y)
        return y

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and log det Dφ(x); NaN where a layer folds."""
        moved, volumes = self.with_volumes(x)
        return moved, volumes.log().sum(0)  # the log of a negative number is NaN

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and the determinant of every layer on the way, shape (layers, n)."""
        volumes = []
        for layer in self.layers():
            x, volume = layer.with_volume(x)
            volumes.append(volume)
        return x, torch.stack(volumes) if volumes else x.new_ones(0, len(x))

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and Dφ(x), shape (n, d, d)."""
        total = identities(x)
        for layer in self.layers():
            x, jacobian = layer.with_jacobian(x)
            total = jacobian @ total
        return x, total

    def path(self, x: Tensor) -> list[Tensor]:
        """The positions of x after each layer, x first."""
        path = [x]
        for layer in self.layers():
            path.append(layer(path[-1]))
        return path
