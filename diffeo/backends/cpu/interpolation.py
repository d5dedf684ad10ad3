"""Multilinear interpolation in compiled loops: resampling, its derivatives, and the inverse of a displacement.

Everything here is in three axes; one or two are three of which the first have a single point. A cell in the inside of
the grid is read without further checks; at the border the grid is extended by zeros.
"""

from __future__ import annotations

from math import floor

import numpy as np
from numba import njit

OPTIONS = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "nogil": True, "cache": True, "error_model": "numpy"}
STEPS = 60  # of Newton's method


@njit(inline="always", **OPTIONS)
def inside(x, n):
    """Whether the cell of a coordinate lies within an axis of n points; an axis of one point has a cell of its own."""
    return (x >= 0 and x < n - 1) or (n == 1 and x == 0)


@njit(**OPTIONS)
def at_border(values, x, y, z):
    """One component, shape (n0, n1, n2), interpolated where corners of the cell may be outside: value and gradient."""
    n0, n1, n2 = values.shape
    value = values.dtype.type(0)
    gx, gy, gz = value, value, value
    if not (x > -1 and x < n0 and y > -1 and y < n1 and z > -1 and z < n2):
        return value, gx, gy, gz
    i, j, k = floor(x), floor(y), floor(z)
    a, b, c = x - i, y - j, z - k
    for p in range(2):
        for q in range(2):
            for r in range(2):
                if 0 <= i + p < n0 and 0 <= j + q < n1 and 0 <= k + r < n2:
                    v = values[i + p, j + q, k + r]
                    wx = a if p else 1 - a
                    wy = b if q else 1 - b
                    wz = c if r else 1 - c
                    value += wx * wy * wz * v
                    gx += (1 if p else -1) * wy * wz * v
                    gy += (1 if q else -1) * wx * wz * v
                    gz += (1 if r else -1) * wx * wy * v
    return value, gx, gy, gz


@njit(inline="always", **OPTIONS)
def within(flat, at, s0, s1, s2, a, b, c):
    """One component, flattened, in a cell that is inside: its first corner, the steps to the others, the position."""
    v00 = flat[at] + c * (flat[at + s2] - flat[at])
    v01 = flat[at + s1] + c * (flat[at + s1 + s2] - flat[at + s1])
    v10 = flat[at + s0] + c * (flat[at + s0 + s2] - flat[at + s0])
    v11 = flat[at + s0 + s1] + c * (flat[at + s0 + s1 + s2] - flat[at + s0 + s1])
    v0 = v00 + b * (v01 - v00)
    v1 = v10 + b * (v11 - v10)
    return v0 + a * (v1 - v0)


@njit(inline="always", **OPTIONS)
def slopes_within(flat, at, s0, s1, s2, a, b, c):
    """Value and gradient, as `within`."""
    f000, f001, f010, f011 = flat[at], flat[at + s2], flat[at + s1], flat[at + s1 + s2]
    f100, f101, f110, f111 = flat[at + s0], flat[at + s0 + s2], flat[at + s0 + s1], flat[at + s0 + s1 + s2]
    d00, d01, d10, d11 = f001 - f000, f011 - f010, f101 - f100, f111 - f110
    v00, v01, v10, v11 = f000 + c * d00, f010 + c * d01, f100 + c * d10, f110 + c * d11
    v0, v1 = v00 + b * (v01 - v00), v10 + b * (v11 - v10)
    gy = (v01 - v00) + a * ((v11 - v10) - (v01 - v00))
    z0, z1 = d00 + b * (d01 - d00), d10 + b * (d11 - d10)
    return v0 + a * (v1 - v0), v1 - v0, gy, z0 + a * (z1 - z0)


@njit(inline="always", **OPTIONS)
def strides(shape):
    """Steps in a flattened array from a point to its neighbors along each axis; none along an axis of one point."""
    return (
        shape[1] * shape[2] if shape[0] > 1 else 0,
        shape[2] if shape[1] > 1 else 0,
        1 if shape[2] > 1 else 0,
    )


