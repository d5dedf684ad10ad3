"""Resampling as a differentiable function: the fused loops with their derivatives.

A second derivative (``create_graph=True``) goes through torch, which differentiates to any order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.backends.dense.grids import DenseGrids
from diffeo.backends.grids import GridLoops, loops_for


def sample(values: Tensor, index: Tensor) -> Tensor:
    """Multilinear interpolation, 0 outside of the grid.

    Args:
        values: shape (c, *S), S having d axes.
        index: where, in indices of the grid S, shape (d, *T).

    Returns: shape (c, *T); differentiable in both.
    """
    return _Sample.apply(values, index)


def warp(values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor) -> Tensor:
    """Values at matrix·(i + u(i)) + offset, for every index i of the grid T: an image on another grid, bent.

    Args:
        values: shape (c, *S).
        matrix, offset: shapes (d, d) and (d,): from indices of T to indices of S, as `Grid.from_index_of` gives them.
        u: displacement in steps of T, shape (d, *T).

    Returns: shape (c, *T); differentiable in values and u.
    """
    return _Warp.apply(values, matrix, offset, u)


def sample_with_jacobian(values: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """`sample`, shape (c, *T), and its derivative in the index, shape (c, d, *T); both differentiable in the values.

    The derivative is that of the interpolation: within a cell, not across cells.
    """
    recorded = torch.is_grad_enabled() and (values.requires_grad or index.requires_grad)
    sampled, rows = sample(values, index), []
    for k in range(len(values)):
        one = torch.zeros_like(sampled)
        one[k] = 1
        loops = DenseGrids() if recorded else loops_for(values)
        rows.append(loops.sample_pull(values, index, one, (False, True))[1])
    return sampled, torch.stack(rows)


def _loops(values: Tensor) -> GridLoops:
    return DenseGrids() if torch.is_grad_enabled() else loops_for(values)


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(values, index)
        return loops_for(values).sample(values, index)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        values, index = ctx.saved_tensors
        return _loops(values).sample_pull(values, index, cotangents[0], ctx.needs_input_grad)


class _Warp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor) -> Tensor:
        ctx.save_for_backward(values, matrix, offset, u)
        return loops_for(values).warp(values, matrix, offset, u)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        values, matrix, offset, u = ctx.saved_tensors
        needs = ctx.needs_input_grad[0], ctx.needs_input_grad[3]
        in_values, in_u = _loops(values).warp_pull(values, matrix, offset, u, cotangents[0], needs)
        return in_values, None, None, in_u
