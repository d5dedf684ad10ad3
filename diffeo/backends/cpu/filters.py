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
def slopes(values, weights, out, start, stop):
    """Σ_c w_c ∇f_c by central differences, into out (3, n0, n1, n2), for slabs start to stop."""
    count, n0, n1, n2 = values.shape
    half, one = values.dtype.type(0.5), values.dtype.type(1)
    for i in range(start, stop):
        before, after = max(i - 1, 0), min(i + 1, n0 - 1)
        si = half if after - before == 2 else one
        for j in range(n1):
            left, right = max(j - 1, 0), min(j + 1, n1 - 1)
            sj = half if right - left == 2 else one
            ox, oy, oz = out[0, i, j], out[1, i, j], out[2, i, j]
            ox[:] = 0
            oy[:] = 0
            oz[:] = 0
            for c in range(count):
                w, row = weights[c, i, j], values[c, i, j]
                a, b, d, e = values[c, before, j], values[c, after, j], values[c, i, left], values[c, i, right]
                for k in range(n2):
                    ox[k] += si * w[k] * (b[k] - a[k])
                    oy[k] += sj * w[k] * (e[k] - d[k])
                for k in range(1, n2 - 1):
                    oz[k] += half * w[k] * (row[k + 1] - row[k - 1])
                if n2 > 1:
                    oz[0] += w[0] * (row[1] - row[0])
                    oz[n2 - 1] += w[n2 - 1] * (row[n2 - 1] - row[n2 - 2])
