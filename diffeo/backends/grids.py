"""The loops over grids: resampling, smoothing, local correlation, corner determinants. One class per way to run them.

Arrays are tensors whose first axis counts components and whose other axes (one to three) are those of the grid;
positions are indices into the grid, not whole numbers in general. Outside of its grid every array is 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

REACH = 1  # how far around a point with too small a determinant a displacement is smoothed
SWEEPS = 300  # of smoothing, at most


class Correlation(NamedTuple):
    """The mean squared local correlation coefficient, and its gradient in the first image."""

    value: Tensor
    """A scalar in [0, 1]."""
    gradient: Tensor
    """Shape of the image."""


class GridLoops(ABC):
    """The primitives on grids."""

    @abstractmethod
    def sample(self, values: Tensor, index: Tensor) -> Tensor:
        """Multilinear interpolation of values, shape (c, *S), at indices, shape (d, *T): shape (c, *T)."""

    @abstractmethod
    def sample_pull(
        self, values: Tensor, index: Tensor, cotangent: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of Σ cotangent · sample in the values, shape (c, *S), and in the indices, shape (d, *T)."""

    @abstractmethod
    def warp(self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor, add: Tensor | None = None) -> Tensor:
        """Values, shape (c, *S), at matrix·(i + u(i)) + offset for every index i of T; u has the shape (d, *T).

        ``add``, shape (c, *T), is added: ``warp(u, 1, 0, w, add=w)`` is the displacement of (id + u)∘(id + w).
        """

    @abstractmethod
    def warp_pull(
        self, values: Tensor, matrix: Tensor, offset: Tensor, u: Tensor, cotangent: Tensor, needs: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of Σ cotangent · warp in the values, shape (c, *S), and in u, shape (d, *T)."""

    @abstractmethod
    def invert(self, u: Tensor, index: Tensor) -> Tensor:
        """The y, shape (d, *T), with y + u(y) = index, for u of shape (d, *S): Newton's method, to rounding.

        NaN where it finds none, or one at which i + u(i) has a determinant that is not positive.
        """

    @abstractmethod
    def convolve(self, values: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """Separable convolution of values, shape (c, *S), with symmetric taps of odd length, one tensor per axis."""

    @abstractmethod
    def correlation(self, moved: Tensor, target: Tensor, weights: Tensor | None, radius: int) -> Correlation:
        """Local normalized correlation of two images, shape S, in windows of (2 radius + 1)^d points.

        Its square is averaged over all points with ``weights``, shape S, or evenly. Windows end where the grid ends.
        """

    @abstractmethod
    def slopes(self, values: Tensor, weights: Tensor) -> Tensor:
        """Σ_c w_c ∇f_c, shape (d, *S), for values f and weights w of shape (c, *S).

        By central differences, one-sided at the border.
        """

    @abstractmethod
    def corner_determinants(self, u: Tensor, largest: bool = False) -> Tensor:
        """For every point the smallest of the 2^d determinants of the one-sided differences of i + u(i), shape S.

        Or the largest of them.

        At the border only the differences that exist are taken.
        """

    @abstractmethod
    def repaired(self, u: Tensor, least: float) -> Tensor:
        """u, smoothed around the points whose corner determinant is below ``least``, and only there, until none is.

        After `SWEEPS` it is returned as it is then. Points of the border that do not move stay: nothing moves beyond.
        """


@lru_cache(maxsize=1)
def _loops() -> tuple[GridLoops, GridLoops]:
    from diffeo.backends.cpu.grids import CPUGrids
    from diffeo.backends.dense.grids import DenseGrids

    return DenseGrids(), CPUGrids()


def loops_for(values: Tensor) -> GridLoops:
    """Fused loops on the CPU in float32 and float64; torch for all else."""
    fused = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)
    return _loops()[1 if fused else 0]
