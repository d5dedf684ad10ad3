"""What a layer can do: the kernel of the directions in which training can move its points.

For unknowns θ in the metric that `Field.rates` defines (factors ρ), a layer moves its points by S = ∂z_{k+1}/∂θ, and
G_k = L² S diag(ρ) Sᵀ. For an Euler layer of a `LinearField` this is the Gram matrix K(z_k, z_k) of its space; for a
field whose inner weights are trained, that of its tangent kernel; other solvers evaluate fields in between, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffeo.core import Field
from diffeo.diagnostics.metric import requiring, unknowns
from diffeo.fields import KernelField, LinearField
from diffeo.flows.layers import FieldLayer
from diffeo.solvers import Euler


def features(field: Field, x: Tensor) -> Tensor | None:
    """φ(x), shape (n, M), where v = φ(x)θ, θ alone is trained, and its metric is |θ|²; None otherwise."""
    if not isinstance(field, LinearField) or (isinstance(field, KernelField) and not field.unknown.whiten):
        return None
    alone = [rate for p, rate in unknowns(field) if p is field.coefficients] == [rate for _, rate in unknowns(field)]
    return field.features(x) if alone else None


def gram(field: Field, steps: Sequence[FieldLayer], z: Tensor) -> Tensor:
    """G of a layer that starts at z, shape (n, d): as (n, n) where it is that times the identity, else (n·d, n·d).

    Args:
        field: of the layer.
        steps: of the solver along it.
        z: positions before them.
    """
    if len(steps) == 1 and isinstance(steps[0].solver, Euler):
        phi = features(field, z)
        if phi is not None:
            return phi @ phi.T
    moved = sensitivity(field, steps, z).flatten(0, 1) / sum(step.duration for step in steps)
    return moved @ moved.T


def sensitivity(field: Field, steps: Sequence[FieldLayer], z: Tensor) -> Tensor:
    """∂z_{k+1}/∂θ √ρ, shape (n, d, P), by the steps of Ṡ = ∂v/∂θ + Dv S: they commute with differentiation."""

    def f(_: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, s = state
        return field(x), slopes(field, x) + field.jacobian(x) @ s

    state = (z, torch.zeros_like(slopes(field, z)))
    for step in steps:
        state = step.solver.step(f, step.time, step.duration, state)
    return state[1]


def slopes(field: Field, x: Tensor) -> Tensor:
    """∂v(x)/∂θ √ρ, shape (n, d, P)."""
    n, d = x.shape
    phi = features(field, x)
    if phi is not None:
        return torch.einsum("nm,ab->namb", phi, torch.eye(d, dtype=x.dtype, device=x.device)).reshape(n, d, -1)
    parameters, rates = zip(*unknowns(field), strict=True)
    rows = []
    with requiring(parameters):
        for value in field(x.detach()).flatten():
            found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
            rows.append(torch.cat([rate**0.5 * g.flatten() for g, rate in zip(found, rates, strict=True)]))
    return torch.stack(rows).reshape(n, d, -1)


def smallest(gram: Tensor) -> float:
    """The smallest eigenvalue, which rounding errors may not make negative."""
    return max(float(torch.linalg.eigvalsh(gram)[0]), 0.0) if len(gram) else 0.0


def work(gram: Tensor, p: Tensor) -> Tensor:
    """⟨p, Gp⟩ for momenta p, shape (n, d)."""
    return (p * (gram @ p)).sum() if len(gram) == len(p) else p.flatten() @ gram @ p.flatten()
