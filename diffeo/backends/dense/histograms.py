"""Joint histograms in plain torch: the reference, for any dtype and device, differentiable any number of times."""

from __future__ import annotations

import torch
from torch import Tensor

from diffeo.backends.histograms import Histograms

CHUNK = 200_000  # values that are spread over all bins at a time


class DenseHistograms(Histograms):
    """Products of two matrices: every value against every bin."""

    def joint(self, p: Tensor, q: Tensor, weights: Tensor | None, bins: int) -> Tensor:
        """Chunk by chunk."""
        table = torch.zeros(bins, bins, dtype=torch.float64, device=p.device)
        for chunk in torch.arange(len(p), device=p.device).split(CHUNK):
            over_p, over_q = spread(p[chunk], bins), spread(q[chunk], bins)
            if weights is not None:
                over_p = over_p * weights[chunk, None]
            table = table + (over_p.T @ over_q).double()
        return table

    def joint_pull(self, p: Tensor, q: Tensor, weights: Tensor | None, cotangent: Tensor) -> Tensor:
        """By automatic differentiation."""
        with torch.enable_grad():
            values = p.detach().requires_grad_()
            table = self.joint(values, q.detach(), None if weights is None else weights.detach(), len(cotangent))
        return torch.autograd.grad(table, values, cotangent.detach())[0]


def spread(values: Tensor, bins: int) -> Tensor:
    """β(value − k), shape (n, bins), for values of shape (n,) and every bin k; β is the cubic B-spline."""
    away = (values[:, None] - torch.arange(bins, dtype=values.dtype, device=values.device)).abs()
    near, far = 2 / 3 - away.square() * (1 - away / 2), (2 - away).clamp(min=0) ** 3 / 6
    return torch.where(away < 1, near, far)
