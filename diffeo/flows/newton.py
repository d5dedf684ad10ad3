"""Equations solved point by point: what inverses are found by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x to f(x), shape (n, d), and Df(x), shape (n, d, d)."""

NUMBERS = 2**20  # of the matrices that are computed at a time: more would not stay in the caches of a processor


def newton(function: Map, y: Tensor, guess: Tensor, together: bool = False, unit: float = 1.0) -> Tensor:
    """The x with f(x) = y, where ``function`` gives f and Df; every point is damped on its own.

    Args:
        function: f with Df.
        y, guess: shape (n, d).
        together: what the function makes of a point depends a little on the others: always ask for all of them.
        unit: the length that roundings are counted from besides a point's own coordinates (see `rounding.unit`).

    Raises: ArithmeticError where no solution is found, or one with a non-positive determinant.
    """
    whole = together or y.device.type != "cpu"
    size = max(1, len(y)) if whole else max(64, NUMBERS // max(1, y.shape[1] ** 2))
    parts = zip(y.split(size), guess.split(size), strict=True)
    found = [attempted(function, target, start, together, unit) for target, start in parts]
    x, missed, dets = (torch.cat(columns) for columns in zip(*found, strict=True))
    lost = int((~(missed <= 1e3)).sum())
    if lost:
        raise ArithmeticError(
            f"the inverse of a layer was not found at {lost} of {len(y)} points (off by {float(missed.max()):.2g} "
            "times what rounding explains): the layer folds there, or takes too large a step. Use more steps."
        )
    folded = int((dets <= 0).sum())
    if folded:
        raise ArithmeticError(f"a layer folds at {folded} of {len(y)} points and has no inverse there. Use more steps.")
    return x


def attempted(
    function: Map, y: Tensor, x: Tensor, together: bool = False, unit: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """x, how far its image is from y in units of what rounding explains, and det Df(x): points that are done leave."""
    value, jacobian = function(x)
    residual = (value - y).norm(dim=1)
    tolerance = 16 * torch.finfo(y.dtype).eps * (unit + y.abs().amax(1) + (value - x).norm(dim=1))
    found, missed, dets = torch.empty_like(y), torch.empty_like(residual), torch.empty_like(residual)
    damping, index = torch.ones_like(residual), torch.arange(len(y), device=y.device)
    for round in range(60):
        # a point is given up where shorter and shorter moves do not help: by rounding errors, or a fold
        done = (residual <= tolerance) | (damping < 1e-4) | (round == 59)
        if bool(done.all() if together else done.any()):
            out, last, matrices = index[done], (value - y)[done], jacobian[done]
            missed[out], dets[out] = (residual / tolerance)[done], determinant(matrices)
            close = (residual <= tolerance)[done, None]  # a last move, with what is known, squares the error
            found[out] = x[done] - torch.where(close & (not together), solution(matrices, last), 0.0)
            state = (x, y, value, jacobian, residual, tolerance, damping, index)
            x, y, value, jacobian, residual, tolerance, damping, index = (t[~done] for t in state)
        if not len(index):
            break
        trial = x - torch.where(residual > tolerance, damping, 0.0)[:, None] * solution(jacobian, value - y)
        trial_value, trial_jacobian = function(trial)
        trial_residual = (trial_value - y).norm(dim=1)
        better = trial_residual < residual
        x = torch.where(better[:, None], trial, x)
        value = torch.where(better[:, None], trial_value, value)
        jacobian = torch.where(better[:, None, None], trial_jacobian, jacobian)
        residual = torch.where(better, trial_residual, residual)
        damping = torch.where(better, (2 * damping).clamp(max=1), damping / 2)
    return found, missed, dets


def determinant(matrices: Tensor) -> Tensor:
    """det A, shape (n,), of matrices A, shape (n, d, d); up to three rows by the formula, which is much faster."""
    d = matrices.shape[-1]
    if d == 1:
        return matrices[..., 0, 0]
    if d == 2:
        return matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]
    if d == 3:
        return (matrices[..., 0] * torch.linalg.cross(matrices[..., 1], matrices[..., 2], dim=-1)).sum(-1)
    return torch.linalg.det(matrices)


def solution(matrices: Tensor, b: Tensor) -> Tensor:
    """A⁻¹b, shape (n, d), by the formula up to three rows; not finite where A is singular."""
    d = b.shape[1]
    if d > 3:
        return torch.linalg.solve_ex(matrices, b[..., None])[0][..., 0]
    det = determinant(matrices)
    columns = list(matrices.unbind(-1))
    replaced = [torch.stack([*columns[:k], b, *columns[k + 1 :]], -1) for k in range(d)]  # Cramer's rule
    return torch.stack([determinant(m) / det for m in replaced], 1)
