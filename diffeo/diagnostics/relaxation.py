"""Geodesics of residual networks: of all networks of L layers with given end points, the one of least energy.

Euler layers z_{k+1} = z_k + h v_k(z_k) that carry points along a trajectory cost at least
½h Σ_k ⟨ż_k, K(z_k, z_k)⁻¹ż_k⟩, ż_k = (z_{k+1} − z_k)/h. The minimum over trajectories with fixed ends is a discrete
geodesic; begun at that of a map, the minimization finds one that costs no more. Its layers are
v_k = Σ_j K(·, z_kʲ) p_{k+1}ʲ with p_k = p_{k+1} + h Dv_kᵀ p_{k+1}: the symplectic Euler method for Hamilton's
equations, and exactly what a network that is trained with energy learns, at every depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.diagnostics.connection import Inertia, Map, Space, broyden, gram_of, shooting
from diffeo.diagnostics.tangents import features
from diffeo.flows import FieldGeodesic, Geodesic
from diffeo.kernels.algebra import Radial
from diffeo.solvers import Euler

JITTER = 1e-10  # of the trace of a Gram matrix
SEARCHES = 400  # iterations of L-BFGS


class Relaxed(NamedTuple):
    """A trajectory of least energy."""

    energy: float
    path: list[Tensor]


def relaxable(space: Space, x: Tensor) -> bool:
    """Whether the Gram matrix of a space can be differentiated in the points: for kernels and scalar features."""
    return isinstance(space, Radial) or features(space, x) is not None


def relaxed(space: Space, path: Sequence[Tensor], middle: bool = False) -> Relaxed:
    """The trajectory of least energy with the ends of a path, begun at the path.

    Args:
        space: a kernel, or a field with scalar features.
        path: L + 1 positions, shape (n, d) each.
        middle: take K halfway between neighbors, which is exact to second order in time, instead of at the first.
    """
    start = torch.stack([z.detach() for z in path])
    if len(start) < 3:
        return Relaxed(float(_cost(space, start, middle)), list(path))
    spread = _spread(space, start)
    w = torch.zeros(len(start) - 2, *start.shape[1:], dtype=start.dtype, device=start.device, requires_grad=True)
    first = float(_cost(space, start, middle))
    options = {"tolerance_grad": 1e-9 * first**0.5, "tolerance_change": 1e-12 * first}
    optimizer = torch.optim.LBFGS([w], max_iter=SEARCHES, history_size=30, line_search_fn="strong_wolfe", **options)

    def trajectory() -> Tensor:
        return torch.cat([start[:1], start[1:-1] + spread(w), start[-1:]])

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            value = _cost(space, trajectory(), middle)
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        found = trajectory()
        energy = float(_cost(space, found, middle))
    return Relaxed(energy, list(found)) if energy <= first else Relaxed(first, list(start))


def _cost(space: Space, z: Tensor, middle: bool) -> Tensor:
    """½ Σ_k ⟨ż, K⁻¹ż⟩ / L of a trajectory, shape (L + 1, n, d)."""
    total = z.new_zeros(())
    for before, after in pairwise(z):
        gram = gram_of(space, 0.5 * (before + after) if middle else before)
        gram = gram + torch.diag(JITTER * gram.diagonal().sum().expand(len(gram)))
        factor = torch.linalg.cholesky(gram)
        whitened = torch.linalg.solve_triangular(factor, after - before, upper=False)
        total = total + whitened.square().sum()
    return 0.5 * (len(z) - 1) * total


def _spread(space: Space, z: Tensor) -> Map:
    """Coordinates in which the cost is round, near a trajectory in space: K^½ in space, the inverse root of the second
    difference in time."""
    inner, steps = len(z) - 2, len(z) - 1
    second = 2 * torch.eye(inner) - torch.diag(torch.ones(inner - 1), 1) - torch.diag(torch.ones(inner - 1), -1)
    values, vectors = torch.linalg.eigh(second.to(z))
    in_time = vectors * (steps * values).rsqrt() @ vectors.T
    with torch.no_grad():
        inertia = Inertia(space, z[0])
    root = inertia.vectors * inertia.values.sqrt() @ inertia.vectors.T
    return lambda w: torch.einsum("kl,nm,lmd->knd", in_time, root, w)


@torch.no_grad()
def residual_geodesic(space: Space, q: Tensor, p: Tensor, steps: int) -> list[tuple[Tensor, Tensor]]:
    """(z_k, p_{k+1}) of the discrete geodesic whose first layer is Σ_j K(·, q_j) p_j; then the end, with p_L again.

    Args:
        space: a kernel, or a field whose coefficients do not matter.
        q, p: positions, and the momenta of the first layer, shape (n, d).
        steps: L.
    """
    h, rule = 1 / steps, shooting(space, q, p, Euler(), steps)
    states = [(q, p)]
    for k in range(steps):
        q = q + h * rule.motion(q, p).position
        if k < steps - 1:
            p = _momentum(rule, q, p, h)
        states.append((q, p))
    return states


def _momentum(rule: Geodesic | FieldGeodesic, q: Tensor, p: Tensor, h: float) -> Tensor:
    """The p₊ with p = p₊ + h ∂_qH(q, p₊)."""
    goal = 1e-13 * float(p.norm())
    return broyden(lambda new: new - p - h * rule.motion(q, new).momentum, p, lambda v: v, goal)
