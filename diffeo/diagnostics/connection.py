"""The geodesic that joins given end points, and the momenta that give points their velocities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.core import Solver
from diffeo.diagnostics.tangents import features, slopes
from diffeo.fields import LinearField
from diffeo.flows import FieldGeodesic, Geodesic
from diffeo.kernels.algebra import Radial
from diffeo.solvers import integrate

CUTOFF = 1e-11  # of the largest eigenvalue of a Gram matrix: what lies below is left to rounding errors
ITERATIONS = 80  # of Broyden's method
STUCK = 1e-3  # of the step that would be taken: shorter ones do not help

Space = Radial | LinearField


def shooting(space: Space, q: Tensor, p: Tensor, solver: Solver, steps: int) -> Geodesic | FieldGeodesic:
    """The geodesic of a space from positions q with momenta p, shape (n, d)."""
    if isinstance(space, Radial):
        return Geodesic(space, q, solver, steps, p, whiten=False)
    return FieldGeodesic(space, q, solver, steps, p, whiten=False)


class Inertia:
    """K(q, q) and what is inverse to it, between momenta and velocities, shape (n, d); small eigenvalues left out."""

    def __init__(self, space: Space, q: Tensor) -> None:
        values, vectors = torch.linalg.eigh(gram_of(space, q))
        kept = values > CUTOFF * values[-1]
        self.values, self.vectors, self.shape = values[kept], vectors[:, kept], q.shape

    def momenta(self, velocities: Tensor) -> Tensor:
        """The p of least norm with K p = v, where there is one; else of what can be reached."""
        return self._restored((self.vectors.T @ self._flat(velocities)) / self.values[:, None])

    def _flat(self, p: Tensor) -> Tensor:
        return p if len(self.vectors) == len(p) else p.reshape(-1, 1)

    def _restored(self, coordinates: Tensor) -> Tensor:
        return (self.vectors @ coordinates).reshape(self.shape)


def gram_of(space: Space, q: Tensor) -> Tensor:
    """K(q, q), as (n, n) for a scalar kernel, else (n·d, n·d)."""
    if isinstance(space, Radial):
        return space(q).dense()
    phi = features(space, q)
    if phi is None:
        phi = slopes(space, q).flatten(0, 1)
    return phi @ phi.T


class Connection(NamedTuple):
    """A geodesic from given points to (nearly) given others."""

    geodesic: Geodesic | FieldGeodesic
    energy: float
    """Of the geodesic that would end exactly there, up to second order in the error: its derivative in the end points
    is the momentum with which one arrives."""
    error: float
    """The root mean square distance from where it should end, relative to that between start and end."""


@torch.no_grad()
def connect(
    space: Space,
    start: Tensor,
    end: Tensor,
    solver: Solver,
    steps: int,
    guess: Tensor | None = None,
    tolerance: float = 1e-9,
) -> Connection:
    """The geodesic from points to others, by shooting.

    Broyden's method, from ∂q/∂p = K, which is exact for small momenta; it gets stuck where deformations are large.

    Args:
        space: a kernel, or a field whose coefficients do not matter.
        start, end: positions, shape (n, d).
        solver: of Hamilton's equations.
        steps: how many.
        guess: momenta to begin with, shape (n, d), if they lead closer than K⁻¹(end − start).
        tolerance: of the error.
    """
    aim = _Aim(space, start, end, solver, steps)
    if not aim.scale > 0:
        return aim.connection(torch.zeros_like(start))
    guesses = [torch.zeros_like(start), aim.inertia.momenta(end - start), *([] if guess is None else [guess])]
    first = min(guesses, key=aim.error)
    return aim.connection(broyden(aim.miss, first, aim.inertia.momenta, tolerance * aim.scale))


class _Aim:
    """To get from here to there."""

    def __init__(self, space: Space, start: Tensor, end: Tensor, solver: Solver, steps: int) -> None:
        self.space, self.start, self.end, self.solver, self.steps = space, start, end, solver, steps
        self.inertia, self.scale = Inertia(space, start), float((end - start).norm())

    def shot(self, p: Tensor) -> Geodesic | FieldGeodesic:
        """With given momenta."""
        return shooting(self.space, self.start, p, self.solver, self.steps)

    def miss(self, p: Tensor) -> Tensor:
        """From where it should end to where it ends."""
        shot = self.shot(p.detach())
        state = integrate(shot.solver, lambda _, s: shot.motion(*s)[:2], (self.start, p), self.steps)[-1]
        return state[0] - self.end

    def error(self, p: Tensor) -> float:
        """Relative to the way."""
        miss = float(self.miss(p).norm())
        return miss / self.scale if math.isfinite(miss) else math.inf

    def connection(self, p: Tensor) -> Connection:
        """What has been found."""
        shot = self.shot(p)
        q, arriving = shot.shoot()[-1]
        energy = float(shot.energy()) + float((arriving * (self.end - q)).sum())
        return Connection(shot, energy, float((q - self.end).norm()) / self.scale if self.scale > 0 else 0.0)


Map = Callable[[Tensor], Tensor]


def broyden(residual: Map, x: Tensor, inverse: Map, goal: float) -> Tensor:
    """Lower |residual| to a goal, from x and an inverse of the derivative there; as far as it gets."""
    changes: list[tuple[Tensor, Tensor]] = []  # of the inverse, of rank one each

    def inverted(v: Tensor) -> Tensor:
        result = inverse(v)
        for left, right in changes:
            result = result + left * (right * result).sum()
        return result

    value = residual(x)
    for _ in range(ITERATIONS):
        if not float(value.norm()) > goal:
            break
        step, size = -inverted(value), 1.0
        new = residual(x + step)
        while not float(new.norm()) < float(value.norm()) and size > STUCK:
            size /= 2
            new = residual(x + size * step)
        if not float(new.norm()) < float(value.norm()):
            break
        moved, pulled = size * step, inverted(new - value)
        weight = float((moved * pulled).sum())
        # (I + (s − Hy)sᵀ/(sᵀHy)) H: Broyden's update of the inverse
        if abs(weight) > 1e-12 * float(moved.norm()) * float(pulled.norm()):
            changes.append(((moved - pulled) / weight, moved))
        x, value = x + moved, new
    return x
