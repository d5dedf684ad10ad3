"""Multilinear interpolation in compiled loops: resampling, its derivatives, and the inverse of a displacement.

Everything is in three axes; one or two are three of which the first have a single point. Arrays come with a frame of
two zeros around them, and positions are clamped to it: no point needs a check of its own, and beyond the grid values
and slopes are exactly 0. Rows of positions are placed first, which vectorizes; then every component is read.
"""

from __future__ import annotations

from math import floor

import numpy as np
from numba import njit

FRAME = 2
OPTIONS = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "nogil": True, "cache": True, "error_model": "numpy"}
STEPS = 60  # of Newton's method
AGAIN = 40  # starts of it, eight at each distance
ROW = 256  # positions that are placed together


@njit(inline="always", **OPTIONS)
def framed(x, zero, two, high):
    """A coordinate in the framed array, between 0 and ``high``; NaN, which compares with nothing, becomes 0."""
    x = x + two
    x = x if x > zero else zero
    return x if x < high else high


@njit(**OPTIONS)
def place(x, y, z, shape, at, parts, count):
    """For positions in a grid framed to a shape: the first corner of their cell, flattened, and where in it they are.

    Args:
        x, y, z: coordinates, each (n,) with n ≥ count.
        shape: of the framed array.
        at: int32, (n,).
        parts: (3, n).
    """
    R = parts.dtype.type
    zero, two = R(0), R(FRAME)
    h0, h1, h2 = R(shape[0] - FRAME), R(shape[1] - FRAME), R(shape[2] - FRAME)
    s0, s1 = np.int32(shape[1] * shape[2]), np.int32(shape[2])
    a, b, c = parts[0], parts[1], parts[2]
    for n in range(count):
        p, q, r = framed(x[n], zero, two, h0), framed(y[n], zero, two, h1), framed(z[n], zero, two, h2)
        i, j, k = np.int32(p), np.int32(q), np.int32(r)
        a[n], b[n], c[n] = p - R(i), q - R(j), r - R(k)
        at[n] = i * s0 + j * s1 + k


@njit(**OPTIONS)
def read(flat, shape, at, parts, count, out):
    """One component, framed and flattened, at placed positions, into out (n,)."""
    # unsigned: a signed index costs a check for being negative at every access
    s0, s1, one = np.uint32(shape[1] * shape[2]), np.uint32(shape[2]), np.uint32(1)
    pa, pb, pc = parts[0], parts[1], parts[2]
    for n in range(count):
        a, b, c = pa[n], pb[n], pc[n]
        i = np.uint32(at[n])
        j, k = i + s1, i + s0
        m = k + s1
        v00 = flat[i] + c * (flat[i + one] - flat[i])
        v01 = flat[j] + c * (flat[j + one] - flat[j])
        v10 = flat[k] + c * (flat[k + one] - flat[k])
        v11 = flat[m] + c * (flat[m + one] - flat[m])
        v0, v1 = v00 + b * (v01 - v00), v10 + b * (v11 - v10)
        out[n] = v0 + a * (v1 - v0)


@njit(inline="always", **OPTIONS)
def cell(flat, i, s0, s1, a, b, c):
    """Value and gradient of one component at one position in the cell with the first corner i."""
    one = np.uint32(1)
    j, k = i + s1, i + s0
    m = k + s1
    f00, f01, f10, f11 = flat[i], flat[j], flat[k], flat[m]
    d00, d01, d10, d11 = flat[i + one] - f00, flat[j + one] - f01, flat[k + one] - f10, flat[m + one] - f11
    v00, v01, v10, v11 = f00 + c * d00, f01 + c * d01, f10 + c * d10, f11 + c * d11
    v0, v1 = v00 + b * (v01 - v00), v10 + b * (v11 - v10)
    y0, y1 = v01 - v00, v11 - v10
    z0, z1 = d00 + b * (d01 - d00), d10 + b * (d11 - d10)
    return v0 + a * (v1 - v0), v1 - v0, y0 + a * (y1 - y0), z0 + a * (z1 - z0)


@njit(**OPTIONS)
def sample(values, index, out, start, stop):
    """Framed values (c, n0, n1, n2) at indices (3, n), into out (c, n)."""
    count, shape = values.shape[0], values.shape[1:]
    at, parts = np.empty(ROW, np.int32), np.empty((3, ROW), values.dtype)
    for first in range(start, stop, ROW):
        last = min(first + ROW, stop)
        place(index[0, first:last], index[1, first:last], index[2, first:last], shape, at, parts, last - first)
        for e in range(count):
            read(values[e].reshape(-1), shape, at, parts, last - first, out[e, first:last])


@njit(**OPTIONS)
def warp(values, m, t, u, add, out, start, stop):
    """Framed values at m·(i + u(i)) + t, plus ``add`` if it is not empty; slabs start to stop of u (3, t0, t1, t2)."""
    count, shape, t2 = values.shape[0], values.shape[1:], u.shape[3]
    R = values.dtype.type
    adds = add.size > 0
    at, parts, where = np.empty(t2, np.int32), np.empty((3, t2), values.dtype), np.empty((3, t2), values.dtype)
    for p in range(start, stop):
        for q in range(u.shape[2]):
            u0, u1, u2 = u[0, p, q], u[1, p, q], u[2, p, q]
            for axis in range(3):
                m0, m1, m2 = m[axis, 0], m[axis, 1], m[axis, 2]
                origin, row = m0 * R(p) + m1 * R(q) + t[axis], where[axis]
                for r in range(t2):
                    row[r] = origin + m0 * u0[r] + m1 * u1[r] + m2 * (R(np.int32(r)) + u2[r])
            place(where[0], where[1], where[2], shape, at, parts, t2)
            for e in range(count):
                target = out[e, p, q]
                read(values[e].reshape(-1), shape, at, parts, t2, target)
                if adds:
                    more = add[e, p, q]
                    for r in range(t2):
                        target[r] += more[r]


