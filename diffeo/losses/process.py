"""Gaussian processes that learn their kernel: how wide each of its terms is, and how much it says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diffeo.kernels import gram
from diffeo.kernels.algebra import Radial, ScaledKernel, SumKernel
from diffeo.losses.gaussian_process import LearnedPenaltyLoss
from diffeo.losses.kernel_system import Averaged, Dense, Foreseen, Likelihood, System, recorded
from diffeo.losses.solved import Regression


class ProcessLoss(LearnedPenaltyLoss):
    r"""A Gaussian process of covariance $s^2 (\sum_m w_m k_m(|x-x'|^2/\sigma_m^2) + \lambda I)$, all of it learned.

    What is judged is half the likelihood, which is right if the values do come from such a process, and half the
    probability of every value given the others, which asks for good predictions whether they do or not. Both decide how
    smooth the values are along the moved points: a wide Gaussian says what holds far around, a narrow Laplacian what
    holds next to a point only.

    Args:
        kernel: a sum of multiples of kernels with one scale each; its weights w and scales σ are where they begin.
        penalty, classes, centers, seed: those of `KernelLoss`.
        trained: whether weights, scales and λ are optimized.
    """

    ALIKE = True  # a batch may have no others

    def __init__(
        self,
        kernel: Radial,
        penalty: float,
        classes: int | None = None,
        centers: int = 1000,
        seed: int = 0,
        trained: bool = True,
    ) -> None:
        super().__init__(kernel, penalty, classes, centers, seed, trained)

    @property
    def criterion(self) -> Dense:
        """The mean of both."""
        return Averaged(Likelihood(), Foreseen())

    def _place_kernel(self, kernel: Radial) -> None:
        terms = [_weighted(term) for term in (kernel.terms if isinstance(kernel, SumKernel) else (kernel,))]
        for _, term in terms:
            if len(term.scales) != 1:
                raise ValueError(
                    f"{type(self).__name__} learns a scale for each term of its kernel, and {term!r} has several: give "
                    "it a sum of multiples of simple kernels."
                )
        self.shapes = [term.rescaled(1 / term.scales[0]) for _, term in terms]
        weights = torch.tensor([weight for weight, _ in terms], dtype=torch.float64)
        scales = torch.tensor([term.scales[0] for _, term in terms], dtype=torch.float64)
        self.log_weights = nn.Parameter(weights.log(), requires_grad=self.trained)
        self.log_scales = nn.Parameter(scales.log(), requires_grad=self.trained)

    @property
    def terms(self) -> list[tuple[float, float, Radial]]:
        """(w, σ, the kernel with scale 1), term by term, as learned so far."""
        weights, scales = self.log_weights.detach().exp().tolist(), self.log_scales.detach().exp().tolist()
        return list(zip(weights, scales, self.shapes, strict=True))

    @property
    def kernel(self) -> Radial:  # pyright: ignore[reportIncompatibleVariableOverride]
        """K as learned so far."""
        terms = tuple(ScaledKernel(weight, shape.rescaled(scale)) for weight, scale, shape in self.terms)
        return terms[0] if len(terms) == 1 else SumKernel(terms)

    def _judged(self, system: System, data: Regression) -> Tensor:
        unknowns = [t.to(data.x) for t in (self.log_penalty.exp(), self.log_weights, self.log_scales)]
        return _Judged.apply(self.criterion, system, self.terms, data.x, data.y, *unknowns)


def _weighted(kernel: Radial) -> tuple[float, Radial]:
    """A kernel as a multiple of one that is none."""
    weight = 1.0
    while isinstance(kernel, ScaledKernel):
        weight, kernel = weight * kernel.weight, kernel.kernel
    return weight, kernel


class _Judged(torch.autograd.Function):
    """A criterion as a function of positions, values, λ, and the logarithms of weights and scales."""

    @staticmethod
    def forward(
        ctx: Any, criterion: Dense, system: System, terms: list[tuple[float, float, Radial]], *inputs: Tensor
    ) -> Tensor:
        ctx.criterion, ctx.shapes, ctx.root = criterion, [shape for _, _, shape in terms], system.data.root
        slopes: tuple[Tensor, ...] = ()
        if any(ctx.needs_input_grad):
            matrix, in_y = criterion.dense(system)
            in_noise, root = matrix.trace(), system.data.root
            if root is not None:
                matrix = root * matrix * root[:, 0]
            in_x, in_weights, in_scales = gram.pulled_terms(terms, system.data.x, matrix.__getitem__)
            slopes = (in_x, system.data.weighted(in_y), in_noise, in_weights, in_scales)
        ctx.save_for_backward(*inputs, *slopes)
        return criterion.value(system)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        inputs, slopes = ctx.saved_tensors[:5], ctx.saved_tensors[5:]
        if not torch.is_grad_enabled():
            return None, None, None, *(cotangents[0] * slope for slope in slopes)
        x, y, noise, weights, scales = inputs  # a second derivative was asked for
        data = Regression(x, y, y.new_zeros(y.shape[1]), ctx.root)
        value = recorded(ctx.criterion, _matrix(x, weights, scales, ctx.shapes), data, noise)
        wanted = [t for t in inputs if t.requires_grad]
        found = iter(torch.autograd.grad(value, wanted, cotangents[0], create_graph=True, allow_unused=True))
        return None, None, None, *(next(found) if t.requires_grad else None for t in inputs)


def _matrix(x: Tensor, log_weights: Tensor, log_scales: Tensor, shapes: list[Radial]) -> Tensor:
    """K(x, x) by plain operations of torch."""
    u = (x[:, None] - x).square().sum(2)
    scaled = [shape.jet(u * (-2 * scale).exp())[0] for shape, scale in zip(shapes, log_scales, strict=True)]
    return torch.stack([weight.exp() * k for weight, k in zip(log_weights, scaled, strict=True)]).sum(0)
