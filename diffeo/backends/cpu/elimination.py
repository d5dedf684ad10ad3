"""Determinants and inverses of small matrices, by elimination with pivots: LAPACK is mostly overhead there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


@njit(**OPTIONS)
def determinant(m: Any) -> Any:
    """Det m; m, shape (d, d), is overwritten."""
    d, det = len(m), m[0, 0] * 0 + 1
    for k in range(d):
        pivot = k
        for r in range(k + 1, d):
            if abs(m[r, k]) > abs(m[pivot, k]):
                pivot = r
        if pivot != k:
            det = -det
            for s in range(k, d):
                m[k, s], m[pivot, s] = m[pivot, s], m[k, s]
        det *= m[k, k]
        if m[k, k] == 0:
            return det
        scale = 1 / m[k, k]
        for r in range(k + 1, d):
            factor = m[r, k] * scale
            for s in range(k + 1, d):
                m[r, s] -= factor * m[k, s]
    return det


@njit(**OPTIONS)
def inverted(m: Any, row: Any, pivots: Any, tiny: Any) -> Any:
    """Det m, and m⁻¹ in place of m.

    A pivot smaller than ``tiny`` is replaced by it: det times m⁻¹ is then still what it tends to where m is singular.

    Args:
        m: shape (d, d).
        row, pivots: shape (d,), of the dtype of m and of integers: room to work in.
        tiny: above 0.
    """
    d, det = len(m), m[0, 0] * 0 + 1
    for k in range(d):
        pivot = k
        for r in range(k + 1, d):
            if abs(m[r, k]) > abs(m[pivot, k]):
                pivot = r
        pivots[k] = pivot
        if pivot != k:
            det = -det
            for s in range(d):
                m[k, s], m[pivot, s] = m[pivot, s], m[k, s]
        if abs(m[k, k]) < tiny:
            m[k, k] = tiny
        det *= m[k, k]
        scale = 1 / m[k, k]
        m[k, k] = 1
        for s in range(d):
            row[s] = scale * m[k, s]
        for r in range(d):
            factor = m[r, k]
            m[r, k] = 0
            for s in range(d):
                m[r, s] -= factor * row[s]
        for s in range(d):
            m[k, s] = row[s]
    for k in range(d - 1, -1, -1):
        if pivots[k] != k:
            for r in range(d):
                m[r, k], m[r, pivots[k]] = m[r, pivots[k]], m[r, k]
    return det


@njit(**OPTIONS)
def determinants(matrices: Any, dets: Any, start: int, stop: int) -> None:
    """Of matrices of shape (n, d, d), from one to another, which are overwritten."""
    for i in range(start, stop):
        dets[i] = determinant(matrices[i])


@njit(**OPTIONS)
def invert(matrices: Any, dets: Any, tiny: Any, start: int, stop: int) -> None:
    """In place, for matrices of shape (n, d, d), from one to another."""
    d = matrices.shape[1]
    row, pivots = np.empty(d, matrices.dtype), np.empty(d, np.int64)
    for i in range(start, stop):
        dets[i] = inverted(matrices[i], row, pivots, tiny)
