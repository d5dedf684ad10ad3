"""Local correlation: images whose brightness and contrast differ, slowly from place to place."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.dense.grids import DenseGrids
from diffeo.backends.grids import GridLoops, loops_for
from diffeo.losses.images import ImageLoss
from diffeo.losses.memory import Memory


class LNCCLoss(ImageLoss):
    r"""Local normalized correlation, squared: for images that show the same, not necessarily equally bright.

    $D(I, J) = 1 - \sum_x w\,r_{IJ}^2 / \sum_x w\,r_{JJ}^2$, where $r_{IJ}(x)$ is the correlation coefficient in the
    window around x; all channels are added. Windows without structure correlate with nothing, not even with themselves:
    the denominator counts those of the target that have some, so that a wide background changes nothing.

    Args:
        radius: windows have 2 · radius + 1 points along every axis.

    Source: Avants et al., "Symmetric diffeomorphic image registration with cross-correlation", Medical Image Analysis
    2008.
    """

    def __init__(self, radius: int = 2) -> None:
        super().__init__()
        if radius != int(radius) or radius < 1:
            raise ValueError(f"LNCCLoss expects a radius of 1, 2, … points, and got {radius}.")
        self.radius = int(radius)
        self._pairs, self._own = Memory(), Memory()

    def compare(self, moved: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """1 minus the share of the target's structure that the moved image explains.

        Raises: ValueError for a target that is constant.
        """
        own = self._own(self._structure, target, weights)
        return 1 - _Correlation.apply(moved, target, weights, self.radius, self._pairs) / own

    def _structure(self, target: Tensor, weights: Tensor | None) -> Tensor:
        total = _Correlation.apply(target, target, weights, self.radius, Memory())
        if not float(total.detach()) > 0:
            raise self.same_everywhere()
        return total

    def extra_repr(self) -> str:
        """The radius."""
        return f"radius={self.radius}"


class _Correlation(torch.autograd.Function):
    """The mean squared correlation coefficient, added over the channels; the first image's gradient comes with it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, weights: Tensor | None, radius: int, memory: Memory) -> Tensor:
        ctx.save_for_backward(a, b, weights)
        ctx.radius = radius
        value, ctx.gradient = memory(partial(correlations, loops_for(a), radius), a, b, weights)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        (g,), (a, b, weights), radius = cotangents, ctx.saved_tensors, ctx.radius
        needs, again = ctx.needs_input_grad, torch.is_grad_enabled()
        found = partial(correlations, DenseGrids() if again else loops_for(a), radius)
        in_a = in_b = in_weights = None
        if needs[0]:
            known = found(a, b, weights)[1] if again else ctx.gradient
            in_a = g * across(known, a)
        if needs[1]:
            in_b = g * across(found(b, a, weights)[1], b)
        if needs[2]:
            in_weights = g * gradient_in_weights(a, b, weights, radius)
        return in_a, in_b, in_weights, None, None


def correlations(loops: GridLoops, radius: int, a: Tensor, b: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Σ over the channels of the mean squared correlation, and its gradient in a while the floors stand still.

    A constant channel correlates with nothing.
    """
    value, gradients = a.new_zeros(()), []
    for first, second in zip(a, b, strict=True):
        if flat(first) or flat(second):
            gradients.append(torch.zeros_like(first))
            continue
        found = loops.correlation(first, second, weights, radius)
        value = value + found.value
        gradients.append(found.gradient)
    return value, torch.stack(gradients)


def across(gradient: Tensor, image: Tensor) -> Tensor:
    """The part of a gradient that is orthogonal to the contrast of the image, channel by channel.

    The loops hold the floor of the local variance while they differentiate, and it is a fraction of the image's
    variance. Since more contrast changes nothing, the exact gradient is orthogonal to it; and what they leave out is
    a multiple of it.
    """
    centered = image.flatten(1) - image.flatten(1).mean(1, keepdim=True)
    g = gradient.flatten(1)
    tiny = torch.finfo(image.dtype).tiny
    along = torch.einsum("cn,cn->c", g, centered) / (torch.einsum("cn,cn->c", centered, centered) + tiny)
    return torch.addcmul(g, along[:, None], centered, value=-1).reshape(image.shape)


def gradient_in_weights(a: Tensor, b: Tensor, weights: Tensor, radius: int) -> Tensor:
    """By automatic differentiation of the reference."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        w = weights if again else weights.detach().requires_grad_()
        value = sum(
            DenseGrids()._mean_correlation(first, second, w, radius)
            for first, second in zip(a, b, strict=True)
            if not (flat(first) or flat(second))
        )
    if not isinstance(value, Tensor):
        return torch.zeros_like(weights)
    return torch.autograd.grad(value, w, create_graph=again)[0]


def flat(image: Tensor) -> bool:
    """Whether there is nothing but a constant and rounding errors."""
    low, high = torch.aminmax(image.detach())
    return float(high - low) <= 16 * torch.finfo(image.dtype).eps * max(abs(float(low)), abs(float(high)))