@njit(**OPTIONS)
def pull_index(values, index, cotangent, out, start, stop):
    """The gradient of Σ cotangent · sample in the indices, into out (3, n); values are framed."""
    count, shape = values.shape[0], values.shape[1:]
    s0, s1 = np.uint32(shape[1] * shape[2]), np.uint32(shape[2])
    at, parts = np.empty(ROW, np.int32), np.empty((3, ROW), values.dtype)
    out[:, start:stop] = 0
    for first in range(start, stop, ROW):
        last = min(first + ROW, stop)
        place(index[0, first:last], index[1, first:last], index[2, first:last], shape, at, parts, last - first)
        for e in range(count):
            flat = values[e].reshape(-1)
            for n in range(last - first):
                _, x, y, z = cell(flat, np.uint32(at[n]), s0, s1, parts[0, n], parts[1, n], parts[2, n])
                g = cotangent[e, first + n]
                out[0, first + n] += g * x
                out[1, first + n] += g * y
                out[2, first + n] += g * z


@njit(**OPTIONS)
def pull_values(index, cotangent, out):
    """The gradient of Σ cotangent · sample in the values, added to out (c, n0, n1, n2), which has no frame."""
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
    """Framed u (3, n0, n1, n2) at a position: each component with its derivative."""
    R = u.dtype.type
    zero, two = R(0), R(FRAME)
    _, n0, n1, n2 = u.shape
    p = framed(x, zero, two, R(n0 - FRAME))
    q, r = framed(y, zero, two, R(n1 - FRAME)), framed(z, zero, two, R(n2 - FRAME))
    i, j, k = np.int32(p), np.int32(q), np.int32(r)
    at, s0, s1 = np.uint32((i * n1 + j) * n2 + k), np.uint32(n1 * n2), np.uint32(n2)
    a, b, c = p - R(i), q - R(j), r - R(k)
    return (
        cell(u[0].reshape(-1), at, s0, s1, a, b, c),
        cell(u[1].reshape(-1), at, s0, s1, a, b, c),
        cell(u[2].reshape(-1), at, s0, s1, a, b, c),
    )


@njit(**OPTIONS)
def solve(u, j0, j1, j2, y0, y1, y2, enough):
    """Damped Newton for y + u(y) = j from a start: y, the square of the residual, and the determinant there."""
    R = u.dtype.type
    one, small = R(1), R(1e-4)
    f, g, h = displaced(u, y0, y1, y2)
    r0, r1, r2 = y0 + f[0] - j0, y1 + g[0] - j1, y2 + h[0] - j2
    residual, damping, determinant = r0 * r0 + r1 * r1 + r2 * r2, one, one
    for step in range(STEPS + 1):
        a00, a01, a02 = one + f[1], f[2], f[3]
        a10, a11, a12 = g[1], one + g[2], g[3]
        a20, a21, a22 = h[1], h[2], one + h[3]
        c0, c1, c2 = a11 * a22 - a12 * a21, a12 * a20 - a10 * a22, a10 * a21 - a11 * a20
        determinant = a00 * c0 + a01 * c1 + a02 * c2
        if residual <= enough or damping < small or step == STEPS:
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
            damping = min(one, damping + damping)
        else:
            damping = damping / R(2)
    return y0, y1, y2, residual, determinant


@njit(**OPTIONS)
def invert(u, index, out, rounding, start, stop):
    """The y with y + u(y) = index, every point alone, into out (3, n); NaN where there is none.

    Where Newton's method is caught at the border of a cell, it starts again from around the point.

    Args:
        rounding: the residual that is small enough, as a part of the coordinates and of the size of the grid.
    """
    R = u.dtype.type
    size = R(1 + max(u.shape[1], u.shape[2], u.shape[3]))
    for n in range(start, stop):
        j0, j1, j2 = index[0, n], index[1, n], index[2, n]
        tolerance = rounding * (size + max(abs(j0), abs(j1), abs(j2)))
        enough = tolerance * tolerance
        accepted = R(64) * enough
        f, g, h = displaced(u, j0, j1, j2)
        z0, z1, z2 = j0 - f[0], j1 - g[0], j2 - h[0]
        y0, y1, y2, residual, determinant = solve(u, j0, j1, j2, z0, z1, z2, enough)
        for again in range(AGAIN):
            if residual <= accepted and determinant > 0:
                break
            reach = R(0.4 * (1 + again // 8))
            x0 = z0 + (reach if again & 1 else -reach)
            x1 = z1 + (reach if again & 2 else -reach)
            x2 = z2 + (reach if again & 4 else -reach)
            y0, y1, y2, residual, determinant = solve(u, j0, j1, j2, x0, x1, x2, enough)
        good = residual <= accepted and determinant > 0
        out[0, n] = y0 if good else np.nan
        out[1, n] = y1 if good else np.nan
        out[2, n] = y2 if good else np.nan