@njit(**OPTIONS)
def sample(values, index, out, start, stop):
    """Values (c, n0, n1, n2) at indices (3, n), into out (c, n)."""
    count, n0, n1, n2 = values.shape
    flat = values.reshape(count, n0 * n1 * n2)
    s0, s1, s2 = strides((n0, n1, n2))
    for n in range(start, stop):
        x, y, z = index[0, n], index[1, n], index[2, n]
        if inside(x, n0) and inside(y, n1) and inside(z, n2):
            i, j, k = int(x), int(y), int(z)
            at = (i * n1 + j) * n2 + k
            for c in range(count):
                out[c, n] = within(flat[c], at, s0, s1, s2, x - i, y - j, z - k)
        else:
            for c in range(count):
                out[c, n] = at_border(values[c], x, y, z)[0]


@njit(**OPTIONS)
def warp(values, m, t, u, add, out, start, stop):
    """Values at m·(i + u(i)) + t, plus ``add`` if it is not empty; slabs start to stop of u (3, t0, t1, t2)."""
    count, n0, n1, n2 = values.shape
    flat = values.reshape(count, n0 * n1 * n2)
    s0, s1, s2 = strides((n0, n1, n2))
    adds = add.size > 0
    t1, t2 = u.shape[2], u.shape[3]
    for p in range(start, stop):
        for q in range(t1):
            for r in range(t2):
                a, b, c = p + u[0, p, q, r], q + u[1, p, q, r], r + u[2, p, q, r]
                x = m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + t[0]
                y = m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + t[1]
                z = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + t[2]
                if inside(x, n0) and inside(y, n1) and inside(z, n2):
                    i, j, k = int(x), int(y), int(z)
                    at = (i * n1 + j) * n2 + k
                    for e in range(count):
                        out[e, p, q, r] = within(flat[e], at, s0, s1, s2, x - i, y - j, z - k)
                else:
                    for e in range(count):
                        out[e, p, q, r] = at_border(values[e], x, y, z)[0]
                if adds:
                    for e in range(count):
                        out[e, p, q, r] += add[e, p, q, r]


@njit(**OPTIONS)
def pull_index(values, index, cotangent, out, start, stop):
    """The gradient of Σ cotangent · sample in the indices, into out (3, n)."""
    count, n0, n1, n2 = values.shape
    flat = values.reshape(count, n0 * n1 * n2)
    s0, s1, s2 = strides((n0, n1, n2))
    for n in range(start, stop):
        x, y, z = index[0, n], index[1, n], index[2, n]
        gx, gy, gz = out.dtype.type(0), out.dtype.type(0), out.dtype.type(0)
        if inside(x, n0) and inside(y, n1) and inside(z, n2):
            i, j, k = int(x), int(y), int(z)
            at = (i * n1 + j) * n2 + k
            for c in range(count):
                _, hx, hy, hz = slopes_within(flat[c], at, s0, s1, s2, x - i, y - j, z - k)
                g = cotangent[c, n]
                gx, gy, gz = gx + g * hx, gy + g * hy, gz + g * hz
        else:
            for c in range(count):
                _, hx, hy, hz = at_border(values[c], x, y, z)
                g = cotangent[c, n]
                gx, gy, gz = gx + g * hx, gy + g * hy, gz + g * hz
        out[0, n], out[1, n], out[2, n] = gx, gy, gz


