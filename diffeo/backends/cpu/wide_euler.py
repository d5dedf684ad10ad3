"""Euler steps along kernel fields in many dimensions: matrix products, and compiled elimination for determinants."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from diffeo.backends import products
from diffeo.backends.cpu import elimination
from diffeo.backends.cpu.particles import share
from diffeo.backends.dense.euler import Steps
from diffeo.backends.formulas import Jet
from diffeo.backends.rounding import unit

NUMBERS = 2**18  # of the matrices that are computed at a time: they stay in the second-level cache
TINY = 1e-20  # see `elimination`
POINTS = 2048  # that are carried back at a time
ROUNDS = 25  # of Broyden's method, at most: where it has not arrived by then, or
ENOUGH = 0.98  # of the points have, Newton's goes on with the others
ROUNDING = 16  # units of rounding that an inverse may be off

Kept = list[list[tuple[Tensor, Tensor, Tensor]]]
"""For every part of the points and every layer: the positions before it, and dets and inverses of its matrices."""


def forward(jet: Jet, x: Tensor, steps: Steps, keep: bool) -> tuple[Tensor, Tensor, Kept]:
    """Positions (n, d) and determinants (layers, n), and what `backward` wants to know, if it is to be kept."""
    moved, volumes, kept = [], [], []
    with torch.no_grad():
        for part in x.detach().split(rows(x)):
            end, dets, known = _part(jet, part, steps, keep)
            moved.append(end)
            volumes.append(dets)
            kept.append(known)
    return torch.cat(moved), torch.cat(volumes, 1), kept


def rows(x: Tensor) -> int:
    """Points at a time."""
    return max(16, NUMBERS // x.shape[1] ** 2)


def _part(jet: Jet, x: Tensor, steps: Steps, keep: bool) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
    volumes, kept = [], []
    for k, h in enumerate(steps.durations):
        s = steps.scale(k)
        pairs = products.seen(jet, x / s, steps.controls[k] / s, steps.momenta[k])
        velocity, matrices = products.evaluate(pairs, steps.momenta[k])
        matrices.mul_(h / s).diagonal(dim1=1, dim2=2).add_(1)
        dets = inverted(matrices) if keep else determinants(matrices)
        if keep:
            kept.append((x, dets, matrices))
        volumes.append(dets)
        x = torch.add(x, velocity, alpha=h)
    return x, torch.stack(volumes), kept


def determinants(matrices: Tensor) -> Tensor:
    """Of matrices (n, d, d), which are overwritten."""
    dets = matrices.new_empty(len(matrices))
    arrays = matrices.numpy(), dets.numpy()
    share(lambda start, stop: elimination.determinants(*arrays, start, stop), len(dets), matrices.numel())
    return dets


def inverted(matrices: Tensor) -> Tensor:
    """The determinants, shape (n,), of matrices (n, d, d), which are inverted in place."""
    dets = matrices.new_empty(len(matrices))
    arrays, tiny = (matrices.numpy(), dets.numpy()), dets.numpy().dtype.type(TINY)
    share(lambda start, stop: elimination.invert(*arrays, tiny, start, stop), len(dets), matrices.numel())
    return dets


def backward(jet: Jet, kept: Kept, g_moved: Tensor, g_volumes: Tensor, steps: Steps) -> tuple[Tensor, list[Tensor]]:
    """The gradients, of what `forward` gave, in the positions, and in all the tensors of the steps."""
    gradients = [torch.zeros_like(t) for t in steps.tensors()]
    parts = []
    for known, g, dets in zip(kept, g_moved.split(rows(g_moved)), g_volumes.split(rows(g_moved), 1), strict=True):
        for k in reversed(range(len(known))):
            g = _pulled(jet, known[k], g, dets[k], steps, k, gradients)
        parts.append(g)
    return torch.cat(parts), gradients


def _pulled(jet: Jet, known: Any, g: Tensor, g_dets: Tensor, steps: Steps, k: int, gradients: list[Tensor]) -> Tensor:
    """The gradient in the positions before a layer; those in its tensors are added to ``gradients``."""
    (x, dets, inverses), h, s, layers = known, steps.durations[k], steps.scale(k), len(steps.durations)
    momenta, weights = steps.momenta[k], g_dets * dets
    pairs = products.seen(jet, x / s, steps.controls[k] / s, momenta)
    G = inverses.transpose(1, 2) * (h / s * weights)[:, None, None]
    g_x, g_c, g_a = products.pull(pairs, momenta, h * g, G)
    gradients[k] += g_c / s
    gradients[layers + k] += g_a
    if steps.log_scales is not None:
        excess = weights * (x.shape[1] - inverses.diagonal(dim1=1, dim2=2).sum(1))  # ⟨∂/∂M, M − I⟩
        gradients[2 * layers + k] -= (g_x * pairs.x).sum() + (g_c * pairs.c).sum() + excess.sum()
    return g + g_x / s


def norms(jet: Jet, steps: Steps) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """‖v‖² of every layer, with its gradients in c and a, (d, controls of all layers), and log s, (layers,)."""
    values, g_c, g_a, g_s = [], [], [], []
    for k, (c, a) in enumerate(zip(steps.controls, steps.momenta, strict=True)):
        s = steps.scale(k)
        pairs = products.seen(jet, c / s, c / s, a)
        value, slopes, _ = pairs.jets
        inner = a @ a.T
        weights = 4 * slopes * inner
        values.append((value * inner).sum())
        g_c.append((weights.sum(1, keepdim=True) * pairs.c - weights @ pairs.c) / s)
        g_a.append(2 * value @ a)
        g_s.append(-(g_c[-1] * c).sum())  # what is stretched by s is seen from a distance s times as large
    return torch.stack(values), (torch.cat(g_c).T, torch.cat(g_a).T, torch.stack(g_s))


def inverse(jet: Jet, y: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """The x, shape (n, d), that the first step takes to y, and where, (n,), it is that up to rounding, and no fold."""
    size = unit(y, steps.controls[0])
    parts = [_inverse(jet, part, steps, size) for part in y.detach().split(POINTS)]
    return torch.cat([x for x, _ in parts]), torch.cat([fine for _, fine in parts])


def _inverse(jet: Jet, y: Tensor, steps: Steps, size: float) -> tuple[Tensor, Tensor]:
    """By Broyden's method: values alone, no matrices (Kelley, Solving Nonlinear Equations by Newton's Method, 2003)."""
    s, h, a = steps.scale(0), steps.durations[0], steps.momenta[0]
    middle = steps.controls[0].mean(0)
    y, controls = y - middle, (steps.controls[0] - middle) / s
    scale = ROUNDING * torch.finfo(y.dtype).eps * (size + (y + middle).abs().amax(1))
    x, moves = y, []
    while True:
        squares = products.squares(x / s, controls)
        values, slopes, _ = jet.jet(squares)
        missed = torch.addmm(x - y, values, a, alpha=h)
        fine = missed.norm(dim=1) <= scale
        move = _move(missed, moves).masked_fill_(fine[:, None], 0)
        if len(moves) == ROUNDS or int(fine.sum()) >= ENOUGH * len(y):
            break
        moves.append(move)
        x = x + move
    # where |h Dv| < 1, nothing folds; where this bound does not say so, the determinant does
    steep = (2 * h / s) * ((slopes.abs() * squares.sqrt()) @ a.norm(dim=1)) >= 1
    doubtful = (fine & steep).nonzero()[:, 0]
    if len(doubtful):
        fine[doubtful] = _part(jet, x[doubtful] + middle, steps.first(), False)[1][0] > 0
    return x - missed + middle, fine  # of the last digits, a step of the plain iteration corrects some


def _move(missed: Tensor, moves: list[Tensor]) -> Tensor:
    """The next move, given all before and what they missed by."""
    tiny = torch.finfo(missed.dtype).tiny
    move = -missed
    for before, after in itertools.pairwise(moves):
        share = (before * move).sum(1, keepdim=True) / before.square().sum(1, keepdim=True).clamp(min=tiny)
        move = move + share * after
    if moves:
        last = moves[-1]
        share = (last * move).sum(1, keepdim=True) / last.square().sum(1, keepdim=True).clamp(min=tiny)
        move = move / (1 - share)
    return move
