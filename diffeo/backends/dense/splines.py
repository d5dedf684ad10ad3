"""Quadratic B-splines in plain torch: the reference, for any dtype and device, differentiable any number of times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffeo.backends.splines import SplineLoops


class DenseSplines(SplineLoops):
    """Torch operations, one bump of the 3^d after the other."""

    def spread(self, weights: Tensor, index: Tensor, shape: Sequence[int]) -> Tensor:
        """Adds at the 3^d points around every position."""
        total = weights.new_zeros(len(weights), math.prod(shape))
        for at, factors, _ in _bumps(index, shape):
            total = total.index_add(1, at, weights * math.prod(factors))
        return total.reshape(len(weights), *shape)

    def read(self, coefficients: Tensor, index: Tensor) -> Tensor:
        """Gathers from the 3^d points around every position."""
        flat = coefficients.flatten(1)
        total = flat.new_zeros(len(flat), index.shape[1])
        for at, factors, _ in _bumps(index, coefficients.shape[1:]):
            total = total + math.prod(factors) * flat[:, at]
        return total

    def read_with_slope(self, coefficients: Tensor, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with every factor replaced by its derivative in turn."""
        flat, d = coefficients.flatten(1), len(index)
        total, slopes = flat.new_zeros(len(flat), index.shape[1]), [torch.zeros_like(index[0])] * d
        for at, factors, derivatives in _bumps(index, coefficients.shape[1:]):
            values = flat[:, at]
            total, scalar = total + math.prod(factors) * values, (weights * values).sum(0)
            for k in range(d):
                slopes[k] = slopes[k] + scalar * math.prod([*factors[:k], derivatives[k], *factors[k + 1 :]])
        return total, torch.stack(slopes)

    def read_with_jacobian(self, coefficients: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Component by component."""
        one = torch.ones_like(index[:1])
        values, slopes = zip(*(self.read_with_slope(c[None], index, one) for c in coefficients), strict=True)
        return torch.cat(values), torch.stack(slopes)

    def pull(
        self, coefficients: Tensor, index: Tensor, weights: Tensor, in_value: Tensor, in_slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """By automatic differentiation."""
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            inputs = [t if recorded else t.detach().requires_grad_() for t in (coefficients, index, weights)]
            inputs = [t if t.requires_grad else t.detach().requires_grad_() for t in inputs]
            outputs = self.read_with_slope(*inputs)
        a, b, c = torch.autograd.grad(outputs, inputs, (in_value, in_slope), create_graph=recorded)
        return a, b, c


def _bumps(index: Tensor, shape: Sequence[int]) -> Iterator[tuple[Tensor, list[Tensor], list[Tensor]]]:
    """For each of the 3^d points around the positions: where it is, flattened, the factors of β there, and their β'.

    Along an axis of one point β is 1; beyond the grid it is taken for 0.
    """
    limit = torch.tensor([float(n) + 1 for n in shape], dtype=index.dtype, device=index.device)[:, None]
    middle = torch.minimum(index.detach().nan_to_num(nan=-3.0).clamp(min=-3.0), limit).round()
    t = index - middle
    values = 0.5 * (0.5 - t).square(), 0.75 - t.square(), 0.5 * (0.5 + t).square()
    slopes = t - 0.5, -2 * t, t + 0.5
    for corner in itertools.product((0, 1, 2), repeat=len(shape)):
        if any(n == 1 and step != 1 for n, step in zip(shape, corner, strict=True)):
            continue
        at, factors, derivatives = torch.zeros_like(middle[0], dtype=torch.int64), [], []
        for axis, (n, step) in enumerate(zip(shape, corner, strict=True)):
            k = middle[axis].long() + step - 1
            inside = (k >= 0) & (k < n)
            at = at * n + k.clamp(0, n - 1)
            factors.append(torch.ones_like(t[axis]) if n == 1 else torch.where(inside, values[step][axis], 0.0))
            derivatives.append(torch.zeros_like(t[axis]) if n == 1 else torch.where(inside, slopes[step][axis], 0.0))
        yield at, factors, derivatives
