"""Local normalized correlation with its exact gradient, in one pass over the slabs of two images.

In windows W(y) around every point y, c = cov²/(var_a var_b). Its derivative in a(x) gathers the windows that contain x:

    Σ_{y: x ∈ W(y)} w_y (α_y (b(x) − b̄_y) − β_y (a(x) − ā_y)) / |W(y)|,   α = 2 cov/(var_a var_b),  β = α cov/var_a

so that it is b·S[α] − a·S[β] + S[β ā − α b̄], S summing over windows. Sums over a window are sums over rows, columns and
slabs; those of the slabs are kept in rings, so that everything stays in the cache, and direct sums of a few terms
vectorize and do not drift.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from diffeo.backends.cpu.interpolation import OPTIONS
from diffeo.backends.cpu.rows import across, add_pair, along, five


@njit(**OPTIONS)
def box(source, ones, padded, filtered, nothing, out):
    """Sums over a window of a slab (n1, n2): along its rows, then across them, into out."""
    n1, n2 = source.shape
    radius = len(ones) // 2
    for j in range(n1):
        padded[radius : radius + n2] = source[j]
        along(filtered[j], padded, ones)
    for j in range(n1):
        across(out[j], filtered, j - radius, nothing, ones, n1, n1)


@njit(**OPTIONS)
def sum_slabs(ring, low, high, nothing, ones, out):
    """Σ of the ring's slabs low ≤ s < high, each kept at s modulo the ring's length, into out (n,).

    Args:
        ring: (length, n), a slab being one long row; those that do not exist are left out of the sum.
    """
    length = len(ring)
    if length == 5 and high - low == 5:
        a, b, c = ring[low % 5], ring[(low + 1) % 5], ring[(low + 2) % 5]
        five(out, ones[0], ones[0], ones[0], a, b, c, ring[(low + 3) % 5], ring[(low + 4) % 5])
        return
    out[:] = ring[low % length]
    for s in range(low + 1, high):
        add_pair(out, ones[0], ring[s % length], nothing)


@njit(**OPTIONS)
def products(a, b, out):
    """a, b, a², b², ab of a slab, into out (5, n1, n2)."""
    n1, n2 = a.shape
    for j in range(n1):
        for k in range(n2):
            p, q = a[j, k], b[j, k]
            out[0, j, k], out[1, j, k] = p, q
            out[2, j, k], out[3, j, k], out[4, j, k] = p * p, q * q, p * q


@njit(**OPTIONS)
def coefficients(sums, counts, weights, floors, out):
    """α, β and β ā − α b̄ of a slab, times weight over count, into out (3, n1, n2); returns Σ weight · c."""
    n1, n2 = counts.shape
    zero, one, two = sums.dtype.type(0), sums.dtype.type(1), sums.dtype.type(2)  # whole numbers would make it double
    total = 0.0
    for j in range(n1):
        line = zero
        for k in range(n2):
            scale = one / counts[j, k]
            mean_a, mean_b = sums[0, j, k] * scale, sums[1, j, k] * scale
            var_a = max(sums[2, j, k] * scale - mean_a * mean_a, zero)
            var_b = max(sums[3, j, k] * scale - mean_b * mean_b, zero)
            covariance = sums[4, j, k] * scale - mean_a * mean_b
            weight = weights[j, k]
            over_a, over_b = one / (var_a + floors[0]), one / (var_b + floors[1])
            half = covariance * over_a * over_b
            squared = covariance * half
            line += weight * squared
            alpha = two * scale * weight * half
            beta = two * scale * weight * squared * over_a
            out[0, j, k], out[1, j, k] = alpha, beta
            out[2, j, k] = beta * mean_a - alpha * mean_b
        total += line
    return total


@njit(**OPTIONS)
def correlation(a, b, weights, radius, floors, gradient, values, start, stop):
    """Σ w_y c_y of the points y of every slab in start..stop, and the gradient in a over these slabs, of all windows.

    Args:
        a, b: images (n0, n1, n2), of mean about 0; b may be anything that a is to look like.
        weights: w, shape (n0, n1, n2), or (1, n1, n2) for the same in all slabs.
        floors: added to the variances.
        gradient: shape (n0, n1, n2).
        values: one per slab, (n0,), float64: their sum does not depend on who computed which.
    """
    n0, n1, n2 = a.shape
    length, dtype = 2 * radius + 1, a.dtype
    ring, outer = np.empty((5, length, n1 * n2), dtype), np.empty((3, length, n1 * n2), dtype)
    stack, sums = np.empty((5, n1, n2), dtype), np.empty((5, n1, n2), dtype)
    found, gathered = np.empty((3, n1, n2), dtype), np.empty((3, n1, n2), dtype)
    ones, padded, nothing = np.ones(length, dtype), np.zeros(n2 + 2 * radius, dtype), np.zeros(n1 * n2, dtype)
    filtered, counts, per_slab = np.empty((n1, n2), dtype), np.empty((n1, n2), dtype), np.empty((n1, n2), dtype)
    none = nothing[:n2]
    box(np.ones((n1, n2), dtype), ones, padded, filtered, none, per_slab)
    first, last = max(0, start - 2 * radius), min(n0, stop + 2 * radius)
    for s in range(first, last + 2 * radius):
        if s < last:
            products(a[s], b[s], stack)
            for c in range(5):
                box(stack[c], ones, padded, filtered, none, ring[c, s % length].reshape(n1, n2))
        y = s - radius  # the window's middle
        if max(0, start - radius) <= y < min(n0, stop + radius):
            low, high = max(0, y - radius), min(n0, y + radius + 1)
            for c in range(5):
                sum_slabs(ring[c], low, high, nothing, ones, sums[c].reshape(-1))
            depth = a.dtype.type(high - low)
            for j in range(n1):
                for k in range(n2):
                    counts[j, k] = per_slab[j, k] * depth
            value = coefficients(sums, counts, weights[y % weights.shape[0]], floors, found)
            if start <= y < stop:
                values[y] = value
            for c in range(3):
                box(found[c], ones, padded, filtered, none, outer[c, y % length].reshape(n1, n2))
        x = y - radius  # where the gradient is complete
        if start <= x < stop:
            low, high = max(0, x - radius), min(n0, x + radius + 1)
            for c in range(3):
                sum_slabs(outer[c], low, high, nothing, ones, gathered[c].reshape(-1))
            for j in range(n1):
                for k in range(n2):
                    gradient[x, j, k] = (
                        b[x, j, k] * gathered[0, j, k] - a[x, j, k] * gathered[1, j, k] + gathered[2, j, k]
                    )
