"""Joint histograms of two images with smooth windows, and their derivatives. One class per way to run them.

Values are positions on the axis of the bins: 0 is the middle of the first of them, and all lie between 1 and bins − 2,
where the four cubic B-splines that a value falls into sum to 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import torch
from torch import Tensor


class Histograms(ABC):
    """The primitives on pairs of values."""

    @abstractmethod
    def joint(self, p: Tensor, q: Tensor, weights: Tensor | None, bins: int) -> Tensor:
        """Σ_x w_x β(p_x − k) β(q_x − l), shape (bins, bins), float64, for p, q and weights of shape (n,).

        β is the cubic B-spline. The sum over all k and l is that of the weights, or n.
        """

    @abstractmethod
    def joint_pull(self, p: Tensor, q: Tensor, weights: Tensor | None, cotangent: Tensor) -> Tensor:
        """The gradient of Σ cotangent · joint in p, shape (n,); in q it is that of the transposed cotangent."""


@lru_cache(maxsize=1)
def _histograms() -> tuple[Histograms, Histograms]:
    from diffeo.backends.cpu.histograms import CPUHistograms
    from diffeo.backends.dense.histograms import DenseHistograms

    return DenseHistograms(), CPUHistograms()


def histograms_for(values: Tensor) -> Histograms:
    """Fused loops on the CPU in float32 and float64; torch for all else."""
    fused = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)
    return _histograms()[1 if fused else 0]
