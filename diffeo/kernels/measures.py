"""Kernel products of measures: value and gradient in one pass (MATH.md §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffeo.backends import formulas
from diffeo.kernels.algebra import Radial
from diffeo.kernels.reductions import summer


@dataclass(frozen=True)
class Aligned:
    """o(z) = z: opposite directions cancel (currents)."""

    def jet(self, u: Any) -> tuple[Any, Any]:
        """o and o'."""
        return u, 1.0


@dataclass(frozen=True)
class Unoriented:
    """o(z) = z²: a direction and its opposite are the same (unoriented varifolds)."""

    def jet(self, u: Any) -> tuple[Any, Any]:
        """o and o'."""
        return u * u, 2 * u


@dataclass(frozen=True)
class Oriented:
    """o(z) = exp(2(z − 1)/τ²): a direction and its opposite are strangers (oriented varifolds).

    Args:
        width: τ, how far apart two unit vectors (as points of the sphere) may be and still count as alike.
    """

    width: float = 1.0

    def jet(self, u: Any) -> tuple[Any, Any]:
        """o and o'."""
        c = 2 / self.width**2
        o = (c * (u - 1.0)).exp()
        return o, c * o


Orientation = Aligned | Unoriented | Oriented


class _Inner(torch.autograd.Function):
    """Σ_ij w_i w'_j k(|c_i − c'_j|²) o(n_i·n'_j); the gradient in the first measure comes with the value."""

    @staticmethod
    def forward(ctx: Any, kernel: Radial, orientation: Orientation | None, factor: float, *measures: Any) -> Tensor:
        c, n, w, c2, n2, w2 = measures
        parts = potentials(kernel, orientation, c, n, c2, n2, w2)
        ctx.save_for_backward(*(t for t in (c, n, w, c2, n2, w2) if t is not None), *parts)
        ctx.kernel, ctx.orientation, ctx.factor, ctx.directed = kernel, orientation, factor, n is not None
        return (w * parts[0][:, 0]).sum()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (g,) = cotangents
        saved = list(ctx.saved_tensors)
        c, n, w, c2, n2, w2 = saved[:6] if ctx.directed else (saved[0], None, saved[1], saved[2], None, saved[3])
        if torch.is_grad_enabled():  # a second derivative was asked for
            if ctx.factor == 2.0:
                c2, n2, w2 = c, n, w  # of ⟨μ, μ⟩: the second side moves too
            parts = potentials(ctx.kernel, ctx.orientation, c, n, c2, n2, w2)
        else:
            parts = saved[6:] if ctx.directed else saved[4:]
        scale = g * ctx.factor
        grad_n = (scale * w)[:, None] * parts[2] if ctx.directed else None
        grads = [(scale * w)[:, None] * parts[1], grad_n, scale * parts[0][:, 0]]
        if any(ctx.needs_input_grad[6:]):
            back = potentials(ctx.kernel, ctx.orientation, c2, n2, c, n, w)
            grads += [(g * w2)[:, None] * back[1], (g * w2)[:, None] * back[2] if ctx.directed else None]
            grads += [g * back[0][:, 0]]
        else:
            grads += [None, None, None]
        return None, None, None, *grads


def potentials(
    kernel: Radial,
    orientation: Orientation | None,
    c: Tensor,
    n: Tensor | None,
    c2: Tensor,
    n2: Tensor | None,
    w2: Tensor,
) -> tuple[Tensor, ...]:
    """What the second measure exerts on each Dirac of the first: the value, and its gradients in c and n."""
    if orientation is None:
        return summer(kernel)(formulas.masses, (c,), (c2, w2[:, None]))
    assert n is not None
    assert n2 is not None
    return summer(kernel, orientation)(formulas.directed_masses, (c, n), (c2, n2, w2[:, None]))


Parts = tuple[Tensor, Tensor | None, Tensor]


def inner(kernel: Radial, orientation: Orientation | None, mu: Parts, nu: Parts) -> Tensor:
    """⟨μ, ν⟩ for measures as (centers (n, d), directions (n, d) or None, weights (n,)).

    With ``orientation`` None the directions are ignored. Differentiable in both measures.
    """
    mu, nu = undirected(orientation, mu), undirected(orientation, nu)
    return _Inner.apply(kernel, orientation, 1.0, *mu, *nu)


def square(kernel: Radial, orientation: Orientation | None, mu: Parts) -> Tensor:
    """⟨μ, μ⟩, with its gradient in one pass: the two sides' gradients are the same."""
    mu = undirected(orientation, mu)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in mu):
        frozen = tuple(None if t is None else t.detach() for t in mu)
        return _Inner.apply(kernel, orientation, 2.0, *mu, *frozen)
    return _Inner.apply(kernel, orientation, 1.0, *mu, *mu)


def undirected(orientation: Orientation | None, mu: Parts) -> Parts:
    """The measure, without its directions where they are not compared."""
    return (mu[0], None, mu[2]) if orientation is None else mu
