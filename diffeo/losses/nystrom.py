r"""Kernel ridge regression on fewer centers than points: f = Σ_j k(·, c_j) β_j.

What is minimized is $\tfrac1{2n} \big(\sum_i w_i |f(x_i) - y_i|^2 + \lambda\,\beta^\top K(c, c)\,\beta\big)$; with all
points as centers that is exact. The centers are some of the points and move with them. The points pass in blocks, so
that nothing of size n × m is stored. Source: Rudi, Camoriano & Rosasco, "Less is more: Nyström computational
regularization", NeurIPS 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from diffeo.backends import formulas
from diffeo.kernels import gram
from diffeo.kernels.algebra import Radial
from diffeo.kernels.reductions import product, summer
from diffeo.losses.solved import Regression, factored

JITTER = 1e-10  # times k(0), added to the diagonal of K(c, c), which is singular up to rounding when centers are many


@dataclass(frozen=True)
class Reduced:
    """The best f.

    Attributes:
        kernel: K.
        data: positions and values.
        centers: which of the positions, shape (m,).
        noise: λ.
        name: of the loss, for error messages.
    """

    kernel: Radial
    data: Regression
    centers: Tensor
    noise: float
    name: str

    @cached_property
    def c(self) -> Tensor:
        """The centers, shape (m, d)."""
        return self.data.x[self.centers]

    @cached_property
    def whitener(self) -> Tensor:
        """L with LLᵀ = K(c, c) + ε, shape (m, m)."""
        matrix = gram.lower(self.kernel, self.c)
        matrix.diagonal().add_(JITTER * len(matrix) * self.kernel.at_zero)
        return factored(matrix, self.name)

    def features(self) -> Iterator[tuple[slice, Tensor]]:
        """√w L⁻¹K(c, x), shape (m, ·), some points at a time."""
        for part, values in gram.rows(self.kernel, self.data.x, self.c):
            block = torch.linalg.solve_triangular(self.whitener, values.T, upper=False)
            yield part, block if self.data.root is None else block * self.data.root[part, 0]

    @cached_property
    def solved(self) -> tuple[Tensor, Tensor]:
        """The Cholesky factor of ΦᵀΦ + λ, shape (m, m), and β, shape (m, k)."""
        m, y = len(self.centers), self.data.weighted(self.data.y)
        matrix, right = y.new_zeros(m, m), y.new_zeros(m, y.shape[1])
        for part, block in self.features():
            matrix.addmm_(block, block.T)
            right.addmm_(block, y[part])
        matrix.diagonal().add_(self.noise)
        factor = factored(matrix, self.name)
        theta = torch.cholesky_solve(right, factor)
        return factor, torch.linalg.solve_triangular(self.whitener.T, theta, upper=True)

    @property
    def beta(self) -> Tensor:
        """β, shape (m, k)."""
        return self.solved[1]

    @cached_property
    def fitted(self) -> Tensor:
        """f(x), shape (n, k)."""
        return product(self.kernel, self.data.x, self.c, self.beta)

    @property
    def residual(self) -> Tensor:
        """√w (f(x) − y), shape (n, k)."""
        return self.data.weighted(self.fitted - self.data.y)

    def value(self) -> Tensor:
        """The least value, a scalar."""
        norm = (self.whitener.T @ self.beta).square().sum()
        return (self.residual.square().sum() + self.noise * norm) / (2 * len(self.data.x))

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Its gradients in x and y: those at the best f, held fixed."""
        x, c, beta, residual = self.data.x, self.c, self.beta, self.data.weighted(self.residual)
        pull = summer(self.kernel)
        in_x = pull(formulas.product_pull, (x, residual), (c, beta))[0]
        in_c = pull(formulas.product_pull, (c, beta), (x, residual))[0]
        in_c += self.noise * pull(formulas.product_pull, (c, beta), (c, beta))[0]
        return in_x.index_add(0, self.centers, in_c) / len(x), -residual / len(x)

    def left_out(self) -> Tensor:
        """√w (y_i − f(x_i)), f fitted without the point i, though it may stay a center."""
        leverage = torch.empty(len(self.data.x), 1).to(self.residual)
        for part, block in self.features():
            solved = torch.linalg.solve_triangular(self.solved[0], block, upper=False)
            leverage[part, 0] = solved.square().sum(0)
        return -self.residual / (1 - leverage)


class _Least(torch.autograd.Function):
    """The least value as a function of positions and values."""

    @staticmethod
    def forward(ctx: Any, reduced: Reduced, x: Tensor, y: Tensor) -> Tensor:
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*reduced.slopes())
        return reduced.value()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, *(cotangents[0] * slope for slope in ctx.saved_tensors)


def least(reduced: Reduced, x: Tensor, y: Tensor) -> Tensor:
    """The least value, differentiable once in x and y, which are those of the reduced problem."""
    return _Least.apply(reduced, x, y)
