r"""Sums of kernels and of their derivatives, $v(x) = \sum_j k(x, y_j)\,b_j + w_j \nabla_{y_j} k(x, y_j)$.

The dipoles w are what divergences pair with: ⟨v, ∇_y k(·, y)⟩_V = div v(y). Differentiable in everything; where a graph
is being recorded, by torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffeo.backends import formulas
from diffeo.kernels.reductions import check_positions, summer

if TYPE_CHECKING:
    from diffeo.kernels.algebra import Radial


def value(kernel: Radial, x: Tensor, y: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """v(x), shape (n, d), for x of shape (n, d), y and b (m, d), w (m,)."""
    check_positions(x, y)
    return summer(kernel)(formulas.dipoles, (x,), (y, b, w[:, None]))[0]


def divergence(kernel: Radial, x: Tensor, y: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """div v(x), shape (n,)."""
    check_positions(x, y)
    rest, each = summer(kernel)(formulas.dipoles_divergence, (x,), (y, b, w[:, None]))
    return (rest + x.shape[1] * each)[:, 0]


def jacobian(kernel: Radial, x: Tensor, y: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """Dv(x), shape (n, d, d)."""
    check_positions(x, y)
    flat, each = summer(kernel)(formulas.dipoles_jacobian, (x,), (y, b, w[:, None]))
    d = x.shape[1]
    return flat.unflatten(1, (d, d)) + each[..., None] * torch.eye(d, dtype=x.dtype, device=x.device)
