"""What gradients need of quadratic B-splines: the transpose of reading values with slopes, in compiled loops."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffeo.backends.cpu.interpolation import OPTIONS
from diffeo.backends.cpu.spline_loops import ROW, bends, place, single, slopes, values


@njit(**OPTIONS)
def pull_index(c, x, m, a, b, in_x, in_m, start, stop):
    """The gradients of Σ a · value + b · slope of `read_with_slope` in x and m: Dsᵀa + D²(m·s)b, and Ds b."""
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
            wp, ep, zp = values(t[0, r], alone0), slopes(t[0, r], alone0), bends(t[0, r], alone0)
            wq, eq, zq = values(t[1, r], alone1), slopes(t[1, r], alone1), bends(t[1, r], alone1)
            wi, wj, wk = values(t[2, r], alone2)
            ei, ej, ek = slopes(t[2, r], alone2)
            zi, zj, zk = bends(t[2, r], alone2)
            m0, m1, m2 = m[0, n], m[1, n], m[2, n]
            # derivatives of the three components along the axes, and second ones of the component along m
            x0, x1, x2, y0, y1, y2, z0, z1, z2 = R(0), R(0), R(0), R(0), R(0), R(0), R(0), R(0), R(0)
            xx, xy, xz, yy, yz, zz = R(0), R(0), R(0), R(0), R(0), R(0)
            for p in range(3):
                r0, r1, r2, o0, o1, o2, l0, l1, l2 = R(0), R(0), R(0), R(0), R(0), R(0), R(0), R(0), R(0)
                bent1, bent12, bent2 = R(0), R(0), R(0)
                for q in range(3):
                    i = at[r] + np.uint32(p) * s0 + np.uint32(q) * s1
                    j, k = i + one, i + two
                    f0, f1, f2 = c0[i], c1[i], c2[i]
                    g0, g1, g2 = c0[j], c1[j], c2[j]
                    h0, h1, h2 = c0[k], c1[k], c2[k]
                    u0, u1, u2 = wi * f0 + wj * g0 + wk * h0, wi * f1 + wj * g1 + wk * h1, wi * f2 + wj * g2 + wk * h2
                    v0, v1, v2 = ei * f0 + ej * g0 + ek * h0, ei * f1 + ej * g1 + ek * h1, ei * f2 + ej * g2 + ek * h2
                    bent = zi * (m0 * f0 + m1 * f1 + m2 * f2)
                    bent += zj * (m0 * g0 + m1 * g1 + m2 * g2)
                    bent += zk * (m0 * h0 + m1 * h1 + m2 * h2)
                    r0 += wq[q] * u0
                    r1 += wq[q] * u1
                    r2 += wq[q] * u2
                    o0 += eq[q] * u0
                    o1 += eq[q] * u1
                    o2 += eq[q] * u2
                    l0 += wq[q] * v0
                    l1 += wq[q] * v1
                    l2 += wq[q] * v2
                    bent1 += zq[q] * (m0 * u0 + m1 * u1 + m2 * u2)
                    bent12 += eq[q] * (m0 * v0 + m1 * v1 + m2 * v2)
                    bent2 += wq[q] * bent
                x0 += ep[p] * r0
                x1 += ep[p] * r1
                x2 += ep[p] * r2
                y0 += wp[p] * o0
                y1 += wp[p] * o1
                y2 += wp[p] * o2
                z0 += wp[p] * l0
                z1 += wp[p] * l1
                z2 += wp[p] * l2
                xx += zp[p] * (m0 * r0 + m1 * r1 + m2 * r2)
                xy += ep[p] * (m0 * o0 + m1 * o1 + m2 * o2)
                xz += ep[p] * (m0 * l0 + m1 * l1 + m2 * l2)
                yy += wp[p] * bent1
                yz += wp[p] * bent12
                zz += wp[p] * bent2
            a0, a1, a2, b0, b1, b2 = a[0, n], a[1, n], a[2, n], b[0, n], b[1, n], b[2, n]
            in_x[0, n] = a0 * x0 + a1 * x1 + a2 * x2 + b0 * xx + b1 * xy + b2 * xz
            in_x[1, n] = a0 * y0 + a1 * y1 + a2 * y2 + b0 * xy + b1 * yy + b2 * yz
            in_x[2, n] = a0 * z0 + a1 * z1 + a2 * z2 + b0 * xz + b1 * yz + b2 * zz
            in_m[0, n] = b0 * x0 + b1 * y0 + b2 * z0
            in_m[1, n] = b0 * x1 + b1 * y1 + b2 * z1
            in_m[2, n] = b0 * x2 + b1 * y2 + b2 * z2


@njit(**OPTIONS)
def pull_coefficients(x, m, a, b, out):
    """The gradient of Σ a · value + b · slope of `read_with_slope` in c, added to out (3, n0, n1, n2), framed."""
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
            a0, a1, a2, b0, b1, b2 = a[0, n], a[1, n], a[2, n], b[0, n], b[1, n], b[2, n]
            for p in range(3):
                for q in range(3):
                    i = at[r] + np.uint32(p) * s0 + np.uint32(q) * s1
                    j, k, v = i + one, i + two, wp[p] * wq[q]
                    across, along = b0 * ep[p] * wq[q] + b1 * wp[p] * eq[q], b2 * v
                    u0, u1, u2 = v * a0 + across * m0, v * a1 + across * m1, v * a2 + across * m2
                    v0, v1, v2 = along * m0, along * m1, along * m2
                    c0[i] += wi * u0 + ei * v0
                    c0[j] += wj * u0 + ej * v0
                    c0[k] += wk * u0 + ek * v0
                    c1[i] += wi * u1 + ei * v1
                    c1[j] += wj * u1 + ej * v1
                    c1[k] += wk * u1 + ek * v1
                    c2[i] += wi * u2 + ei * v2
                    c2[j] += wj * u2 + ej * v2
                    c2[k] += wk * u2 + ek * v2
