"""The way to an affine map: turned as it turns and stretched as it stretches, a part of both at a time.

The straight way to a large turn crushes everything halfway: that to a turn by π goes through a point.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

STEP = math.pi / 12  # within it the straight way shrinks by less than 1 %
STILL = 0.1  # directions that 1 − A shortens to less than that do not say where the center is


def turns(matrix: Tensor) -> int:
    """In how many steps to go, so that none turns by more than 15°; `matrix` has a positive determinant."""
    angles = [abs(math.atan2(block[1, 0], block[0, 0])) for block, _ in _planes(_polar(matrix)[0])]
    return max(1, math.ceil(max(angles, default=0.0) / STEP - 1e-9))


def way(matrix: Tensor, translation: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    r"""Affine maps at times t, of shape (T,), from the identity at 0 to φ(x) = A x + b at 1: (T, d, d) and (T, d).

    By the polar decomposition $A = R S$ the linear part is $R^t S^t$, of positive determinant at all times. What it
    turns about is the point that φ moves least, and this one goes straight: where coordinates begin does not matter,
    but for directions that φ hardly changes; along these the point is the one nearest to the origin.
    """
    rotation, values, axes = _polar(matrix)
    d, t = len(values), times.double()[:, None, None]
    turned = torch.zeros(len(times), d, d, dtype=torch.float64)
    for block, basis in _planes(rotation):
        angle = math.atan2(block[1, 0], block[0, 0]) * t
        part = torch.cat([torch.cat([angle.cos(), -angle.sin()], 2), torch.cat([angle.sin(), angle.cos()], 2)], 1)
        turned += basis @ part[:, : basis.shape[1], : basis.shape[1]] @ basis.T
    linear = turned @ (axes * values**t) @ axes.T
    u, sizes, v = torch.linalg.svd(torch.eye(d, dtype=torch.float64) - matrix.double().cpu())
    known = sizes > STILL
    center = v[known].T @ ((u.T @ translation.double().cpu())[known] / sizes[known])
    drift = matrix.double().cpu() @ center + translation.double().cpu() - center
    return linear, center + t[:, 0] * drift - linear @ center


def _polar(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rotation R and the stretches of S along the columns of an orthogonal matrix, float64, on the CPU."""
    u, values, v = torch.linalg.svd(matrix.double().cpu())
    return u @ v, values, v.T


def _planes(rotation: Tensor) -> list[tuple[np.ndarray, Tensor]]:
    """Planes that a rotation turns, by a block (2, 2) each, and axes that it leaves: orthonormal bases (d, 2 or 1)."""
    from scipy.linalg import schur  # slow to import, and seldom needed

    form, vectors = schur(rotation.numpy(), output="real")[:2]
    flipped, found, k = [], [], 0
    basis = torch.as_tensor(vectors)
    while k < len(form):
        if k + 1 < len(form) and form[k + 1, k] != 0:
            found.append((form[k : k + 2, k : k + 2], basis[:, k : k + 2]))
            k += 2
            continue
        if form[k, k] < 0:
            flipped.append(k)
        else:
            found.append((np.eye(2), basis[:, [k]]))
        k += 1
    return found + [(-np.eye(2), basis[:, list(pair)]) for pair in zip(flipped[::2], flipped[1::2], strict=True)]
