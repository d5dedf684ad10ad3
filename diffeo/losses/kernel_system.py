r"""(K + λI) α = Y: what is solved for kernel read-outs, and functions of it that a map can be trained with.

With weights w of mean 1, it is the system of √w K √w and √w Y; everything below is written for that one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
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


@dataclass(frozen=True)
class System:
    """A solved system.

    Attributes:
        kernel: K.
        data: positions x and values Y.
        noise: λ.
        name: of the loss, for error messages.
    """

    kernel: Radial
    data: Regression
    noise: float
    name: str

    @cached_property
    def factor(self) -> Tensor:
        """The lower Cholesky factor of K + λI."""
        matrix = gram.lower(self.kernel, self.data.x)
        if self.data.root is not None:
            matrix *= self.data.root
            matrix *= self.data.root[:, 0]
        matrix.diagonal().add_(self.noise)
        return factored(matrix, self.name)

    @cached_property
    def y(self) -> Tensor:
        """Y, shape (n, k)."""
        return self.data.weighted(self.data.y)

    @cached_property
    def alpha(self) -> Tensor:
        """α, shape (n, k)."""
        return torch.cholesky_solve(self.y, self.factor)

    @cached_property
    def inverse(self) -> Tensor:
        """(K + λI)⁻¹, shape (n, n)."""
        return torch.cholesky_inverse(self.factor)

    @property
    def fitted(self) -> Tensor:
        """f(x), shape (n, k)."""
        return product(self.kernel, self.data.x, self.data.x, self.data.weighted(self.alpha))

    def left_out(self) -> Tensor:
        """√w (y_i − f(x_i)), f fitted without the point i, shape (n, k): α_i over the diagonal of the inverse."""
        return self.alpha / self.inverse.diagonal()[:, None]


class Criterion(ABC):
    """A function of (K, Y, λ), by which a map is judged."""

    @abstractmethod
    def value(self, system: System) -> Tensor:
        """The value, a scalar."""

    @abstractmethod
    def slopes(self, system: System) -> tuple[Tensor, Tensor, Tensor]:
        """Its gradients in x, shape (n, d), in √w Y, shape (n, k), and in λ, a scalar."""

    @abstractmethod
    def recorded(self, matrix: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The value from K + λI, √w Y and λ by plain operations of torch: for second derivatives."""


