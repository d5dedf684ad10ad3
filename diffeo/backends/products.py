"""Values and Jacobians of kernel fields in many dimensions by matrix products, with their derivatives.

For v(x) = Σ_j k a_j the Jacobian Σ_j 2k' a_j (x − c_j)ᵀ is (Σ_j 2k' a_j) xᵀ − Σ_j 2k' a_jc_jᵀ: a product of matrices of
n × m and m × d² numbers, which processors do at full speed. Positions are seen from the middle of the controls, so that
little is lost in the difference. Given g = ∂/∂v and G = ∂/∂Dv, a pair contributes k a·g + 2k' aᵀG(x − c).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.backends.formulas import Jet


class Seen(NamedTuple):
    """Positions and controls from the middle of the controls, and what is needed of their distances.

    Attributes:
        x, c: shape (n, d) and (m, d).
        jets: k, k' and k'' of all pairs, shape (n, m).
        outer: a_j c_jᵀ, shape (m, d²).
    """

    x: Tensor
    c: Tensor
    jets: tuple[Tensor, Tensor, Tensor]
    outer: Tensor


def seen(jet: Jet, x: Tensor, c: Tensor, a: Tensor) -> Seen:
    """What both directions need."""
    middle = c.mean(0)
    x, c = x - middle, c - middle
    k, k1, k2 = jet.jet(squares(x, c))
    return Seen(x, c, (k, k1, k2), (a[:, :, None] * c[:, None, :]).flatten(1))


def squares(x: Tensor, c: Tensor) -> Tensor:
    """|x_i − c_j|², shape (n, m); in float64 by a product, too, which leaves digits enough where all are about 0."""
    if x.dtype != torch.float64:
        return torch.cdist(x, c, compute_mode="donot_use_mm_for_euclid_dist").square_()
    lengths = x.square().sum(1, keepdim=True) + c.square().sum(1)
    return torch.addmm(lengths, x, c.T, alpha=-2).clamp_(min=0)


def evaluate(pairs: Seen, a: Tensor) -> tuple[Tensor, Tensor]:
    """v, shape (n, e), and Dv, shape (n, e, d)."""
    k, k1, _ = pairs.jets
    slopes = 2 * k1
    jacobian = (slopes @ a)[:, :, None] * pairs.x[:, None, :]
    jacobian.flatten(1).addmm_(slopes, pairs.outer, alpha=-1)
    return k @ a, jacobian


def pull(pairs: Seen, a: Tensor, g: Tensor, G: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients in x, c and a of Σ_i g_i·v(x_i) + ⟨G_i, Dv(x_i)⟩, for g of shape (n, e) and G of (n, e, d)."""
    x, c, (k, k1, k2), outer = pairs
    slopes, flat = 2 * k1, G.flatten(1)
    turned = torch.bmm(G, x[:, :, None])[:, :, 0]  # G x
    along = torch.addmm(turned @ a.T, flat, outer.T, alpha=-1)  # aᵀG(x − c)
    weights = slopes * (g @ a.T) + 4 * k2 * along
    g_x = weights.sum(1, keepdim=True) * x - weights @ c
    g_x += torch.bmm((slopes @ a)[:, None, :], G)[:, 0]
    summed = (slopes.T @ flat).unflatten(1, G.shape[1:])  # Σ_i 2k' G_i, for every control
    g_c = weights.sum(0)[:, None] * c - weights.T @ x - torch.bmm(a[:, None, :], summed)[:, 0]
    g_a = k.T @ g + slopes.T @ turned - torch.bmm(summed, c[:, :, None])[:, :, 0]
    return g_x, g_c, g_a
