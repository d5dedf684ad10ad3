"""Convolutions of small images with 3 × 3 taps as products of polynomials (Toom 1963, Cook 1966; Winograd 1980).

A row of n numbers, padded with zeros and convolved with 3 taps, are the middle coefficients of the product of two
polynomials. That product has n + 2 coefficients: evaluate both factors at n + 2 points, multiply, interpolate. Along
both axes of an image this takes (n + 2)² products instead of about 9n² (49 instead of 225 for n = 5), each a product of
matrices where there are channels. Points tan(θ), θ evenly spaced, come in pairs ±a, which share their even and odd
parts, and keep rounding small: in float32 the error of a convolution of n = 2 … 7 points is 2e-7 … 7e-6 of its size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SMALLEST, LARGEST = 2, 7  # points along an axis


@lru_cache(maxsize=64)
def transforms(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For n points: what evaluates them, (n + 2, n), and taps, (n + 2, 3), and what interpolates, (n, n + 2).

    Rows of the first and columns of the last are scaled to a maximum of 1. Pairs ±a stand next to each other, +a first;
    in all entries of index i of a pair, −a has (−1)^i times what +a has. The point 0 comes last where there is one.
    """
    count = n + 2
    positive = np.tan((np.arange(count // 2) + (0.5 if count % 2 == 0 else 1.0)) * np.pi / count)
    points = np.concatenate([np.stack([positive, -positive], 1).reshape(-1), [0.0] * (count % 2)])
    powers = points[:, None] ** np.arange(count)
    evaluate, taps, interpolate = powers[:, :n].copy(), powers[:, :3].copy(), np.linalg.inv(powers)[1 : n + 1]
    for q in range(count):
        first, last = np.abs(evaluate[q]).max(), np.abs(interpolate[:, q]).max()
        last = -last if q % 2 and q < count - count % 2 else last  # the parity of the shifted coefficients is the other
        evaluate[q] /= first
        interpolate[:, q] /= last
        taps[q] *= first * last
    return evaluate, taps, interpolate


def packed(matrix: np.ndarray) -> np.ndarray:
    """One row for each pair of a matrix (n + 2, n), and the row of the point 0: all that the loops need."""
    pairs = len(matrix) // 2
    return np.concatenate([matrix[0 : 2 * pairs : 2], matrix[2 * pairs :]])


def source(h: int, w: int, channels: int) -> str:
    """A module of loops over images of h × w points with so many channels: ``loop`` is a tuple of them.

    Arrays: images (n, channels, h·w); evaluated images ((h + 2)(w + 2), n, channels), of which products of matrices are
    taken; activations (n, h·w·channels). Weights are `packed`, along columns first, then along rows. The loops are
    ``spread`` (evaluate images), ``collect`` (interpolate), ``advance`` (add a multiple of what is interpolated),
    ``activate`` (interpolate, keep what is positive, evaluate), ``deactivate`` (the same where it was positive then)
    and ``lift`` (evaluate activations). With the transposes of the matrices they are their own adjoints.
    """
    sizes = {"C": channels, "H": h, "W": w, "P": h * w, "F": (h + 2) * (w + 2), "X": w + 2, "Y": h + 2}
    constants = "\n".join(f"{name} = {value}" for name, value in sizes.items())
    parts = [_up("up_h", h, "X * C"), _up("up_w", w, "C"), _down("down_h", h, "X * C"), _down("down_w", w, "C")]
    return "\n\n".join([HEADER, constants, *parts, LOOPS])


def _up(name: str, n: int, step: str) -> str:
    """From n rows of C numbers, a step apart, to n + 2: pairs from their even and odd parts."""
    pairs, odd = (n + 2) // 2, (n + 2) % 2
    lines = [f"@njit(**OPTIONS)\ndef {name}(m, x, y):"]
    lines += [f"    m{q}_{i} = m[{q}, {i}]" for q in range(pairs + odd) for i in range(n)]
    lines += ["    for k in range(C):"]
    lines += [f"        x{i} = x[{i} * {step} + k]" for i in range(n)]
    for q in range(pairs):
        lines += [f"        e = {_sum(q, range(0, n, 2))}", f"        o = {_sum(q, range(1, n, 2))}"]
        lines += [f"        y[{2 * q} * {step} + k] = e + o", f"        y[{2 * q + 1} * {step} + k] = e - o"]
    if odd:
        lines += [f"        y[{n + 1} * {step} + k] = {_sum(pairs, range(n))}"]
    return "\n".join(lines)


def _down(name: str, n: int, step: str) -> str:
    """The adjoint: from n + 2 rows of C numbers to n."""
    pairs, odd = (n + 2) // 2, (n + 2) % 2
    lines = [f"@njit(**OPTIONS)\ndef {name}(m, y, x):"]
    lines += [f"    m{q}_{i} = m[{q}, {i}]" for q in range(pairs + odd) for i in range(n)]
    lines += ["    for k in range(C):"]
    for q in range(pairs):
        lines += [f"        a = y[{2 * q} * {step} + k]", f"        b = y[{2 * q + 1} * {step} + k]"]
        lines += [f"        e{q} = a + b", f"        o{q} = a - b"]
    lines += [f"        e{pairs} = o{pairs} = y[{n + 1} * {step} + k]"] * odd
    for i in range(n):
        terms = " + ".join(f"m{q}_{i} * {'o' if i % 2 else 'e'}{q}" for q in range(pairs + odd))
        lines += [f"        x[{i} * {step} + k] = {terms}"]
    return "\n".join(lines)


def _sum(q: int, indices: range) -> str:
    return " + ".join(f"m{q}_{i} * x{i}" for i in indices)


HEADER = '''"""Generated by diffeo."""

import numpy as np
from numba import njit

OPTIONS = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "nogil": True, "cache": True, "error_model": "numpy"}'''

# Where rows are copied, channels are counted at run time: short loops of known length are unrolled, not vectorized.
LOOPS = """@njit(**OPTIONS)
def evaluated(mw, mh, image, half, full):
    for r in range(H):
        up_w(mw, image[r * W * C :], half[r * X * C :])
    for f in range(X):
        up_h(mh, half[f * C :], full[f * C :])


@njit(**OPTIONS)
def interpolated(mw, mh, full, half, image):
    for f in range(X):
        down_h(mh, full[f * C :], half[f * C :])
    for r in range(H):
        down_w(mw, half[r * X * C :], image[r * W * C :])


@njit(**OPTIONS)
def put(full, y, s):
    channels = y.shape[2]
    for f in range(F):
        row, part = y[f, s], full[f * C : (f + 1) * C]
        for k in range(channels):
            row[k] = part[k]


@njit(**OPTIONS)
def take(y, s, full):
    channels = y.shape[2]
    for f in range(F):
        row, part = y[f, s], full[f * C : (f + 1) * C]
        for k in range(channels):
            part[k] = row[k]


@njit(**OPTIONS)
def spread(mw, mh, images, y, start, stop):
    image, half, full = np.empty(P * C, y.dtype), np.empty(H * X * C, y.dtype), np.empty(F * C, y.dtype)
    for s in range(start, stop):
        for c in range(C):
            for p in range(P):
                image[p * C + c] = images[s, c, p]
        evaluated(mw, mh, image, half, full)
        put(full, y, s)


@njit(**OPTIONS)
def collect(mw, mh, y, images, start, stop):
    image, half, full = np.empty(P * C, y.dtype), np.empty(H * X * C, y.dtype), np.empty(F * C, y.dtype)
    for s in range(start, stop):
        take(y, s, full)
        interpolated(mw, mh, full, half, image)
        for c in range(C):
            for p in range(P):
                images[s, c, p] = image[p * C + c]


@njit(**OPTIONS)
def advance(mw, mh, y, before, step, images, start, stop):
    image, half, full = np.empty(P * C, y.dtype), np.empty(H * X * C, y.dtype), np.empty(F * C, y.dtype)
    for s in range(start, stop):
        take(y, s, full)
        interpolated(mw, mh, full, half, image)
        for c in range(C):
            for p in range(P):
                images[s, c, p] = before[s, c, p] + step * image[p * C + c]


@njit(**OPTIONS)
def activate(dw, dh, uw, uh, y, kept, start, stop):
    half, full = np.empty(H * X * C, y.dtype), np.empty(F * C, y.dtype)
    zero = y.dtype.type(0)
    for s in range(start, stop):
        take(y, s, full)
        image = kept[s]
        interpolated(dw, dh, full, half, image)
        for k in range(P * C):
            image[k] = max(image[k], zero)
        evaluated(uw, uh, image, half, full)
        put(full, y, s)


@njit(**OPTIONS)
def deactivate(dw, dh, uw, uh, y, kept, start, stop):
    image, half, full = np.empty(P * C, y.dtype), np.empty(H * X * C, y.dtype), np.empty(F * C, y.dtype)
    zero = y.dtype.type(0)
    for s in range(start, stop):
        take(y, s, full)
        interpolated(dw, dh, full, half, image)
        on = kept[s]
        for k in range(P * C):
            image[k] = image[k] if on[k] > zero else zero
        evaluated(uw, uh, image, half, full)
        put(full, y, s)


@njit(**OPTIONS)
def lift(uw, uh, kept, y, start, stop):
    half, full = np.empty(H * X * C, y.dtype), np.empty(F * C, y.dtype)
    for s in range(start, stop):
        evaluated(uw, uh, kept[s], half, full)
        put(full, y, s)


loop = (spread, collect, advance, activate, deactivate, lift)
"""
