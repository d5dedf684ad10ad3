"""K(x, y) as an object: multiplied with, never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffeo.kernels import reductions

if TYPE_CHECKING:
    from diffeo.kernels.algebra import Radial


class KernelMatrix:
    """The lazy matrix with entries k(|x_i − y_j|²).

    Args:
        kernel: the kernel.
        x, y: positions, shapes (n, d) and (m, d), one dtype and device.

    Raises: ValueError if the positions do not fit together.
    """

    def __init__(self, kernel: Radial, x: Tensor, y: Tensor) -> None:
        reductions.check_positions(x, y)
        self.kernel, self.x, self.y = kernel, x, y

    @property
    def shape(self) -> tuple[int, int]:
        """(n, m)."""
        return len(self.x), len(self.y)

    @property
    def T(self) -> KernelMatrix:
        """K(y, x)."""
        return KernelMatrix(self.kernel, self.y, self.x)

    def __matmul__(self, b: Tensor) -> Tensor:
        """K(x, y) b, shape (n, e) for b of shape (m, e), or (n,) for (m,); differentiable in x, y and b."""
        if b.shape[0] != len(self.y) or b.ndim not in (1, 2):
            raise ValueError(f"K(x, y) is {self.shape[0]} × {self.shape[1]} and cannot multiply a {tuple(b.shape)}.")
        if b.ndim == 1:
            return reductions.product(self.kernel, self.x, self.y, b[:, None])[:, 0]
        return reductions.product(self.kernel, self.x, self.y, b)

    def dense(self) -> Tensor:
        """All entries, shape (n, m); differentiable."""
        square = torch.zeros((), dtype=self.x.dtype, device=self.x.device)
        for k in range(self.x.shape[1]):
            square = square + (self.x[:, None, k] - self.y[None, :, k]).square()
        return self.kernel.jet(square)[0]

    def __repr__(self) -> str:
        return f"{self.kernel!r}(x, y) of shape {self.shape}"
