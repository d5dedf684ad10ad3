"""Separable filters and differences in compiled loops, row by row so that they vectorize."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffeo.backends.cpu.interpolation import OPTIONS
from diffeo.backends.cpu.rows import across, along


@njit(**OPTIONS)
def filter_slab(slab, taps1, taps2, padded, filtered, nothing, out):
    """Both axes of a slab (n1, n2), into out."""
    n1, n2 = slab.shape
    r2 = len(taps2) // 2
    for j in range(n1):
        padded[r2 : r2 + n2] = slab[j]
        along(filtered[j], padded, taps2)
    for j in range(n1):
        across(out[j], filtered, j - len(taps1) // 2, nothing[:n2], taps1, n1, n1)


@njit(**OPTIONS)
def separable(values, taps0, taps1, taps2, out, start, stop):
    """All axes of values (n0, n1, n2), for slabs start to stop: slabs first, of which a ring stays in the cache."""
    n0, n1, n2 = values.shape
    r0 = len(taps0) // 2
    length = 2 * r0 + 1
    ring = np.empty((length, n1 * n2), values.dtype)
    padded, filtered = np.zeros(n2 + len(taps2) - 1, values.dtype), np.empty((n1, n2), values.dtype)
    nothing = np.zeros(n1 * n2, values.dtype)
    for s in range(max(0, start - r0), stop + r0):
        if s < n0:
            filter_slab(values[s], taps1, taps2, padded, filtered, nothing, ring[s % length].reshape(n1, n2))
        i = s - r0
        if start <= i < stop:
            across(out[i].reshape(-1), ring, i - r0, nothing, taps0, n0, length)


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
