"""Steps along fields that move every coordinate on its own: no matrices, and inverses number by number."""

from __future__ import annotations

import torch
from torch import Tensor

from diffeo.backends.rounding import unit
from diffeo.core import Solver
from diffeo.fields.separable_field import SeparableField
from diffeo.flows.layers import FieldLayer


class SeparableLayer(FieldLayer):
    """A solver's step along a `SeparableField`: as many maps of the line as there are coordinates."""

    velocity: SeparableField

    def __init__(self, velocity: SeparableField, solver: Solver, time: float, duration: float) -> None:
        super().__init__(velocity, solver, time, duration)

    def with_slopes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x, and the derivative of every coordinate of it in the same one of x, shape (n, d) both."""

        def f(_: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            value, slopes = self.velocity.with_slopes(state[0])
            return value, slopes * state[1]

        image, slopes = self.solver.step(f, self.time, self.duration, (x, torch.ones_like(x)))
        return image, slopes

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x and the derivative there, shape (n, d, d)."""
        image, slopes = self.with_slopes(x)
        return image, slopes.diag_embed()

    def with_volume(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x and the determinant: the product of the slopes, or the least of them where one is not > 0."""
        image, slopes = self.with_slopes(x)
        least = slopes.amin(1)
        return image, torch.where(least > 0, slopes.prod(1), least)  # two folds are no way out of one

    def inverse(self, y: Tensor) -> Tensor:
        """The x with layer(x) = y, to rounding; differentiable by the implicit function theorem.

        Raises: ArithmeticError where there is none, or one with a slope that is not positive.
        """
        with torch.no_grad():
            x, slopes = self._solved(y)
        if not torch.is_grad_enabled():
            return x
        image, _ = self.with_slopes(x)
        return x - (image - y) / slopes

    def _solved(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The solution by Newton's method, every number damped on its own, and the slopes there."""
        x = self.guess(y)
        image, slopes = self.with_slopes(x)
        rest = image - y
        size = unit(y, x, *self.around()) + y.abs() + (image - x).abs()
        tolerance = 16 * torch.finfo(y.dtype).eps * size
        damping = torch.ones_like(y)
        for _ in range(100):
            rows = (rest.abs() > tolerance).any(1).nonzero()[:, 0]  # the others are done
            if not len(rows):
                break
            old, target, missed, steps = x[rows], y[rows], rest[rows], damping[rows]
            move = torch.where(missed.abs() > tolerance[rows], steps * missed / slopes[rows], 0.0)
            image, found = self.with_slopes(old - move)
            better = (image - target).abs() < missed.abs()
            x[rows] = torch.where(better, old - move, old)
            slopes[rows] = torch.where(better, found, slopes[rows])
            rest[rows] = torch.where(better, image - target, missed)
            damping[rows] = torch.where(better, (2 * steps).clamp(max=1), steps / 2)
        lost = int((~(rest.abs() <= 1e3 * tolerance) | ~(slopes > 0)).any(1).sum())
        if lost:
            raise ArithmeticError(
                f"the inverse of a layer was not found at {lost} of {len(y)} points: the layer folds there. Use more "
                "steps."
            )
        return x - rest / slopes, slopes  # a last move, with what is known, squares the error
