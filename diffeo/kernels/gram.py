"""Kernel matrices that are stored, in float64: what linear systems are solved with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from diffeo.kernels.algebra import Radial

BLOCK = 1 << 18  # entries computed at a time: they stay in the cache of a processor
ON_DEVICES = 1 << 6  # times as many where each of a few launches must be worth it
ROUNDING = 8 * torch.finfo(torch.float64).eps  # of squared distances, relative to squares of positions: less is none


def lower(kernel: Radial, x: Tensor) -> Tensor:
    """K(x, x) for x of shape (n, d), float64; nothing that means anything is above its diagonal blocks."""
    x = x - x.mean(0)
    matrix = x.new_zeros(len(x), len(x))
    for rows in _blocks(x, len(x)):
        _values(kernel, x[rows], x[: rows.stop], matrix[rows, : rows.stop])
    matrix.diagonal().fill_(kernel.at_zero)
    return matrix


def rows(kernel: Radial, x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """K(x, y) for x of shape (n, d), y (m, d), some rows at a time, float64."""
    center = y.mean(0)
    x, y = x - center, y - center
    for part in _blocks(x, len(y)):
        yield part, _values(kernel, x[part], y, x.new_empty(len(x[part]), len(y)))


def pulled(kernel: Radial, x: Tensor, weights: Callable[[slice], Tensor]) -> Tensor:
    """The gradient in x of Σ_ij G_ij k(|x_i − x_j|²) for a symmetric G: 4 Σ_j G_ij k' (x_i − x_j), shape (n, d).

    Args:
        kernel: of which k' exists but perhaps at 0.
        x: positions, shape (n, d), float64.
        weights: gives some rows of G.
    """
    x = x - x.mean(0)
    gradient = torch.empty_like(x)
    for part in _blocks(x, len(x)):
        u = _squares(x[part], x)
        slopes = kernel.jet(u)[1] * weights(part)
        slopes.masked_fill_(u == 0, 0.0)  # D = 0, whatever k' is there
        gradient[part] = 4 * (slopes.sum(1, keepdim=True) * x[part] - slopes @ x)
    return gradient


def pulled_terms(
    terms: Sequence[tuple[float, float, Radial]], x: Tensor, weights: Callable[[slice], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of Σ_ij G_ij Σ_m w_m k_m(|x_i − x_j|²/s_m²) in x, (n, d), in log w and in log s, (terms,).

    Args:
        terms: (w, s, k), k' existing but perhaps at 0.
        x: positions, shape (n, d), float64.
        weights: gives some rows of the symmetric G.
    """
    x = x - x.mean(0)
    in_x, in_weights, in_scales = torch.empty_like(x), x.new_zeros(len(terms)), x.new_zeros(len(terms))
    for part in _blocks(x, len(x)):
        u, some = _squares(x[part], x), weights(part)
        total = torch.zeros_like(u)
        for m, (weight, scale, kernel) in enumerate(terms):
            k, slope, _ = kernel.jet(u / scale**2)
            in_weights[m] += weight * (some * k).sum()
            slope = (weight / scale**2) * slope * some
            slope.masked_fill_(u == 0, 0.0)  # D = 0, whatever k' is there
            total += slope
            in_scales[m] -= 2 * (slope * u).sum()
        in_x[part] = 4 * (total.sum(1, keepdim=True) * x[part] - total @ x)
    return in_x, in_weights, in_scales


def _blocks(x: Tensor, m: int) -> list[slice]:
    n, entries = len(x), BLOCK if x.device.type == "cpu" else BLOCK * ON_DEVICES
    size = max(1, entries // m)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """|x_i − y_j|², by one matrix product: in float64, and centered, that leaves digits enough."""
    xx, yy = x.square().sum(1), y.square().sum(1)
    u = torch.addmm(yy, x, y.T, alpha=-2).add_(xx[:, None])
    least = ROUNDING * float(torch.maximum(xx.max(), yy.max()))
    return torch.nn.functional.threshold(u, least, 0.0, inplace=True)


def _values(kernel: Radial, x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    return out.copy_(kernel.jet(_squares(x, y))[0])
