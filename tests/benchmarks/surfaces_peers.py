"""Whole registrations by peers: each maps two meshes to the moved vertices, shape (n, 3)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffeo.shapes import Mesh
from tests.benchmarks import shooting_peers

Distance = Callable[[Tensor], Tensor]


def pieces(x: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centers (f, 3), unit normals (f, 3) and areas (f, 1)."""
    a, b, c = x[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a) / 2
    areas = normals.norm(dim=1, keepdim=True)
    return (a + b + c) / 3, normals / areas, areas


def varifold(target: Mesh, faces: Tensor, scale: float) -> Distance:
    """The squared distance of varifolds, by KeOps: Gaussian in the centers, (n·n')² in the normals."""
    from pykeops.torch import Vi, Vj

    def inner(mu: tuple[Tensor, ...], nu: tuple[Tensor, ...]) -> Tensor:
        x: Any = Vi(mu[0])
        kernel = (-x.sqdist(Vj(nu[0])) * (0.5 / scale**2)).exp() * (Vi(mu[1]) | Vj(nu[1])) ** 2
        return (mu[2] * (kernel * Vj(nu[2])).sum_reduction(axis=1)).sum()

    nu = pieces(target.x, target.faces)
    constant = inner(nu, nu)

    def distance(x: Tensor) -> Tensor:
        mu = pieces(x, faces)
        return inner(mu, mu) - 2 * inner(mu, nu) + constant

    return distance


def keops_lddmm(
    source: Mesh, target: Mesh, scale: float = 20 / 2**0.5, rounds: int = 5, evaluations: int = 10
) -> Tensor:
    """KeOps' own tutorial in outline: one wide scale for both kernels, no regularization, 5 × 10 evaluations of L-BFGS.

    Source of the settings: "Surface registration using the LDDMM framework", KeOps' gallery; exp(−|x|²/20²).
    """
    system, distance = shooting_peers.keops(scale), varifold(target, source.faces, scale)
    q, p = source.x.clone(), torch.zeros_like(source.x).requires_grad_()
    optimizer = torch.optim.LBFGS([p], max_eval=evaluations, max_iter=evaluations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = distance(shooting_peers.shoot(system, q, p))
        loss.backward()
        return loss

    for _ in range(rounds):
        optimizer.step(closure)  # type: ignore[arg-type]
    return shooting_peers.shoot(system, q, p).detach()


def keops_compile(source: Mesh, target: Mesh) -> Tensor:
    """One evaluation with its gradient, which uses every formula of the whole registration."""
    return keops_lddmm(source, target, rounds=1, evaluations=1)


STIFF = [[stiffness, 0, 0.5, 10] for stiffness in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)]


def amberg(source: Mesh, target: Mesh, steps: list[list[float]] | None = None, **options: Any) -> Tensor:
    """Non-rigid iterative closest points (Amberg, Romdhani & Vetter, CVPR 2007), by trimesh; None: its defaults."""
    import trimesh

    a, b = (trimesh.Trimesh(s.x.double().numpy(), s.faces.numpy(), process=False) for s in (source, target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moved = trimesh.registration.nricp_amberg(a, b, steps=steps, **options)
    return torch.as_tensor(moved, dtype=source.x.dtype)


def amberg_stiff(source: Mesh, target: Mesh) -> Tensor:
    """The same, from stiff to soft and with no match thrown away, as the paper does it."""
    return amberg(source, target, STIFF, distance_threshold=10.0)
