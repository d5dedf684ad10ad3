"""Quadratic B-splines in compiled loops, every position alone.

Everything is in three axes and three components; one or two axes are three of which the first have a single point.
Arrays come with a frame of zeros around them, and positions are clamped to it: no point needs a check of its own.
Rows of positions are placed first, which vectorizes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from diffeo.backends.cpu.interpolation import OPTIONS

FRAME = 3
REACH = 1.8  # steps beyond the grid where a position is as good as any farther one: no bump reaches it
ROW = 256  # positions that are placed together


@njit(**OPTIONS)
def place(x, shape, at, t, count):
    """For positions in a grid framed to a shape: the first of the 27 points around each, and how far the middle one is.

    Args:
        x: positions (3, count).
        shape: of the framed array.
        at: uint32 (count,), the first point, flattened.
        t: (3, count), in [-½, ½].
    """
    R = t.dtype.type
    frame, half, low = R(FRAME), R(0.5), R(FRAME - REACH)
    for axis in range(3):
        high, row, n, y = R(shape[axis] - 1 - FRAME + REACH), t[axis], np.uint32(shape[axis]), x[axis]
        wide = R(0) if single(shape, axis) else R(1)  # along a single point it does not matter where one is
        for m in range(count):
            z = wide * y[m] + frame
            z = z if z > low else low  # NaN, which compares with nothing, becomes the lowest
            z = z if z < high else high
            k = np.int32(z + half)
            row[m] = z - R(k)
            at[m] = (at[m] * n if axis else np.uint32(0)) + np.uint32(k - 1)


@njit(inline="always", **OPTIONS)
def values(t, alone):
    """The three bumps at t from the middle one; along an axis of one point it is 1."""
    R = type(t)
    a, b = R(0.5) - t, R(0.5) + t
    if alone:
        return R(0), R(1), R(0)
    return R(0.5) * a * a, R(0.75) - t * t, R(0.5) * b * b


@njit(inline="always", **OPTIONS)
def slopes(t, alone):
    """Their derivatives."""
    R = type(t)
    if alone:
        return R(0), R(0), R(0)
    return t - R(0.5), -(t + t), t + R(0.5)


@njit(inline="always", **OPTIONS)
def bends(t, alone):
    """Their second derivatives."""
    R = type(t)
    if alone:
        return R(0), R(0), R(0)
    return R(1), R(-2), R(1)


@njit(inline="always", **OPTIONS)
def single(shape, axis):
    """Whether an axis has one point, the frame apart."""
    return shape[axis] == 1 + 2 * FRAME


@njit(**OPTIONS)
def spread(m, x, out):
    """Adds weights m (3, n) at positions x (3, n) to out (3, n0, n1, n2), which is framed."""
    shape = out.shape[1:]
    n1, n2 = shape[1], shape[2]
    alone0, alone1, alone2 = single(shape, 0), single(shape, 1), single(shape, 2)
    s0, s1, one, two = np.uint32(n1 * n2), np.uint32(n2), np.uint32(1), np.uint32(2)
    c0, c1, c2 = out[0].reshape(-1), out[1].reshape(-1), out[2].reshape(-1)
    at, t = np.empty(ROW, np.uint32), np.empty((3, ROW), out.dtype)
    for first in range(0, x.shape[1], ROW):
        last = min(first + ROW, x.shape[1])
        place(x[:, first:last], shape, at, t, last - first)
        for r in range(last - first):
            wp, wq = values(t[0, r], alone0), values(t[1, r], alone1)
            wi, wj, wk = values(t[2, r], alone2)
            m0, m1, m2 = m[0, first + r], m[1, first + r], m[2, first + r]
            for p in range(3):
                for q in range(3):
                    i = at[r] + np.uint32(p) * s0 + np.uint32(q) * s1
                    j, k, v = i + one, i + two, wp[p] * wq[q]
                    v0, v1, v2 = v * m0, v * m1, v * m2
                    c0[i] += wi * v0
                    c0[j] += wj * v0
                    c0[k] += wk * v0
                    c1[i] += wi * v1
                    c1[j] += wj * v1
                    c1[k] += wk * v1
                    c2[i] += wi * v2
                    c2[j] += wj * v2
                    c2[k] += wk * v2


@njit(**OPTIONS)
def read(c, x, out, start, stop):
    """The spline with framed coefficients c (3, n0, n1, n2) at positions x (3, n), into out (3, n)."""
    shape, R = c.shape[1:], c.dtype.type
    n1, n2 = shape[1], shape[2]
    alone0, alone1, alone2 = single(shape, 0), single(shape, 1), single(shape, 2)
    s0, s1, one, two = np.uint32(n1 * n2), np.uint32(n2), np.uint32(1), np.uint32(2)
    c0, c1, c2 = c[0].reshape(-1), c[1].reshape(-1), c[2].reshape(-1)
    at, t = np.empty(ROW, np.uint32), np.empty((3, ROW), c.dtype)
    for first in range(start, stop, ROW):
        last = min(first + ROW, stop)
        place(x[:, first:last], shape, at, t, last - first)
        for r in range(last - first):
            wp, wq = values(t[0, r], alone0), values(t[1, r], alone1)
            wi, wj, wk = values(t[2, r], alone2)
            v0, v1, v2 = R(0), R(0), R(0)
            for p in range(3):
                for q in range(3):
                    i = at[r] + np.uint32(p) * s0 + np.uint32(q) * s1
                    j, k, v = i + one, i + two, wp[p] * wq[q]
                    v0 += v * (wi * c0[i] + wj * c0[j] + wk * c0[k])
                    v1 += v * (wi * c1[i] + wj * c1[j] + wk * c1[k])
                    v2 += v * (wi * c2[i] + wj * c2[j] + wk * c2[k])
            out[0, first + r], out[1, first + r], out[2, first + r] = v0, v1, v2


@njit(**OPTIONS)
def read_with_slope(c, x, m, out, slope, start, stop):
    """`read`, and the gradient of the component along m (3, n), into slope (3, n)."""
    shape, R = c.shape[1:], c.dtype.type
    n1, n2 = shape[1], shape[2]
    alone0, alone1, alone2 = single(shape, 0), single(shape, 1), single(shape, 2)
    s0, s1, one, two = np.uint32(n1 * n2), np.uint32(n2), np.uint32(1), np.uint32(2)
    c0, c1, c2 = c[0].reshape(-1), c[1].reshape(-1), c[2].reshape(-1)
    at, t = np.empty(ROW, np.uint32), np.empty((3, ROW), c.dtype)
    for first in range(start, stop, ROW):
        last = min(first + ROW, stop)
        place(x[:, first:last], shape, at, t, last - first)
        for r in range(last - first):
            n = first + r
            wp, wq, ep, eq = (
                values(t[0, r], alone0),
                values(t[1, r], alone1),
                slopes(t[0, r], alone0),
                slopes(t[1, r], alone1),
            )
            wi, wj, wk = values(t[2, r], alone2)
            ei, ej, ek = slopes(t[2, r], alone2)
            m0, m1, m2 = m[0, n], m[1, n], m[2, n]
            v0, v1, v2, g0, g1, g2 = R(0), R(0), R(0), R(0), R(0), R(0)
            for p in range(3):
                r0, r1, r2, h1, h2 = R(0), R(0), R(0), R(0), R(0)
                for q in range(3):
                    i = at[r] + np.uint32(p) * s0 + np.uint32(q) * s1
                    j, k = i + one, i + two
                    f0, f1, f2 = c0[i], c1[i], c2[i]
                    a0, a1, a2 = c0[j], c1[j], c2[j]
                    b0, b1, b2 = c0[k], c1[k], c2[k]
                    u0, u1, u2 = wi * f0 + wj * a0 + wk * b0, wi * f1 + wj * a1 + wk * b1, wi * f2 + wj * a2 + wk * b2
                    across = ei * (m0 * f0 + m1 * f1 + m2 * f2)
                    across += ej * (m0 * a0 + m1 * a1 + m2 * a2)
                    across += ek * (m0 * b0 + m1 * b1 + m2 * b2)
                    r0 += wq[q] * u0
                    r1 += wq[q] * u1
                    r2 += wq[q] * u2
                    h1 += eq[q] * (m0 * u0 + m1 * u1 + m2 * u2)
                    h2 += wq[q] * across
                v0 += wp[p] * r0
                v1 += wp[p] * r1
                v2 += wp[p] * r2
                g0 += ep[p] * (m0 * r0 + m1 * r1 + m2 * r2)
                g1 += wp[p] * h1
                g2 += wp[p] * h2
            out[0, n], out[1, n], out[2, n] = v0, v1, v2
            slope[0, n], slope[1, n], slope[2, n] = g0, g1, g2


@njit(**OPTIONS)
def read_with_jacobian(c, x, out, jacobian, start, stop):
    """`read`, and the gradients of the components, into jacobian (3, 3, n)."""
    shape, R = c.shape[1:], c.dtype.type
    n1, n2 = shape[1], shape[2]
    alone0, alone1, alone2 = single(shape, 0), single(shape, 1), single(shape, 2)
    s0, s1, one, two = np.uint32(n1 * n2), np.uint32(n2), np.uint32(1), np.uint32(2)
    at, t = np.empty(ROW, np.uint32), np.empty((3, ROW), c.dtype)
    for first in range(start, stop, ROW):
        last = min(first + ROW, stop)
        place(x[:, first:last], shape, at, t, last - first)
        for f in range(3):
            flat, value, slope = c[f].reshape(-1), out[f], jacobian[f]
            for r in range(last - first):
                wp, ep = values(t[0, r], alone0), slopes(t[0, r], alone0)
                wq, eq = values(t[1, r], alone1), slopes(t[1, r], alone1)
                wi, wj, wk = values(t[2, r], alone2)
                ei, ej, ek = slopes(t[2, r], alone2)
                v, g0, g1, g2 = R(0), R(0), R(0), R(0)
                for p in range(3):
                    for q in range(3):
                        i = at[r] + np.uint32(p) * s0 + np.uint32(q) * s1
                        a, b, d = flat[i], flat[i + one], flat[i + two]
                        u = wi * a + wj * b + wk * d
                        v += wp[p] * wq[q] * u
                        g0 += ep[p] * wq[q] * u
                        g1 += wp[p] * eq[q] * u
                        g2 += wp[p] * wq[q] * (ei * a + ej * b + ek * d)
                n = first + r
                value[n], slope[0, n], slope[1, n], slope[2, n] = v, g0, g1, g2
