"""Is a trained map a geodesic? Its path, its energy and its start, compared with those of the shortest way.

The energy of a path is at least ½ (∫‖v‖ dt)², with equality for constant speed. Of all velocities that carry given
points along given trajectories, those of least norm are K(·, z_t) K(z_t, z_t)⁻¹ v_t(z_t); of all trajectories with
given end points, a geodesic's cost least:

    energy ≥ that of the same trajectories ≥ that of the geodesic between the same end points.

Training that pays for energy makes both equalities: its minimizer is a geodesic. Whether it is one can also be seen at
the start: from the momenta p₀ = K(z₀, z₀)⁻¹ v₀(z₀), shooting must lead where the map leads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.core import Diffeo, Solver
from diffeo.diagnostics.connection import Inertia, Space, connect, shooting
from diffeo.diagnostics.relaxation import relaxable, relaxed, residual_geodesic
from diffeo.diagnostics.spaces import space_of
from diffeo.diagnostics.states import states
from diffeo.diagnostics.tangents import features
from diffeo.fields import Contractive, KernelField, LinearField
from diffeo.flows import FieldGeodesic, Flow, Geodesic
from diffeo.flows.greedy import Greedy
from diffeo.kernels.algebra import Radial
from diffeo.solvers import Euler

SURE = 1e-6  # relative distance from where a geodesic is to end


@dataclass(frozen=True)
class Geodesicity:
    """How far a map is from a geodesic; energies in length units squared.

    Attributes:
        energy: ½∫‖v‖² dt.
        speeds: ‖v‖ in each step, shape (L,).
        trajectory_energy: the least energy of velocities that move the points as they move.
        geodesic_energy: of the geodesic between the same end points.
        match: how far that one ends from where it should, relative to how far the points go: above 1e-6 it is to be
            doubted.
        reshooting: how far shooting from the map's own first velocity ends from where the map ends, relatively.
        path: of the points along the map.
        geodesic_path: along the geodesic.
        reshot_path: along the shot.
    """

    energy: float
    speeds: Tensor
    trajectory_energy: float
    geodesic_energy: float
    match: float
    reshooting: float
    path: list[Tensor]
    geodesic_path: list[Tensor]
    reshot_path: list[Tensor]

    @property
    def length(self) -> float:
        """∫‖v‖ dt."""
        return float(self.speeds.mean())

    @property
    def unevenness(self) -> float:
        """2·energy/length² − 1 of the speeds: 0 for constant speed."""
        return float(self.speeds.square().mean() / self.speeds.mean().square()) - 1

    @property
    def gap(self) -> float:
        """energy / geodesic energy − 1: 0 for a geodesic."""
        return self.energy / self.geodesic_energy - 1

    def __str__(self) -> str:
        return (
            f"energy {self.energy:.4g}, {100 * self.gap:.3g} % above that of the geodesic between the same end points "
            f"({self.geodesic_energy:.4g}, met up to {self.match:.1g}); the same trajectories cost at least "
            f"{self.trajectory_energy:.4g}; speed uneven by {100 * self.unevenness:.3g} %; shot again from its first "
            f"velocity it ends {100 * self.reshooting:.3g} % away"
        )


@torch.no_grad()
def geodesicity(phi: Diffeo, x: Tensor, space: Space | None = None) -> Geodesicity:
    """Compare a map with the geodesic that joins points x and φ(x).

    Args:
        phi: a Flow, a Geodesic or a Descent. Residual layers are compared with the geodesic of networks of their depth
            (see `diffeo.diagnostics.relaxation`), others with one that is shot by the map's own solver.
        x: points, shape (n, d), none twice; a few hundred at most, as Gram matrices are factored at every step.
        space: a kernel, or a field that is linear in its unknowns; that of the map's own velocities if left out.

    Raises: ValueError where the points do not move, or the space is not known.
    """
    space = _space(phi, x, space)
    moments, solver = states(phi), _solver(phi)
    path = phi.path(x)
    if not float((path[-1] - x).norm()) > 0:
        raise ValueError("geodesicity compares ways from points to their images, and all points stay in place.")
    steps = len(path) - 1
    rates = [state.velocity(z) for z, state in zip(path[:-1], moments, strict=True)]
    needed = [Inertia(space, z).momenta(v) for z, v in zip(path[:-1], rates, strict=True)]
    work = sum(float((p * v).sum()) for p, v in zip(needed, rates, strict=True))
    residual = isinstance(solver, Euler) and isinstance(phi, Flow | Greedy)
    if residual and relaxable(space, x):
        reshot = [q for q, _ in residual_geodesic(space, x, needed[0], steps)]
        joined = _Connected(*relaxed(space, path), 0.0)
    else:
        reshot = shooting(space, x, needed[0], solver, steps).path(x)
        joined = _connected(space, path, solver, needed[0])
    return Geodesicity(
        energy=float(phi.energy()),
        speeds=torch.stack([state.speed for state in moments]),
        trajectory_energy=0.5 * work / steps,
        geodesic_energy=joined.energy,
        match=joined.error,
        reshooting=float((reshot[-1] - path[-1]).norm() / (path[-1] - x).norm()),
        path=path,
        geodesic_path=joined.path,
        reshot_path=reshot,
    )


class _Connected(NamedTuple):
    """The geodesic that has been found."""

    energy: float
    path: list[Tensor]
    error: float


def _connected(space: Space, path: list[Tensor], solver: Solver, guess: Tensor) -> _Connected:
    """By shooting; where that does not get there, by relaxing the path."""
    found = connect(space, path[0], path[-1], solver, len(path) - 1, guess)
    if found.error > SURE and relaxable(space, path[0]):
        return _Connected(*relaxed(space, path, middle=True), 0.0)
    return _Connected(found.energy, found.geodesic.path(path[0]), found.error)


def _solver(phi: Diffeo) -> Solver:
    return phi.solver if isinstance(phi, Flow | Geodesic | FieldGeodesic) else Euler()


def _space(phi: Diffeo, x: Tensor, space: Space | None) -> Space:
    if space is None and isinstance(phi, Flow) and not _alike(phi, x):
        raise ValueError(
            "the layers of this Flow have features of their own, and share no space: build it from copies of one field."
        )
    found = space_of(phi) if space is None else space
    while isinstance(found, Contractive):
        found = found.field
    if isinstance(found, Radial | LinearField):
        return found
    raise ValueError(
        f"geodesics are those of a kernel's space, and none is known for the velocities of this {type(phi).__name__}: "
        "say space=, a kernel or a field that is linear in its unknowns."
    )


def _alike(phi: Flow, x: Tensor) -> bool:
    """Whether features of different layers agree at points; those of momenta need not, their kernel is one."""
    fields = [field.field if isinstance(field, Contractive) else field for field in phi.layer_fields()]
    known = [features(field, x) for field in fields if not isinstance(field, KernelField)]
    return all(a is None or b is None or torch.equal(a, b) for a, b in pairwise(known))
