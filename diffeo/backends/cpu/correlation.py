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


@njit(**OPTIONS)
def box_rows(source, radius, buffer, out):
    """Sums over 2·radius + 1 neighbors along the rows of a slab (n1, n2), then along its columns, into out."""
    n1, n2 = source.shape
    for j in range(n1):
        row, target = source[j], buffer[j]
        for k in range(n2):
            target[k] = row[k]
        for t in range(1, radius + 1):
            for k in range(n2 - t):
                target[k] += row[k + t]
            for k in range(t, n2):
                target[k] += row[k - t]
    for j in range(n1):
        target = out[j]
        low, high = max(0, j - radius), min(n1, j + radius + 1)
        first = buffer[low]
        for k in range(n2):
            target[k] = first[k]
        for s in range(low + 1, high):
            row = buffer[s]
            for k in range(n2):
                target[k] += row[k]


@njit(**OPTIONS)
def sum_slabs(ring, low, high, out):
    """Σ of the ring's slabs low ≤ s < high, each kept at s modulo the ring's length, shape (count, n1, n2) each."""
    length = ring.shape[0]
    count, n1, n2 = out.shape
    for c in range(count):
        for j in range(n1):
            target = out[c, j]
            first = ring[low % length, c, j]
            for k in range(n2):
                target[k] = first[k]
            for s in range(low + 1, high):
                row = ring[s % length, c, j]
                for k in range(n2):
                    target[k] += row[k]


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
def correlation(a, b, weights, radius, floors, gradient, start, stop):
    """Σ_y w_y c_y over slabs y in start..stop, and the gradient in a over the same slabs, of all windows.

    Args:
        a, b: images (n0, n1, n2), of mean about 0; b may be anything that a is to look like.
        weights: w, shape (n0, n1, n2), or (1, n1, n2) for the same in all slabs.
        floors: added to the variances.
        gradient: shape (n0, n1, n2).
    """
    n0, n1, n2 = a.shape
    ring = np.empty((2 * radius + 1, 5, n1, n2), a.dtype)
    outer = np.empty((2 * radius + 1, 3, n1, n2), a.dtype)
    buffer = np.empty((n1, n2), a.dtype)
    stack, sums = np.empty((5, n1, n2), a.dtype), np.empty((5, n1, n2), a.dtype)
    found, gathered = np.empty((3, n1, n2), a.dtype), np.empty((3, n1, n2), a.dtype)
    flat, counts = np.ones((n1, n2), a.dtype), np.empty((n1, n2), a.dtype)
    box_rows(flat, radius, buffer, counts)
    per_slab = counts.copy()
    total = 0.0
    for s in range(max(0, start - 2 * radius), min(n0, stop + 2 * radius) + 2 * radius):
        if s < min(n0, stop + 2 * radius):
            products(a[s], b[s], stack)
            for c in range(5):
                box_rows(stack[c], radius, buffer, ring[s % (2 * radius + 1), c])
        y = s - radius  # the window's middle
        if max(0, start - radius) <= y < min(n0, stop + radius):
            low, high = max(0, y - radius), min(n0, y + radius + 1)
            sum_slabs(ring, low, high, sums)
            depth = a.dtype.type(high - low)
            for j in range(n1):
                for k in range(n2):
                    counts[j, k] = per_slab[j, k] * depth
            value = coefficients(sums, counts, weights[y % weights.shape[0]], floors, found)
            if start <= y < stop:
                total += value
            for c in range(3):
                box_rows(found[c], radius, buffer, outer[y % (2 * radius + 1), c])
        x = y - radius  # where the gradient is complete
        if start <= x < stop:
            sum_slabs(outer, max(0, x - radius), min(n0, x + radius + 1), gathered)
            for j in range(n1):
                for k in range(n2):
                    gradient[x, j, k] = (
                        b[x, j, k] * gathered[0, j, k] - a[x, j, k] * gathered[1, j, k] + gathered[2, j, k]
                    )
    return total
