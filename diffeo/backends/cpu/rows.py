"""Sums of a few rows, written out so that each is one pass that vectorizes; longer ones add pairs of rows to it.

Rows that would lie outside of the grid are rows of zeros, so that borders need no code of their own.
"""

from __future__ import annotations

from numba import njit

from diffeo.backends.cpu.interpolation import OPTIONS


@njit(**OPTIONS)
def three(out, w0, w1, a, b, c):
    """w1·a + w0·b + w1·c."""
    for k in range(len(out)):
        out[k] = w0 * b[k] + w1 * (a[k] + c[k])


@njit(**OPTIONS)
def five(out, w0, w1, w2, a, b, c, d, e):
    """w2·a + w1·b + w0·c + w1·d + w2·e."""
    for k in range(len(out)):
        out[k] = w0 * c[k] + w1 * (b[k] + d[k]) + w2 * (a[k] + e[k])


@njit(**OPTIONS)
def seven(out, w0, w1, w2, w3, a, b, c, d, e, f, g):
    """w3·a + w2·b + w1·c + w0·d + w1·e + w2·f + w3·g."""
    for k in range(len(out)):
        out[k] = w0 * d[k] + w1 * (c[k] + e[k]) + w2 * (b[k] + f[k]) + w3 * (a[k] + g[k])


@njit(**OPTIONS)
def add_pair(out, w, a, b):
    """out + w·(a + b)."""
    for k in range(len(out)):
        out[k] += w * (a[k] + b[k])


@njit(**OPTIONS)
def along(out, padded, taps):
    """A symmetric filter of 2r + 1 taps along one row, which has r zeros before and behind it."""
    n, r = len(out), len(taps) // 2
    p = padded
    if r == 0:
        for k in range(n):
            out[k] = taps[0] * p[k]
    elif r == 1:
        three(out, taps[1], taps[2], p[:n], p[1 : n + 1], p[2 : n + 2])
    elif r == 2:
        five(out, taps[2], taps[3], taps[4], p[:n], p[1 : n + 1], p[2 : n + 2], p[3 : n + 3], p[4 : n + 4])
    else:
        q = p[r - 3 :]
        seven(
            out, taps[r], taps[r + 1], taps[r + 2], taps[r + 3],
            q[:n], q[1 : n + 1], q[2 : n + 2], q[3 : n + 3], q[4 : n + 4], q[5 : n + 5], q[6 : n + 6],
        )  # fmt: skip
        for t in range(4, r + 1):
            add_pair(out, taps[r + t], p[r - t : r - t + n], p[r + t : r + t + n])


@njit(**OPTIONS)
def across(out, rows, first, nothing, taps, count, length):
    """The same filter across rows: those from ``first`` on, of which 0 ≤ row < count exist and the others are nothing.

    Args:
        out, nothing: shape (n,), the latter zeros.
        rows: shape (length, n); row m is kept at m modulo the length.
    """
    r = len(taps) // 2
    m = first + r  # the middle one, which exists
    c = rows[m % length]
    if r == 0:
        for k in range(len(out)):
            out[k] = taps[0] * c[k]
        return
    b = rows[(m - 1) % length] if m >= 1 else nothing
    d = rows[(m + 1) % length] if m + 1 < count else nothing
    if r == 1:
        three(out, taps[1], taps[2], b, c, d)
        return
    a = rows[(m - 2) % length] if m >= 2 else nothing
    e = rows[(m + 2) % length] if m + 2 < count else nothing
    if r == 2:
        five(out, taps[2], taps[3], taps[4], a, b, c, d, e)
        return
    g = rows[(m - 3) % length] if m >= 3 else nothing
    h = rows[(m + 3) % length] if m + 3 < count else nothing
    seven(out, taps[r], taps[r + 1], taps[r + 2], taps[r + 3], g, a, b, c, d, e, h)
    for t in range(4, r + 1):
        behind = rows[(m - t) % length] if m >= t else nothing
        ahead = rows[(m + t) % length] if m + t < count else nothing
        add_pair(out, taps[r + t], behind, ahead)
