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