@njit(**OPTIONS)
def pull_values(index, cotangent, out):
    """The gradient of Σ cotangent · sample in the values, added to out (c, n0, n1, n2)."""
    count, n0, n1, n2 = out.shape
    for n in range(index.shape[1]):
        x, y, z = index[0, n], index[1, n], index[2, n]
        if not (x > -1 and x < n0 and y > -1 and y < n1 and z > -1 and z < n2):
            continue
        i, j, k = floor(x), floor(y), floor(z)
        a, b, c = x - i, y - j, z - k
        for p in range(2):
            for q in range(2):
                for r in range(2):
                    if 0 <= i + p < n0 and 0 <= j + q < n1 and 0 <= k + r < n2:
                        w = (a if p else 1 - a) * (b if q else 1 - b) * (c if r else 1 - c)
                        for e in range(count):
                            out[e, i + p, j + q, k + r] += w * cotangent[e, n]


@njit(**OPTIONS)
def displaced(u, x, y, z):
    """u (3, n0, n1, n2) at a position, and its derivative by rows."""
    _, n0, n1, n2 = u.shape
    if inside(x, n0) and inside(y, n1) and inside(z, n2):
        i, j, k = int(x), int(y), int(z)
        at, flat = (i * n1 + j) * n2 + k, u.reshape(3, n0 * n1 * n2)
        s0, s1, s2 = strides((n0, n1, n2))
        first = slopes_within(flat[0], at, s0, s1, s2, x - i, y - j, z - k)
        second = slopes_within(flat[1], at, s0, s1, s2, x - i, y - j, z - k)
        return first, second, slopes_within(flat[2], at, s0, s1, s2, x - i, y - j, z - k)
    return at_border(u[0], x, y, z), at_border(u[1], x, y, z), at_border(u[2], x, y, z)


@njit(**OPTIONS)
def invert(u, index, out, tolerance, start, stop):
    """The y with y + u(y) = index, by damped Newton for every point alone, into out (3, n); NaN where there is none."""
    for n in range(start, stop):
        j0, j1, j2 = index[0, n], index[1, n], index[2, n]
        f, g, h = displaced(u, j0, j1, j2)
        y0, y1, y2 = j0 - f[0], j1 - g[0], j2 - h[0]
        f, g, h = displaced(u, y0, y1, y2)
        r0, r1, r2 = y0 + f[0] - j0, y1 + g[0] - j1, y2 + h[0] - j2
        residual, damping, determinant = r0 * r0 + r1 * r1 + r2 * r2, 1.0, 1.0
        for _ in range(STEPS):
            a00, a01, a02 = 1 + f[1], f[2], f[3]
            a10, a11, a12 = g[1], 1 + g[2], g[3]
            a20, a21, a22 = h[1], h[2], 1 + h[3]
            c0, c1, c2 = a11 * a22 - a12 * a21, a12 * a20 - a10 * a22, a10 * a21 - a11 * a20
            determinant = a00 * c0 + a01 * c1 + a02 * c2
            if residual <= tolerance * tolerance or damping < 1e-4:
                break
            s = damping / determinant
            e0, e1 = a02 * a21 - a01 * a22, a01 * a12 - a02 * a11
            e2, e3 = a00 * a22 - a02 * a20, a02 * a10 - a00 * a12
            x0 = y0 - s * (c0 * r0 + e0 * r1 + e1 * r2)
            x1 = y1 - s * (c1 * r0 + e2 * r1 + e3 * r2)
            x2 = y2 - s * (c2 * r0 + (a01 * a20 - a00 * a21) * r1 + (a00 * a11 - a01 * a10) * r2)
            f1, g1, h1 = displaced(u, x0, x1, x2)
            q0, q1, q2 = x0 + f1[0] - j0, x1 + g1[0] - j1, x2 + h1[0] - j2
            trial = q0 * q0 + q1 * q1 + q2 * q2
            if trial < residual:
                y0, y1, y2, r0, r1, r2, residual = x0, x1, x2, q0, q1, q2, trial
                f, g, h = f1, g1, h1
                damping = min(1.0, 2 * damping)
            else:
                damping /= 2
        good = residual <= 1e6 * tolerance * tolerance and determinant > 0
        out[0, n] = y0 if good else np.nan
        out[1, n] = y1 if good else np.nan
        out[2, n] = y2 if good else np.nan
