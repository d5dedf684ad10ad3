"""Lipschitz constants of fields made of plane waves."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-30  # under roots, whose derivative at 0 is then 0 and not NaN


def spectral_norm(matrix: Tensor) -> Tensor:
    """The largest singular value of a matrix, shape (m, d), d being small; differentiable at 0, too."""
    return (torch.linalg.eigvalsh(matrix.T @ matrix)[-1].clamp(min=0) + TINY).sqrt()


def product_bound(vectors: Tensor, directions: Tensor) -> Tensor:
    r"""A bound of $\|\sum_m s_m \theta_m w_m^\top\|$ for all numbers |s_m| ≤ 1.

    The smaller one of $\|\Theta\|\,\|W\|$ and the same product after every pair $(\theta_m, w_m)$ is balanced, made
    equally long without a change of its product, which never exceeds $\sum_m |\theta_m|\,|w_m|$.

    Args:
        vectors: θ, shape (M, d).
        directions: w, shape (M, d).
    """
    factor = balance(vectors, directions)
    balanced = spectral_norm(factor * vectors) * spectral_norm(directions / factor)
    return torch.minimum(spectral_norm(vectors) * spectral_norm(directions), balanced)


def balance(vectors: Tensor, directions: Tensor) -> Tensor:
    """c, shape (M, 1), with |c_m θ_m| = |w_m / c_m|, for θ of shape (M, e) and w of shape (M, d)."""
    return (_lengths(directions) / _lengths(vectors)).sqrt()


def waves_bound(vectors: Tensor, directions: Tensor, slopes: tuple[float, float]) -> Tensor:
    r"""A bound of $\|\sum_m s_m \theta_m w_m^\top\|$ for all s_m between the two slopes, in terms of their middle.

    Args:
        vectors: θ, shape (M, d).
        directions: w, shape (M, d).
        slopes: the smallest and the largest s.
    """
    low, high = slopes
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    return abs(middle) * spectral_norm(vectors.T @ directions) + half * product_bound(vectors, directions)


def _lengths(matrix: Tensor) -> Tensor:
    """Those of the rows, shape (M, 1), never quite 0."""
    return (matrix.square().sum(1, keepdim=True) + TINY).sqrt()
