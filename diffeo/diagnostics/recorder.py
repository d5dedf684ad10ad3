"""The Polyak–Łojasiewicz constant along training, and what it promised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from diffeo.core import Diffeo, Loss, objective
from diffeo.diagnostics.convergence import Convergence, before_training, convergence, layered, of_loss, points_of
from diffeo.flows import Flow

Pairs = Sequence[tuple[Any, Any]]


class ConvergenceRecorder:
    """A callback of `fit` that takes a `Convergence` now and then; the first one when it is made, before training.

    Args:
        phi: the map that is trained.
        pairs: what the constants are measured on; a part of large data.
        loss: D.
        weight: of the energy.
        best: J*, the smallest value J can have.
        every: how many iterations lie between two measurements.

    Attributes:
        measurements: in order.
    """

    def __init__(
        self, phi: Diffeo, pairs: Pairs, loss: Loss, weight: float = 0.0, *, best: float = 0.0, every: int = 1
    ) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"a recorder measures every so many iterations, a whole number from 1, and got {every!r}.")
        self.phi, self.pairs, self.loss, self.weight, self.best, self.every = phi, pairs, loss, weight, best, every
        self.iteration = 0
        self.measurements = [self._measured()]

    def __call__(self, record: Any = None) -> None:
        """After an iteration."""
        self.iteration += 1
        if self.iteration % self.every == 0:
            self.measurements.append(self._measured())

    def _measured(self) -> Convergence:
        return convergence(self.phi, self.pairs, self.loss, self.weight, best=self.best, iteration=self.iteration)


def predicted_decay(
    measurements: Sequence[Convergence], rate: float, constants: Sequence[float] | None = None, curvature: float = 0.0
) -> list[float]:
    r"""What J − J* may be at most at each measurement, by the constants measured before.

    A step of gradient descent in V multiplies it by at most $1 - 2m\eta(1 - \eta\beta/2)$.

    Args:
        measurements: along training; between two of them the constant of the earlier one is taken.
        rate: η, the learning rate.
        constants: instead of the measured m, for instance the a-posteriori bounds.
        curvature: β, a bound of the Hessian in V; 0 for the gradient flow.
    """
    if constants is None:
        constants = [measured.constant for measured in measurements]
    values = [measurements[0].gap]
    for before, after, m in zip(measurements, measurements[1:], constants, strict=False):
        factor = max(0.0, 1 - 2 * m * rate * (1 - rate * curvature / 2)) if m > 0 else 1.0
        values.append(values[-1] * factor ** (after.iteration - before.iteration))
    return values


class Guarantee(NamedTuple):
    """Before training: the gradient flow stays within a ball and converges."""

    constant: float
    """m, proven in the ball: J − J* decays at least like e^{−2ms}."""
    radius: float
    """Of the ball, in the norm (∫‖v‖² dt)^½."""


def guarantee(phi: Diffeo, pairs: Pairs, loss: Loss, *, best: float = 0.0) -> Guarantee | None:
    """Whether training from the identity is proven to converge, before it begins; None where nothing is proven.

    A proof needs a squared loss, residual (Euler) layers, a space whose constants are known, and points that are near
    their targets on the scale of the kernel: J₀ − J* ≤ ½ m(R) R² for some R (see `diffeo.diagnostics.convergence`).

    Raises: ValueError unless the map is the identity.
    """
    with torch.no_grad():
        value = objective(phi, pairs, loss, 0.0)
    if float(value.energy) > 0:
        raise ValueError("guarantee speaks of training from the identity, and got a map of positive energy.")
    end = of_loss(loss, pairs)[1]
    if not (isinstance(phi, Flow) and layered(phi, pairs)) or math.isnan(end):
        return None
    z = torch.cat([shape.x for source, _ in pairs if (shape := points_of(source)) is not None])
    gap, root = float(value.data) - best, math.sqrt(phi.layer_count)

    def constant(radius: float) -> float:
        return end * before_training(phi, z, radius, radius * root)

    # m(R) falls with R: the smallest radius that works has the largest constant; R²m(R) rises, then falls
    if not constant(0.0) > 0:
        return None
    radius = math.sqrt(2 * gap / constant(0.0))
    for _ in range(200):
        m = constant(radius)
        if not m > 0:
            return None
        needed = math.sqrt(2 * gap / m)
        if needed <= radius * (1 + 1e-9):
            return Guarantee(m, radius)
        radius = needed
    return None
