"""Euler steps along kernel fields, many layers in one call, as compiled loops: see `euler_source` for what they do."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.backends.cpu import elimination, euler_source, wide_euler
from diffeo.backends.cpu.codegen import module_source
from diffeo.backends.cpu.particles import PARALLEL, by_component, loaded, pool
from diffeo.backends.dense.euler import Steps
from diffeo.backends.formulas import Jet
from diffeo.backends.rounding import unit

UNROLLED = 5  # components up to which loops are written out: beyond, products of matrices are faster
CHUNK = 512  # points that are computed together, whatever the number of threads

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray]
Packed = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def covers(steps: Steps) -> bool:
    """Whether the loops exist for these inputs: dtype, device."""
    like = steps.controls[0]
    return like.dtype in (torch.float32, torch.float64) and all(
        t.device.type == "cpu" and t.dtype == like.dtype for t in steps.tensors()
    )


def forward(jet: Jet, x: Tensor, steps: Steps, keep: bool) -> tuple[Tensor, Tensor, Any]:
    """Positions (n, d) and determinants (layers, n), and what `backward` wants to know, if it is to be kept."""
    if x.shape[1] > UNROLLED:
        return wide_euler.forward(jet, x, steps, keep)
    (n, d), layers, dtype = x.shape, len(steps.durations), str(x.dtype).removeprefix("torch.")
    loop, constants = compiled("forward", jet, d, dtype)
    positions, moved, volumes = by_component(x), np.empty((d, n), dtype), np.empty((layers, n), dtype)
    kept = np.empty((layers, d + d * d, n if keep else 0), dtype)
    c, a, q, h, first = packed(steps)

    def part(_: int, start: int, stop: int) -> None:
        loop(positions, moved, volumes, kept, keep, c, a, q, h, first, constants, start, stop)

    _shared(part, n, n * c.shape[1])
    return torch.from_numpy(moved).T, torch.from_numpy(volumes), kept


def backward(jet: Jet, kept: Any, g_moved: Tensor, g_volumes: Tensor, steps: Steps) -> tuple[Tensor, list[Tensor]]:
    """The gradients, of what `forward` gave, in the positions, and in all the tensors of the steps."""
    if g_moved.shape[1] > UNROLLED:
        return wide_euler.backward(jet, kept, g_moved, g_volumes, steps)
    (n, d), dtype = g_moved.shape, str(g_moved.dtype).removeprefix("torch.")
    loop, constants = compiled("backward", jet, d, dtype)
    c, a, q, h, first = packed(steps)
    chunks = -(-n // CHUNK)
    g_c, g_a, g_q = (np.zeros((chunks, *t.shape), dtype) for t in (c, a, q))
    g_x, ends, dets = np.empty((d, n), dtype), by_component(g_moved), g_volumes.contiguous().numpy()

    def part(k: int, start: int, stop: int) -> None:
        loop(kept, ends, dets, g_x, c, a, q, h, first, g_c[k], g_a[k], g_q[k], constants, start, stop)

    _shared(part, n, n * c.shape[1])
    return torch.from_numpy(g_x).T, unpacked(steps, (g_c.sum(0), g_a.sum(0), -2 * q * g_q.sum(0)))


def _shared(part: Callable[[int, int, int], None], n: int, pairs: int) -> None:
    """Run ``part(k, start, stop)`` over chunks of points, the same ones for any number of threads."""
    threads = torch.get_num_threads()
    starts = range(0, n, CHUNK)
    stops = [min(start + CHUNK, n) for start in starts]
    run = map if pairs < PARALLEL or threads == 1 else pool(threads).map
    list(run(part, range(len(starts)), starts, stops))


def norms(jet: Jet, steps: Steps) -> tuple[Tensor, Gradients]:
    """‖v‖² of every layer, and what its gradients are to `unpacked` after `weighted`."""
    d, dtype = steps.controls[0].shape[1], str(steps.controls[0].dtype).removeprefix("torch.")
    if d > UNROLLED:
        with torch.no_grad():
            values, gradients = wide_euler.norms(jet, steps)
        g_c, g_a, g_s = (g.numpy() for g in gradients)
        return values, (g_c, g_a, g_s)
    loop, constants = compiled("norms", jet, d, dtype)
    c, a, q, _, first = packed(steps)
    values, g_c, g_a, g_q = np.empty_like(q), np.empty_like(c), np.empty_like(a), np.empty_like(q)
    loop(c, a, q, first, values, g_c, g_a, g_q, constants)
    return torch.from_numpy(values), (g_c, g_a, -2 * q * g_q)


def inverse(jet: Jet, y: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """The x, shape (n, d), that the first step takes to y, and where, (n,), it is that up to rounding, and no fold.

    Elsewhere what is returned is anything.
    """
    if y.shape[1] > UNROLLED:
        return wide_euler.inverse(jet, y, steps)
    (n, d), dtype = y.shape, str(y.dtype).removeprefix("torch.")
    loop, constants = compiled("inverse", jet, d, dtype)
    c, a, q, h, first = packed(steps)
    target, x = by_component(y), np.empty((d, n), dtype)
    residuals, dets, size = np.empty(n, dtype), np.empty(n, dtype), unit(y, steps.controls[0])
    small = c.dtype.type(np.finfo(dtype).eps * wide_euler.ROUNDING), c.dtype.type(size)

    def part(_: int, start: int, stop: int) -> None:
        loop(target, x, residuals, dets, *small, c, a, q, h, first, constants, start, stop)

    _shared(part, n, n * c.shape[1])
    return torch.from_numpy(x).T, torch.from_numpy((residuals <= 1) & (dets > 0))


def packed(steps: Steps) -> Packed:
    """Controls and momenta of all layers, (d, m), 1/s² and h per layer, and where the controls of each begin."""
    c, a = (by_component(torch.cat(t)) for t in (steps.controls, steps.momenta))
    q = np.ones(len(steps.durations), c.dtype)
    if steps.log_scales is not None:
        q = np.exp(-2 * torch.cat(steps.log_scales).detach().numpy())
    return c, a, q, np.array(steps.durations, c.dtype), np.cumsum([0, *counts(steps)])


def counts(steps: Steps) -> list[int]:
    """The numbers of controls."""
    return [c.shape[0] for c in steps.controls]


def weighted(steps: Steps, gradients: Gradients, weights: Tensor) -> Gradients:
    """The gradients of every layer times a number."""
    (c, a, s), w = gradients, weights.numpy()
    each = np.repeat(w, counts(steps))
    return each * c, each * a, w * s


def unpacked(steps: Steps, gradients: Gradients) -> list[Tensor]:
    """Gradients in controls and momenta, (d, m) for all layers, and in log s, (layers,), tensor by tensor."""
    sizes, (*vectors, scales) = counts(steps), gradients
    c, a = (torch.from_numpy(np.ascontiguousarray(g.T)).split_with_sizes(sizes) for g in vectors)
    return [*c, *a, *(torch.from_numpy(scales).split(1) if steps.log_scales is not None else ())]


@lru_cache(maxsize=256)
def compiled(which: str, jet: Jet, d: int, dtype: str) -> tuple[Callable[..., Any], np.ndarray]:
    """One of the loops, and the constants it takes."""
    source, constants = getattr(euler_source, f"{which}_source")(jet, d)
    return loaded(_helpers() + module_source(source, dtype), f"euler_{which}"), np.array(constants, dtype)


@lru_cache(maxsize=1)
def _helpers() -> str:
    """An import that changes, and with it the name of what is cached, where the code that it imports does."""
    digest = hashlib.sha256(inspect.getsource(elimination).encode()).hexdigest()[:16]
    return f"from diffeo.backends.cpu.elimination import determinant, inverted  # {digest}\n"
