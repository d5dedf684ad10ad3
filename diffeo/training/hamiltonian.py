r"""Maximizing the Hamiltonian of a layer in its field, which is all that Pontryagin's principle leaves to do.

For a field v with a share s of the energy it is $p\cdot\mathrm{layer}_v(z) - s\tfrac\lambda2\|v\|^2$, summed over
points. The augmented one subtracts $s\tfrac\rho2(\langle|\delta v(z)|^2\rangle + \tau\|\delta v\|_V^2)$, where δv
is the change of the field and ⟨⟩ the mean over points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.fields import LinearField
from diffeo.training.trajectory import Slot


class Augmented(NamedTuple):
    """What is maximized."""

    weight: float
    """λ, of the energy."""
    penalty: float
    """ρ; 0 for the Hamiltonian itself."""
    smoothness: float
    """τ."""


class Proposal(NamedTuple):
    """New values of the parameters of a field."""

    values: list[Tensor]
    gain: float
    """By how much they raise what was maximized."""


def maximize(slot: Slot, h: Augmented, effort: int) -> Proposal:
    """The best parameters: in closed form for features, by conjugate gradients or L-BFGS, ``effort`` steps, else."""
    field = slot.field
    if isinstance(field, LinearField) and len(slot.parameters) == 1 and slot.parameters[0] is field.coefficients:
        return _solved(field, slot, h, effort)
    return _searched(slot, h, effort)


@torch.no_grad()
def _solved(field: LinearField, slot: Slot, h: Augmented, effort: int) -> Proposal:
    """θ + δ with (λ + ρτ + ρ⟨φφᵀ⟩) δ = gain/s − λ∇‖v‖²/2, whose right-hand side is the gradient in V.

    A layer of a solver of several stages is not linear in θ: the gradient is then exact, and the matrix that of Euler.
    """
    theta = field.coefficients.detach()
    with torch.enable_grad():  # θ up to the ridge of kernels
        (pull,) = torch.autograd.grad(0.5 * field.sqnorm(), field.coefficients)
    ascent, ridge = slot.gains[0] / slot.share - h.weight * pull, h.weight + h.penalty * h.smoothness
    if h.penalty == 0:
        change = ascent / ridge
    else:
        z = slot.points
        features, scale = field.features(z), h.penalty / len(z)
        if features is None:
            change = conjugate_gradients(
                lambda d: ridge * d + scale * field.gather(z, field.evaluate(z, d)), ascent, effort
            )
        else:
            change = ridge_solve(scale**0.5 * features, ridge, ascent)
    return Proposal([theta + change], 0.5 * slot.share * float((ascent * change).sum()))


def ridge_solve(features: Tensor, ridge: float, b: Tensor) -> Tensor:
    """(ridge·I + φᵀφ)⁻¹ b for φ of shape (n, M) and b of shape (M, d), by the smaller of two Gram matrices."""
    n, m = features.shape
    gram = features.T @ features if m <= n else features @ features.T
    gram.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(gram)
    if m <= n:
        return torch.cholesky_solve(b, factor)
    return (b - features.T @ torch.cholesky_solve(features @ b, factor)) / ridge


def conjugate_gradients(apply: Callable[[Tensor], Tensor], b: Tensor, steps: int, tolerance: float = 1e-4) -> Tensor:
    """The solution of a positive definite system, from 0: stopped at any time it points uphill along b."""
    x, r = torch.zeros_like(b), b.clone()
    d, square = r.clone(), float(r.square().sum())
    start = square
    for _ in range(steps):
        if square <= tolerance**2 * start or square == 0:
            break
        ad = apply(d)
        step = square / float((d * ad).sum())
        x, r = x + step * d, r - step * ad
        before, square = square, float(r.square().sum())
        d = r + square / before * d
    return x


def _searched(slot: Slot, h: Augmented, effort: int) -> Proposal:
    """A few steps of L-BFGS; ‖δv‖ is measured in the metric of the field's `rates`."""
    field, parameters = slot.field, slot.parameters
    start = [q.detach().clone() for q in parameters]
    rates = {id(q): rate for q, rate in field.rates()}
    z = slot.points
    with torch.no_grad():
        before = field(z)

    def value() -> Tensor:
        work = torch.stack([(v.p * (v.move(v.z) - v.z)).sum() for v in slot.visits]).sum() / slot.share
        total = 0.5 * h.weight * field.sqnorm() - work
        if h.penalty:
            change = (field(z) - before).square().sum() / len(z)
            for q, q0 in zip(parameters, start, strict=True):
                change = change + h.smoothness / rates[id(q)] * (q - q0).square().sum()
            total = total + 0.5 * h.penalty * change
        return total

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            total = value()
            total.backward()
        for q in parameters:
            q.grad = None if q.grad is None else q.grad.contiguous()
        return total.detach()

    optimizer = torch.optim.LBFGS(parameters, max_iter=effort, history_size=effort, line_search_fn="strong_wolfe")
    with torch.no_grad():
        first = float(value())
    optimizer.step(closure)
    with torch.no_grad():
        gain = first - float(value())
        found = [q.detach().clone() for q in parameters]
        for q, q0 in zip(parameters, start, strict=True):
            q.copy_(q0)
            q.grad = None
    return Proposal(found if gain > 0 else start, slot.share * max(gain, 0.0))
