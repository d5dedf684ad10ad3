"""A flow that is stopped on its way: where points are there, and what density the law has there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from diffeo.backends.rounding import unit
from diffeo.core import Compose, Diffeo
from diffeo.flows import kernel_steps
from diffeo.flows.layered import Layered
from diffeo.flows.layers import FieldLayer, Layer, identities
from diffeo.flows.newton import attempted
from diffeo.laws import Law
from diffeo.solvers import Euler
from diffeo.viz.timeline import between
from diffeo.viz.view import Array, array

Step = Layer | Diffeo
CHUNK = 4096  # points at a time, so that what happens on the way stays in the cache
MISSED = 1e3  # times what rounding explains: what is farther off is no inverse


class Partway:
    """A map as the steps it is made of, between which points go straight.

    Args:
        parts: what is done one after the other; with none, nothing moves.
    """

    def __init__(self, parts: Sequence[Diffeo]) -> None:
        self.steps = [step for part in parts for step in steps_of(part)]

    @torch.no_grad()
    def path(self, x: Tensor) -> Tensor:
        """x, shape (n, d), after each step, shape (steps + 1, n, d)."""
        path = [x]
        for step in self.steps:
            path.append(step(path[-1]))
        return torch.stack(path)

    def places(self, x: Tensor, moments: int) -> Array:
        """Where to stop, so that x go equally far between stops on average: in steps, from 0 on, shape (moments,)."""
        path = array(self.path(x))
        length = np.r_[0.0, np.linalg.norm(np.diff(path, axis=0), axis=2).mean(1).cumsum()]
        if not length[-1] > 0:
            return np.zeros(moments)
        return np.interp(np.linspace(0, 1, moments), length / length[-1], np.arange(len(length)))

    def at(self, x: Tensor, places: Array) -> Array:
        """Where x, shape (n, d), are at places, shape (T, n, d)."""
        return between(array(self.path(x)), places)

    @torch.no_grad()
    def logdet(self, x: Tensor, places: Array) -> Array:
        """log det of the map from x, shape (n, d), to where they are at places, shape (T, n); NaN where it folds."""
        path, found = self.path(x), []
        grown = torch.stack(
            [x.new_zeros(len(x)), *(carried([s], y)[1] for s, y in zip(self.steps, path, strict=False))]
        )
        grown = grown.cumsum(0)
        for place in places:
            k, part = int(place), place - int(place)
            more = partial(self.steps[k], float(part)).with_volume(path[k])[1].log() if part > 0 else 0.0
            found.append(array(grown[k] + more))
        return np.stack(found)

    @torch.no_grad()
    def log_density(self, base: Law, place: float, y: Tensor) -> Tensor:
        """log of the density that points have at a place, at y, shape (n, d), if at the end they have that of a base.

        Returns: shape (n,); NaN where a step that is to come folds, or the one that is being made cannot be undone.
        """
        return torch.cat([self._log_density(base, place, part) for part in y.split(CHUNK)])

    def _log_density(self, base: Law, place: float, y: Tensor) -> Tensor:
        k = int(place)
        part = place - k
        total = y.new_zeros(len(y))
        if part > 0:
            begun = partial(self.steps[k], part)
            y = undone(begun, y)
            total = -begun.with_volume(y)[1].log()
        y, logdet = carried(self.steps[k:], y)
        return base.log_prob(y) + logdet + total


class Part(Layer):
    """A part of the straight way along a step.

    Args:
        step: from x to f(x).
        part: s; points end at (1 − s) x + s f(x).
    """

    def __init__(self, step: Step, part: float) -> None:
        self.step, self.part = step, part

    def __call__(self, x: Tensor) -> Tensor:
        """(1 − s) x + s f(x)."""
        return torch.lerp(x, self.step(x), self.part)

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where x are, and (1 − s) I + s Df(x)."""
        y, jacobian = self.step.with_jacobian(x)
        return torch.lerp(x, y, self.part), torch.lerp(identities(x), jacobian, self.part)


def partial(step: Step, part: float) -> Layer:
    """A part of a step; of one of Euler's it is a shorter one, which compiled loops undo."""
    if isinstance(step, FieldLayer) and isinstance(step.solver, Euler):
        return type(step)(step.velocity, step.solver, step.time, part * step.duration)
    return Part(step, part)


def steps_of(phi: Diffeo) -> list[Step]:
    """The steps of a map, first to last."""
    if isinstance(phi, Compose):
        return [step for part in phi.diffeos for step in steps_of(part)]
    return list(phi.layers()) if isinstance(phi, Layered) else [phi]


def carried(steps: Sequence[Step], x: Tensor) -> tuple[Tensor, Tensor]:
    """x after all steps, and the logarithm of how they change volumes, shape (n,); NaN where one folds."""
    total = x.new_zeros(len(x))
    for layered, run in groupby(steps, lambda step: isinstance(step, Layer)):
        if layered:
            x, volumes = kernel_steps.with_volumes([step for step in run if isinstance(step, Layer)], x)
            total = total + volumes.log().sum(0)
            continue
        for step in run:
            assert isinstance(step, Diffeo)
            x, logdet = step.with_logdet(x)
            total = total + logdet
    return x, total


def undone(layer: Layer, y: Tensor) -> Tensor:
    """The inverse of a layer at y, shape (n, d); NaN where there is none."""
    try:
        return layer.inverse(y)
    except ArithmeticError:
        guess = layer.guess(y)
        size = unit(y, guess, *layer.around())
        x, missed, dets = attempted(layer.with_jacobian, y, guess, layer.together, size)
        return torch.where(((missed <= MISSED) & (dets > 0))[:, None], x, torch.nan)
