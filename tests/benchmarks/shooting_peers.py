"""LDDMM shooting as users of KeOps and of torch write it: Gaussian kernel, Ralston's method, 10 steps.

Each peer maps (q, p), both of shape (n, d), to the end points q(1); what is timed is the gradient of a loss of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Pair = tuple[Tensor, Tensor]
System = Callable[[Tensor, Tensor], Pair]


def ralston_step(system: System, dt: float, q: Tensor, p: Tensor) -> Pair:
    dq, dp = system(q, p)
    eq, ep = system(q + 2 * dt / 3 * dq, p + 2 * dt / 3 * dp)
    return q + dt / 4 * (dq + 3 * eq), p + dt / 4 * (dp + 3 * ep)


def shoot(system: System, q: Tensor, p: Tensor, steps: int = 10, thrifty: bool = False) -> Tensor:
    """The end points; ``thrifty`` keeps only the states between the steps and computes each step twice."""
    for _ in range(steps):
        if thrifty:
            q, p = checkpoint(ralston_step, system, 1 / steps, q, p, use_reentrant=False)  # type: ignore[misc]
        else:
            q, p = ralston_step(system, 1 / steps, q, p)
    return q


def by_autograd(hamiltonian: Callable[[Tensor, Tensor], Tensor]) -> System:
    """Hamilton's equations as torch derives them: differentiated a second time by the gradient of the loss."""

    def system(q: Tensor, p: Tensor) -> Pair:
        q, p = (z if z.requires_grad else z.requires_grad_() for z in (q, p))
        dq, dp = torch.autograd.grad(hamiltonian(q, p), (p, q), create_graph=True)
        return dq, -dp

    return system


def keops(scale: float) -> System:
    """Symbolic tensors: nothing of size n × n is stored."""
    from pykeops.torch import Vi, Vj

    def hamiltonian(q: Tensor, p: Tensor) -> Tensor:
        x: Any = Vi(q)
        kernel = (-x.sqdist(Vj(q)) * (0.5 / scale**2)).exp()
        return 0.5 * (p * (kernel * Vj(p)).sum_reduction(axis=1)).sum()

    return by_autograd(hamiltonian)


def squared_distances(q: Tensor) -> Tensor:
    """By one matrix product, the fastest way in torch; accurate enough where extent/scale is small, as here."""
    norms = q.square().sum(1)
    return torch.addmm(norms[:, None] + norms, q, q.T, alpha=-2)


def torch_autograd(scale: float) -> System:
    """All pairs in matrices, Hamilton's equations by autograd."""

    def hamiltonian(q: Tensor, p: Tensor) -> Tensor:
        kernel = (squared_distances(q) * (-0.5 / scale**2)).exp()
        return 0.5 * (p * (kernel @ p)).sum()

    return by_autograd(hamiltonian)


def torch_by_hand(scale: float) -> System:
    """All pairs in matrices, Hamilton's equations in matrix products: the strongest form in eager torch that we know.

    With W_ij = k_ij p_i·p_j/σ², ṗ_i = Σ_j W_ij (q_i − q_j).
    """

    def system(q: Tensor, p: Tensor) -> Pair:
        kernel = (squared_distances(q) * (-0.5 / scale**2)).exp()
        weights = kernel * (p @ p.T)
        columns = torch.cat([q, torch.ones_like(q[:, :1])], 1)
        sums = weights @ columns
        return kernel @ p, (sums[:, -1:] * q - sums[:, :-1]) / scale**2

    return system
