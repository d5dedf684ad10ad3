"""Euler steps along kernel fields, all in one call: positions, determinants and norms as differentiable functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffeo.backends.auto import FEW, AutoBackend
from diffeo.backends.cpu import euler as loops
from diffeo.backends.cpu.particles import CPUBackend
from diffeo.backends.dense import euler as dense
from diffeo.backends.dense.euler import Steps
from diffeo.kernels.reductions import check_positions

if TYPE_CHECKING:
    from diffeo.kernels.algebra import Radial

__all__ = ["Steps", "covers", "inverse", "norms", "take"]


def covers(kernel: Radial, steps: Steps, x: Tensor | None = None) -> bool:
    """Whether there are compiled loops for these steps, and so much to do that they pay."""
    if not steps.controls or not loops.covers(steps) or not isinstance(kernel.backend, AutoBackend | CPUBackend):
        return False
    pairs = sum(c.shape[0] * (c.shape[0] if x is None else x.shape[0]) for c in steps.controls)
    return pairs >= FEW or isinstance(kernel.backend, CPUBackend)


def take(kernel: Radial, x: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """Where the steps lead x, shape (n, d), and the determinants of all of them on the way, shape (layers, n)."""
    for controls in steps.controls:
        check_positions(x, controls)
    return _Take.apply(kernel, steps.durations, x, *steps.tensors())


@torch.no_grad()
def inverse(kernel: Radial, y: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """The x, shape (n, d), that the first step takes to y, and where, (n,), it is that up to rounding, and no fold."""
    check_positions(y, steps.controls[0])
    return loops.inverse(kernel, y, steps)


def norms(kernel: Radial, steps: Steps) -> Tensor:
    """‖v‖² of every layer, shape (layers,)."""
    return _Norms.apply(kernel, steps.durations, *steps.tensors())


def _again(durations: tuple[float, ...], tensors: Sequence[Tensor]) -> Steps:
    n = len(durations)
    return Steps(durations, tuple(tensors[:n]), tuple(tensors[n : 2 * n]), tuple(tensors[2 * n :]) or None)


def _exactly(function: Callable[..., Any], inputs: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Any]:
    """The gradients of a function in plain torch, which can be differentiated again."""
    wanted = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(function(*inputs), wanted, cotangents, create_graph=True, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in inputs]


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Radial, durations: tuple[float, ...], x: Tensor, *tensors: Tensor) -> Any:
        keep = any(ctx.needs_input_grad)
        moved, volumes, ctx.kept = loops.forward(kernel, x, _again(durations, tensors), keep)
        ctx.kernel, ctx.durations = kernel, durations
        ctx.save_for_backward(x, *tensors)
        return moved, volumes

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        kernel, durations = ctx.kernel, ctx.durations
        x, *tensors = ctx.saved_tensors
        if torch.is_grad_enabled():
            exact = _exactly(
                lambda z, *rest: dense.forward(kernel, z, _again(durations, rest)), (x, *tensors), cotangents
            )
            return None, None, *exact
        g_moved, g_volumes = cotangents
        g_x, gradients = loops.backward(kernel, ctx.kept, g_moved, g_volumes, _again(durations, tensors))
        return None, None, g_x, *gradients


class _Norms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Radial, durations: tuple[float, ...], *tensors: Tensor) -> Any:
        values, ctx.gradients = loops.norms(kernel, _again(durations, tensors))
        ctx.kernel, ctx.durations = kernel, durations
        ctx.save_for_backward(*tensors)
        return values

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        kernel, durations, tensors = ctx.kernel, ctx.durations, ctx.saved_tensors
        if torch.is_grad_enabled():
            exact = _exactly(lambda *again: dense.norms(kernel, _again(durations, again)), tensors, cotangents)
            return None, None, *exact
        steps = _again(durations, tensors)
        return None, None, *loops.unpacked(steps, loops.weighted(steps, ctx.gradients, cotangents[0]))
