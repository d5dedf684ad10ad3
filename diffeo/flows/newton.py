"""Equations solved point by point: what inverses are found by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def newton(function: Callable[[Tensor], tuple[Tensor, Tensor]], y: Tensor, guess: Tensor) -> Tensor:
    """The x with f(x) = y, where ``function`` gives f and Df; every point is damped on its own."""
    x = guess
    value, jacobian = function(x)
    residual = (value - y).norm(dim=1)
    tolerance = 16 * torch.finfo(y.dtype).eps * (1 + y.abs().amax(1) + (value - guess).norm(dim=1))
    damping = torch.ones_like(residual)
    for _ in range(60):
        if bool((residual <= tolerance).all()):
            break
        move = torch.linalg.solve_ex(jacobian, (value - y)[..., None])[0][..., 0]  # not finite where it is singular
        trial = x - torch.where(residual > tolerance, damping, 0.0)[:, None] * move
        trial_value, trial_jacobian = function(trial)
        trial_residual = (trial_value - y).norm(dim=1)
        better = trial_residual < residual
        x = torch.where(better[:, None], trial, x)
        value = torch.where(better[:, None], trial_value, value)
        jacobian = torch.where(better[:, None, None], trial_jacobian, jacobian)
        residual = torch.where(better, trial_residual, residual)
        damping = torch.where(better, (2 * damping).clamp(max=1), damping / 2)
        if bool((damping[residual > tolerance] < 1e-4).all()):
            break  # rounding errors, or a fold: decided below
    if not bool((residual <= 1e3 * tolerance).all()):
        worst = float(residual.max())
        raise ArithmeticError(
            f"the inverse of a layer was not found at {int((residual > 1e3 * tolerance).sum())} of {len(y)} points "
            f"(residual up to {worst:.2g}): the layer folds there, or takes too large a step. Use more steps."
        )
    folded = int((torch.linalg.det(jacobian) <= 0).sum())
    if folded:
        raise ArithmeticError(f"a layer folds at {folded} of {len(y)} points and has no inverse there. Use more steps.")
    return x