class Ridge(Criterion):
    """λ/2n · tr Yᵀ(K + λI)⁻¹Y."""

    def value(self, system: System) -> Tensor:
        """The value."""
        return system.noise / (2 * len(system.y)) * (system.y * system.alpha).sum()

    def slopes(self, system: System) -> tuple[Tensor, Tensor, Tensor]:
        """That in K is −λ/2n ααᵀ, of low rank, so that nothing of size n² is needed."""
        scale, c = system.noise / len(system.y), system.data.weighted(system.alpha)
        x = system.data.x
        in_x = -scale * summer(system.kernel)(formulas.product_pull, (x, c), (x, c))[0]
        explained = (system.y * system.alpha).sum() - system.noise * system.alpha.square().sum()
        return in_x, scale * system.alpha, explained / (2 * len(system.y))

    def recorded(self, matrix: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The value."""
        return noise / (2 * len(y)) * (y * torch.linalg.solve(matrix, y)).sum()


class Dense(Criterion):
    """What is judged by the whole inverse."""

    @abstractmethod
    def dense(self, system: System) -> tuple[Tensor, Tensor]:
        """The gradients in K + λI, shape (n, n), symmetric, and in √w Y."""

    def slopes(self, system: System) -> tuple[Tensor, Tensor, Tensor]:
        """By the chain rule through every entry of K."""
        matrix, in_y = self.dense(system)
        in_noise = matrix.trace()
        if system.data.root is not None:
            matrix = system.data.root * matrix * system.data.root[:, 0]
        return gram.pulled(system.kernel, system.data.x, matrix.__getitem__), in_y, in_noise


class Likelihood(Dense):
    r"""−log of the marginal likelihood of a Gaussian process s²K with noise s²λ, over n, s² being the most likely one.

    $\tfrac k{2n} \log\det(K + \lambda I) + \tfrac k2 \log s^2 + \tfrac k2 (1 + \log 2\pi)$ with
    $s^2 = \mathrm{tr}\,Y^\top (K + \lambda I)^{-1} Y / nk$.
    """

    def value(self, system: System) -> Tensor:
        """The value."""
        n, k = system.y.shape
        square = (system.y * system.alpha).sum()
        return k / n * system.factor.diagonal().log().sum() + _scaled(square, n, k)

    def dense(self, system: System) -> tuple[Tensor, Tensor]:
        """The gradients."""
        n, k = system.y.shape
        in_y = k / (system.y * system.alpha).sum().clamp(min=NOTHING) * system.alpha
        return torch.addmm(system.inverse, in_y, system.alpha.T, beta=k / (2 * n), alpha=-0.5), in_y

    def recorded(self, matrix: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The value."""
        n, k = y.shape
        return k / (2 * n) * torch.logdet(matrix) + _scaled((y * torch.linalg.solve(matrix, y)).sum(), n, k)


NOTHING = 1e-200  # a square that is less is that of values that are all the same


def _scaled(square: Tensor, n: int, k: int) -> Tensor:
    return k / 2 * ((square / (n * k)).clamp(min=NOTHING).log() + 1 + math.log(2 * math.pi))


class LeftOut(Dense):
    """Half the mean square of the errors at points that are left out one at a time: Σ_i |α_i|² / (c_i² 2n).

    c is the diagonal of the inverse.
    """

    def value(self, system: System) -> Tensor:
        """The value."""
        return system.left_out().square().sum() / (2 * len(system.y))

    def dense(self, system: System) -> tuple[Tensor, Tensor]:
        """The gradients."""
        n, inverse, c = len(system.y), system.inverse, system.inverse.diagonal()[:, None]
        in_y = inverse @ (system.alpha / c.square()) / n
        spread = (system.alpha.square().sum(1, keepdim=True) / c.pow(3)) / n
        half = torch.addmm(inverse @ (0.5 * spread * inverse), in_y, system.alpha.T, alpha=-0.5)
        return half + half.T, in_y

    def recorded(self, matrix: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The value."""
        inverse = torch.linalg.inv(matrix)
        return ((inverse @ y) / inverse.diagonal()[:, None]).square().sum() / (2 * len(y))


class Foreseen(Dense):
    r"""−log of the probability of every value, given all others, of the process of `Likelihood`, over n.

    $\tfrac k2 \log s^2 - \tfrac k{2n} \sum_i \log c_i + \tfrac k2 (1 + \log 2\pi)$ with c the diagonal of the inverse,
    $s^2 = \sum_i |\alpha_i|^2 / (c_i nk)$ being the most likely. Sundararajan & Keerthi, "Predictive approaches for
    choosing hyperparameters in Gaussian processes", Neural Computation, 2001.
    """

    def value(self, system: System) -> Tensor:
        """The value."""
        n, k = system.y.shape
        c = system.inverse.diagonal()
        return _scaled((system.alpha.square().sum(1) / c).sum(), n, k) - k / (2 * n) * c.log().sum()

    def dense(self, system: System) -> tuple[Tensor, Tensor]:
        """The gradients."""
        (n, k), inverse, c = system.y.shape, system.inverse, system.inverse.diagonal()[:, None]
        squares = system.alpha.square().sum(1, keepdim=True) / c
        total = squares.sum().clamp(min=NOTHING)
        in_y = inverse @ (k / total * system.alpha / c)
        spread = (k / total * squares + k / n) / (2 * c)
        half = torch.addmm(inverse @ (0.5 * spread * inverse), in_y, system.alpha.T, alpha=-0.5)
        return half + half.T, in_y

    def recorded(self, matrix: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The value."""
        n, k = y.shape
        inverse = torch.linalg.inv(matrix)
        c = inverse.diagonal()
        return _scaled(((inverse @ y).square().sum(1) / c).sum(), n, k) - k / (2 * n) * c.log().sum()


class Averaged(Dense):
    """The mean of several criteria.

    Args:
        criteria: at least one.
    """

    def __init__(self, *criteria: Dense) -> None:
        self.criteria = criteria

    def value(self, system: System) -> Tensor:
        """The value."""
        return torch.stack([each.value(system) for each in self.criteria]).mean()

    def dense(self, system: System) -> tuple[Tensor, Tensor]:
        """The gradients."""
        in_matrix, in_y = self.criteria[0].dense(system)
        for each in self.criteria[1:]:
            matrix, y = each.dense(system)
            in_matrix, in_y = in_matrix + matrix, in_y + y
        return in_matrix / len(self.criteria), in_y / len(self.criteria)

    def recorded(self, matrix: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The value."""
        return torch.stack([each.recorded(matrix, y, noise) for each in self.criteria]).mean()


class _Judged(torch.autograd.Function):
    """A criterion as a function of positions, values and λ; the gradient comes with it, and no matrix is kept."""

    @staticmethod
    def forward(ctx: Any, criterion: Criterion, system: System, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        ctx.criterion, ctx.kernel, ctx.root = criterion, system.kernel, system.data.root
        slopes = ()
        if any(ctx.needs_input_grad):
            in_x, in_y, in_noise = criterion.slopes(system)
            slopes = (in_x, system.data.weighted(in_y), in_noise)
        ctx.save_for_backward(x, y, noise, *slopes)
        return criterion.value(system)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        x, y, noise, *slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative was asked for
            data = Regression(x, y, y.new_zeros(y.shape[1]), ctx.root)
            value = recorded(ctx.criterion, ctx.kernel(data.x).dense(), data, noise)
            inputs = [t for t in (x, y, noise) if t.requires_grad]
            found = iter(torch.autograd.grad(value, inputs, cotangents[0], create_graph=True))
            return None, None, *(next(found) if t.requires_grad else None for t in (x, y, noise))
        return None, None, *(cotangents[0] * slope for slope in slopes)


def judge(criterion: Criterion, system: System, data: Regression, noise: Tensor) -> Tensor:
    """The value of a criterion, differentiable in positions, values and the scalar λ, of which the system is."""
    return _Judged.apply(criterion, system, data.x, data.y, noise.to(data.x))


def recorded(criterion: Criterion, matrix: Tensor, data: Regression, noise: Tensor) -> Tensor:
    """The same from K(x, x) by plain operations of torch, which keep every matrix for the gradient."""
    if data.root is not None:
        matrix = data.root * matrix * data.root[:, 0]
    matrix = matrix + noise * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return criterion.recorded(matrix, data.weighted(data.y), noise)
