"""The loops over quadratic B-splines on grids: sums of bumps at points, and their exact transposes. One class per way.

Arrays are tensors whose first axis counts components and whose other axes (one to three) are those of the grid;
positions are indices into the grid, shape (d, n). β is the product over the axes of the quadratic B-spline, which is 0
from 3/2 steps on and has a continuous derivative; β_i(x) = β(x − i). Outside of its grid every array is 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


class SplineLoops(ABC):
    """The primitives."""

    @abstractmethod
    def spread(self, weights: Tensor, index: Tensor, shape: Sequence[int]) -> Tensor:
        """Σ_n w_n β_i(x_n) for every point i of a grid, shape (c, *shape), for weights w, shape (c, n)."""

    @abstractmethod
    def read(self, coefficients: Tensor, index: Tensor) -> Tensor:
        """s(x_n) = Σ_i c_i β_i(x_n), shape (c, n), for coefficients c, shape (c, *S): the transpose of `spread`."""

    @abstractmethod
    def read_with_slope(self, coefficients: Tensor, index: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """s(x_n), shape (c, n), and ∇(w_n·s)(x_n), shape (d, n), for weights w, shape (c, n)."""

    @abstractmethod
    def read_with_jacobian(self, coefficients: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """s(x_n), shape (c, n), and Ds(x_n), shape (c, d, n)."""

    @abstractmethod
    def pull(
        self, coefficients: Tensor, index: Tensor, weights: Tensor, in_value: Tensor, in_slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of Σ in_value · value + in_slope · slope of `read_with_slope`, in its three arguments."""


@lru_cache(maxsize=1)
def _loops() -> tuple[SplineLoops, SplineLoops]:
    from diffeo.backends.cpu.splines import CPUSplines
    from diffeo.backends.dense.splines import DenseSplines

    return DenseSplines(), CPUSplines()


def spline_loops_for(values: Tensor) -> SplineLoops:
    """Fused loops on the CPU in float32 and float64; torch for all else."""
    fused = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)
    return _loops()[1 if fused else 0]
