"""Joint histograms fused by Numba: every pair of values touches sixteen cells, and nothing is stored but the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffeo.backends.cpu.particles import share
from diffeo.backends.histograms import Histograms

OPTIONS: Any = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
TOUCHED = 16  # cells per pair of values


class CPUHistograms(Histograms):
    """Float32 and float64 on the CPU, on as many threads as torch uses; cells are summed in float64."""

    def joint(self, p: Tensor, q: Tensor, weights: Tensor | None, bins: int) -> Tensor:
        """One table per thread, added in the order of the values."""
        (a, b, w), tables = plain(p, q, weights), {}

        def work(start: int, stop: int) -> None:
            tables[start] = np.zeros((bins, bins))
            add(a, b, w, tables[start], start, stop)

        share(work, len(p), TOUCHED * len(p))
        return torch.from_numpy(sum(tables[start] for start in sorted(tables)))

    def joint_pull(self, p: Tensor, q: Tensor, weights: Tensor | None, cotangent: Tensor) -> Tensor:
        """One pass."""
        (a, b, w), cells = plain(p, q, weights), cotangent.detach().double().contiguous().numpy()
        out = np.empty_like(a)
        share(lambda start, stop: pull(a, b, w, cells, out, start, stop), len(p), TOUCHED * len(p))
        return torch.from_numpy(out)


def plain(p: Tensor, q: Tensor, weights: Tensor | None) -> list[np.ndarray]:
    """Contiguous arrays; weights left out become a single 1."""
    w = p.new_ones(1) if weights is None else weights.to(p)
    return [t.detach().contiguous().numpy() for t in (p, q, w)]


@njit(**OPTIONS)
def split(value, bins):
    """The bin at or below a value, and how far beyond its middle: the splines k − 1 … k + 2 are the ones it meets."""
    k = min(max(int(value), 1), bins - 3)  # an index outside of the table would write anywhere
    return k, np.float64(value) - k


@njit(**OPTIONS)
def splines(f):
    """β(f + 1), β(f), β(f − 1), β(f − 2) for f between 0 and 1."""
    g = 1 - f
    return g * g * g / 6, 2 / 3 - f * f * (1 - f / 2), 2 / 3 - g * g * (1 - g / 2), f * f * f / 6


@njit(**OPTIONS)
def slopes(f):
    """Their derivatives."""
    g = 1 - f
    return -g * g / 2, f * (1.5 * f - 2), g * (2 - 1.5 * g), f * f / 2


@njit(**OPTIONS)
def add(p, q, weights, table, start, stop):
    """Add the pairs start ≤ x < stop to the table."""
    bins, step = len(table), min(1, len(weights) - 1)
    for x in range(start, stop):
        k, f = split(p[x], bins)
        l, g = split(q[x], bins)  # noqa: E741
        b0, b1, b2, b3 = splines(g)
        w = weights[x * step]
        line = k - 1
        for a in splines(f):
            row, height = table[line], w * a
            row[l - 1] += height * b0
            row[l] += height * b1
            row[l + 1] += height * b2
            row[l + 2] += height * b3
            line += 1


@njit(**OPTIONS)
def pull(p, q, weights, cells, out, start, stop):
    """The derivatives in p, for start ≤ x < stop."""
    bins, step = len(cells), min(1, len(weights) - 1)
    for x in range(start, stop):
        k, f = split(p[x], bins)
        l, g = split(q[x], bins)  # noqa: E741
        b0, b1, b2, b3 = splines(g)
        total, line = 0.0, k - 1
        for a in slopes(f):
            row = cells[line]
            total += a * (row[l - 1] * b0 + row[l] * b1 + row[l + 1] * b2 + row[l + 2] * b3)
            line += 1
        out[x] = weights[x * step] * total
