"""First and second derivatives of an objective in the metric ∫‖v_t‖²_V dt, as `Diffeo.rates` gives it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Diffeo, Field, Loss, objective

Pairs = Sequence[tuple[Any, Any]]


def unknowns(module: Field | Diffeo) -> list[tuple[nn.Parameter, float]]:
    """What is trained, with its rates: all that has one where nothing requires a gradient."""
    rates = module.rates()
    return [(p, rate) for p, rate in rates if p.requires_grad] or rates


@contextmanager
def requiring(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Gradients in the parameters, whether they are being trained or not."""
    before = [p.requires_grad for p in parameters]
    try:
        for p in parameters:
            p.requires_grad_()
        with torch.enable_grad():
            yield
    finally:
        for p, was in zip(parameters, before, strict=True):
            p.requires_grad_(was)


def gradient_in_v(phi: Diffeo, pairs: Pairs, loss: Loss, weight: float = 0.0) -> tuple[float, float]:
    """J, and the norm of its gradient in V."""
    parameters, rates = zip(*unknowns(phi), strict=True)
    with requiring(parameters):
        total = objective(phi, pairs, loss, weight).total
        found = torch.autograd.grad(total, parameters, materialize_grads=True, allow_unused=True)
    square = sum(rate * float(g.double().square().sum()) for g, rate in zip(found, rates, strict=True))
    return float(total.detach()), math.sqrt(square)


def curvature(phi: Diffeo, pairs: Pairs, loss: Loss, weight: float = 0.0, *, iterations: int = 30) -> float:
    """β, the largest eigenvalue (in modulus) of the Hessian of J in V: gradient descent needs a rate below 2/β.

    By the power method from a fixed start: the value found approaches β from below.
    """
    parameters, rates = zip(*unknowns(phi), strict=True)
    draw = torch.Generator().manual_seed(0)
    # In coordinates θ/√rate the metric is Euclidean.
    direction = [torch.randn(p.shape, generator=draw, dtype=torch.float64).to(p) for p in parameters]
    found = 0.0
    with requiring(parameters):
        total = objective(phi, pairs, loss, weight).total
        gradients = torch.autograd.grad(total, parameters, create_graph=True, materialize_grads=True, allow_unused=True)
        for _ in range(iterations):
            size = math.sqrt(sum(float(v.double().square().sum()) for v in direction))
            if not size > 0:
                break
            scaled = [rate**0.5 * v / size for v, rate in zip(direction, rates, strict=True)]
            image = torch.autograd.grad(
                gradients, parameters, scaled, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            direction = [rate**0.5 * g for g, rate in zip(image, rates, strict=True)]
            found = math.sqrt(sum(float(v.double().square().sum()) for v in direction))
    return found
