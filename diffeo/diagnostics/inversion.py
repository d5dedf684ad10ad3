r"""The inverse by fixed points: $x \leftarrow y - g(x)$ in every layer id + g, at the certified rate.

`Diffeo.inverse` solves by Newton's method, which is faster where derivatives are cheap and needs no certificate. This
needs values only, and how many iterations it takes is known before: with Lip(g) ≤ r < 1 the error after j of them is at
most $r^j/(1 - r)\,|x_1 - x_0|$.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.diagnostics.certificates import certificate
from diffeo.flows.layered import Layered
from diffeo.flows.layers import Layer


class FixedPoint(NamedTuple):
    """An inverse found by fixed points; per layer, in the order of the map."""

    x: Tensor
    """φ⁻¹(y), shape (n, d)."""
    certified: Tensor
    """The rate r_k that is proven, shape (L,)."""
    measured: Tensor
    """The largest ratio of one correction to that before it, over all points and iterations, shape (L,)."""
    iterations: Tensor
    """How many were needed, integers of shape (L,)."""


@torch.no_grad()
def fixed_point_inverse(phi: Layered, y: Tensor, tolerance: float | None = None) -> FixedPoint:
    """φ⁻¹(y) by fixed points, every layer to an error that is certified to lie below a tolerance.

    Args:
        phi: a map of layers that are all certified.
        y: points, shape (n, d).
        tolerance: of each layer, in length units; if left out, 64 rounding units of the largest coordinate.

    Raises: ValueError where a layer is not certified, or the map not made of layers.
    """
    layers, bounds = _certified(phi)
    if tolerance is None:
        tolerance = 64 * torch.finfo(y.dtype).eps * ((float(y.abs().max()) if y.numel() else 0.0) or 1.0)
    measured, iterations = [], []
    for layer, bound in zip(reversed(layers), reversed(bounds), strict=True):
        y, rate, count = _undo(layer, y, bound, tolerance)
        measured.append(rate)
        iterations.append(count)
    certified, measured = (torch.tensor(rates, dtype=torch.float64) for rates in (bounds, measured[::-1]))
    return FixedPoint(y, certified, measured, torch.tensor(iterations[::-1]))


def _certified(phi: Diffeo) -> tuple[list[Layer], list[float]]:
    if not isinstance(phi, Layered):
        raise ValueError(f"fixed_point_inverse expects a map made of layers, and got a {type(phi).__name__}.")
    bounds = [bound.residual for bound in certificate(phi).bounds]
    loose = [k for k, r in enumerate(bounds) if not r < 1]
    if loose:
        raise ValueError(
            f"{len(loose)} of {len(bounds)} layers are not certified to be invertible: Lip(layer − id) is known "
            f"to be at most {bounds[loose[0]]:.3g} for layer {loose[0]}, not below 1. Use phi.inverse, more layers, or "
            "Contractive fields."
        )
    return phi.layers(), bounds


def _undo(layer: Layer, y: Tensor, r: float, tolerance: float) -> tuple[Tensor, float, int]:
    """One layer: the solution, the measured rate, the number of iterations."""
    x = 2 * y - layer(y)
    before, rate, count = (x - y).norm(dim=1), 0.0, 1
    most = _needed(float(before.max()) if len(y) else 0.0, r, tolerance)
    # |x − φ⁻¹(y)| ≤ r/(1 − r) · the last correction
    while count < most and r / (1 - r) * float(before.max()) > tolerance:
        new = y - (layer(x) - x)
        change = (new - x).norm(dim=1)
        large = before > 1e3 * tolerance  # below, ratios are those of rounding errors
        if bool(large.any()):
            rate = max(rate, float((change / before)[large].max()))
        x, before, count = new, change, count + 1
    return x, rate, count


def _needed(first: float, r: float, tolerance: float) -> int:
    """How many iterations bring the error below the tolerance, known from the first correction."""
    if first * r / (1 - r) <= tolerance:
        return 1
    return 1 + math.ceil(math.log(tolerance * (1 - r) / first) / math.log(r))
