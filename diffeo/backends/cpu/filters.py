"""Separable filters and differences in compiled loops, row by row so that they vectorize."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffeo.backends.cpu.interpolation import OPTIONS
from diffeo.backends.cpu.rows import across, along


@njit(**OPTIONS)
def filter_slabs(values, taps1, taps2, out, start, stop):
    """The last two axes of values (n0, n1, n2), for slabs start to stop."""
    n1, n2 = values.shape[1], values.shape[2]
    r2 = len(taps2) // 2
    filtered, nothing = np.empty((n1, n2), values.dtype), np.zeros(n2, values.dtype)
    padded = np.zeros(n2 + 2 * r2, values.dtype)
    for i in range(start, stop):
        for j in range(n1):
            padded[r2 : r2 + n2] = values[i, j]
            along(filtered[j], padded, taps2)
        for j in range(n1):
            across(out[i, j], filtered, j - len(taps1) // 2, nothing, taps1, n1)


@njit(**OPTIONS)
def filter_across(values, taps, out, start, stop):
    """The first axis of values (n0, n1, n2), for slabs start to stop; every slab is one long row."""
    n0, n1, n2 = values.shape
    rows, targets = values.reshape(n0, n1 * n2), out.reshape(n0, n1 * n2)
    nothing = np.zeros(n1 * n2, values.dtype)
    for i in range(start, stop):
        across(targets[i], rows, i - len(taps) // 2, nothing, taps, n0)


@njit(**OPTIONS)
def difference(u, axis, side, p, q, r):
    """The one-sided difference of u (n0, n1, n2) at a point along an axis: ahead (side 1) or behind."""
    n = u.shape[axis]
    if n == 1:
        return u.dtype.type(0)
    at = p if axis == 0 else q if axis == 1 else r
    low = at if (side == 1 and at < n - 1) or at == 0 else at - 1
    if axis == 0:
        return u[low + 1, q, r] - u[low, q, r]
    if axis == 1:
        return u[p, low + 1, r] - u[p, low, r]
    return u[p, q, low + 1] - u[p, q, low]


@njit(**OPTIONS)
def corner_determinants(u, out, start, stop):
    """The smallest determinant over the eight one-sided corners of i + u(i), for slabs start to stop."""
    n1, n2 = u.shape[2], u.shape[3]
    columns = np.empty((3, 2, 3), u.dtype)  # axis, side, component
    for p in range(start, stop):
        for q in range(n1):
            for r in range(n2):
                for axis in range(3):
                    for side in range(2):
                        for c in range(3):
                            columns[axis, side, c] = difference(u[c], axis, side, p, q, r) + (1 if c == axis else 0)
                least = np.inf
                for corner in range(8):
                    a, b, c = columns[0, corner & 1], columns[1, (corner >> 1) & 1], columns[2, corner >> 2]
                    det = (
                        a[0] * (b[1] * c[2] - b[2] * c[1])
                        - a[1] * (b[0] * c[2] - b[2] * c[0])
                        + a[2] * (b[0] * c[1] - b[1] * c[0])
                    )
                    least = min(least, det)
                out[p, q, r] = least
