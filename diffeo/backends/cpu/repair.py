"""Corner determinants of a displacement, and local smoothing where they are too small."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffeo.backends.cpu.interpolation import OPTIONS


@njit(inline="always", **OPTIONS)
def differences(u, c, p, q, r, shape):
    """The six one-sided differences of one component at a point: ahead and behind along each axis."""
    n0, n1, n2 = shape
    here, zero = u[c, p, q, r], u.dtype.type(0)
    a = u[c, p + 1, q, r] - here if p + 1 < n0 else zero
    b = here - u[c, p - 1, q, r] if p > 0 else a
    d = u[c, p, q + 1, r] - here if q + 1 < n1 else zero
    e = here - u[c, p, q - 1, r] if q > 0 else d
    f = u[c, p, q, r + 1] - here if r + 1 < n2 else zero
    g = here - u[c, p, q, r - 1] if r > 0 else f
    return a if p + 1 < n0 else b, b, d if q + 1 < n1 else e, e, f if r + 1 < n2 else g, g


@njit(inline="always", **OPTIONS)
def cross_dot(a0, a1, a2, b0, b1, b2, c0, c1, c2):
    """The determinant with the columns a, b, c."""
    return a0 * (b1 * c2 - b2 * c1) - a1 * (b0 * c2 - b2 * c0) + a2 * (b0 * c1 - b1 * c0)


@njit(inline="always", **OPTIONS)
def corners(u, p, q, r, shape):
    """The eight corner determinants of i + u(i) at a point."""
    one = u.dtype.type(1)
    xa, xb, xd, xe, xf, xg = differences(u, 0, p, q, r, shape)
    ya, yb, yd, ye, yf, yg = differences(u, 1, p, q, r, shape)
    za, zb, zd, ze, zf, zg = differences(u, 2, p, q, r, shape)
    xa, xb, yd, ye, zf, zg = one + xa, one + xb, one + yd, one + ye, one + zf, one + zg
    return (
        cross_dot(xa, ya, za, xd, yd, zd, xf, yf, zf),
        cross_dot(xa, ya, za, xd, yd, zd, xg, yg, zg),
        cross_dot(xa, ya, za, xe, ye, ze, xf, yf, zf),
        cross_dot(xa, ya, za, xe, ye, ze, xg, yg, zg),
        cross_dot(xb, yb, zb, xd, yd, zd, xf, yf, zf),
        cross_dot(xb, yb, zb, xd, yd, zd, xg, yg, zg),
        cross_dot(xb, yb, zb, xe, ye, ze, xf, yf, zf),
        cross_dot(xb, yb, zb, xe, ye, ze, xg, yg, zg),
    )


@njit(inline="always", **OPTIONS)
def least_corner(u, p, q, r, shape):
    """The smallest of the eight corner determinants of i + u(i) at a point."""
    a, b, c, d, e, f, g, h = corners(u, p, q, r, shape)
    return min(min(min(a, b), min(c, d)), min(min(e, f), min(g, h)))


@njit(inline="always", **OPTIONS)
def greatest_corner(u, p, q, r, shape):
    """The largest of them."""
    a, b, c, d, e, f, g, h = corners(u, p, q, r, shape)
    return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))


@njit(**OPTIONS)
def corner_determinants(u, out, largest, start, stop):
    """The smallest, or the largest, corner determinant at every point of u (3, n0, n1, n2), for slabs start to stop."""
    shape = u.shape[1:]
    for p in range(start, stop):
        for q in range(shape[1]):
            for r in range(shape[2]):
                if largest:
                    out[p, q, r] = greatest_corner(u, p, q, r, shape)
                else:
                    out[p, q, r] = least_corner(u, p, q, r, shape)


@njit(inline="always", **OPTIONS)
def at_end(k, n):
    """Whether an axis of more than one point ends at this one."""
    return n > 1 and (k == 0 or k == n - 1)


@njit(**OPTIONS)
def relax(u, p, q, r, shape):
    """Move u at a point halfway to the mean of its neighbors; beyond the grid, they are like the point itself.

    A point of the border that does not move at all stays: nothing moves beyond it.
    """
    n0, n1, n2 = shape
    still = u[0, p, q, r] == 0 and u[1, p, q, r] == 0 and u[2, p, q, r] == 0
    if still and (at_end(p, n0) or at_end(q, n1) or at_end(r, n2)):
        return
    half, sixth = u.dtype.type(0.5), u.dtype.type(1 / 6)
    for c in range(3):
        here = u[c, p, q, r]
        total = (u[c, p - 1, q, r] if p > 0 else here) + (u[c, p + 1, q, r] if p + 1 < n0 else here)
        total += (u[c, p, q - 1, r] if q > 0 else here) + (u[c, p, q + 1, r] if q + 1 < n1 else here)
        total += (u[c, p, q, r - 1] if r > 0 else here) + (u[c, p, q, r + 1] if r + 1 < n2 else here)
        u[c, p, q, r] = half * here + half * sixth * total


@njit(**OPTIONS)
def repair(u, least, reach, sweeps, bad):
    """Smooth u, in place, around the points whose corner determinant is below ``least``, until there are none.

    Args:
        u: shape (3, n0, n1, n2).
        reach: how far around a bad point is smoothed, in points.
        sweeps: at most.
        bad: the bad points, flattened, int64.

    Returns: how many are still bad.
    """
    shape = u.shape[1:]
    n0, n1, n2 = shape
    touched = np.zeros(n0 * n1 * n2, np.int32)
    found = bad.copy()
    for sweep in range(1, sweeps + 1):
        if len(found) == 0:
            break
        near = [np.int64(0) for _ in range(0)]
        for n in found:
            p, q, r = n // (n1 * n2), n // n2 % n1, n % n2
            for i in range(max(0, p - reach), min(n0, p + reach + 1)):
                for j in range(max(0, q - reach), min(n1, q + reach + 1)):
                    for k in range(max(0, r - reach), min(n2, r + reach + 1)):
                        at = (i * n1 + j) * n2 + k
                        if touched[at] != sweep:
                            touched[at] = sweep
                            near.append(at)
                            relax(u, i, j, k, shape)
        again = [np.int64(0) for _ in range(0)]
        for n in near:  # and their neighbors, whose differences have changed too
            p, q, r = n // (n1 * n2), n // n2 % n1, n % n2
            for i in range(max(0, p - 1), min(n0, p + 2)):
                for j in range(max(0, q - 1), min(n1, q + 2)):
                    for k in range(max(0, r - 1), min(n2, r + 2)):
                        at = (i * n1 + j) * n2 + k
                        if touched[at] >= 0 and least_corner(u, i, j, k, shape) < least:
                            touched[at] = -sweep
                            again.append(at)
        found = np.array(again) if len(again) > 0 else np.empty(0, np.int64)
    return len(found)
