"""Affine maps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.flows.turning import turns, way


class Affine(Diffeo):
    """φ(x) = A x + b, in the precision of x; its energy is 0: affine motions are not paid for.

    Args:
        matrix: A, shape (d, d), with positive determinant.
        translation: b, shape (d,), in length units.

    Raises: ValueError if A does not keep orientation.
    """

    never_folds = True

    matrix: Tensor
    translation: Tensor

    def __init__(self, matrix: Tensor, translation: Tensor) -> None:
        super().__init__()
        d = len(translation)
        if matrix.shape != (d, d) or translation.ndim != 1:
            raise ValueError(
                f"Affine expects a matrix (d, d) and a translation (d,), and got {tuple(matrix.shape)} and "
                f"{tuple(translation.shape)}."
            )
        sign, log = torch.linalg.slogdet(matrix.detach().double())  # a determinant itself underflows
        if not (float(sign) > 0 and math.isfinite(float(log))):
            det = float(sign * log.exp())
            raise ValueError(f"Affine expects a matrix with positive determinant, and got {det:.3g}: it would fold.")
        self.register_buffer("matrix", matrix.detach().clone())
        self.register_buffer("translation", translation.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """A x + b."""
        return x @ self.matrix.T.to(x) + self.translation.to(x)

    def inverse(self, y: Tensor) -> Tensor:
        """A⁻¹(y − b)."""
        return (y - self.translation.to(y)) @ torch.linalg.inv(self.matrix).T.to(y)

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A x + b, and log det A for every point."""
        return self(x), self._logdet().to(x).expand(len(x))

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A x + b, and A for every point."""
        return self(x), self.matrix.to(x).expand(len(x), -1, -1)

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A x + b, and the same part of det A for each step of the path."""
        steps = turns(self.matrix)
        return self(x), (self._logdet() / steps).exp().to(x).expand(steps, len(x))

    def path(self, x: Tensor) -> list[Tensor]:
        """Start and end; places between where it turns by more than 15°, on the way that `turning.way` describes."""
        steps = turns(self.matrix)
        linear, shift = way(self.matrix, self.translation, torch.arange(1, steps) / steps)
        between = [x @ a.T.to(x) + b.to(x) for a, b in zip(linear, shift, strict=True)]
        return [x, *between, self(x)]

    def energy(self) -> Tensor:
        """0."""
        return self.matrix.new_zeros(())

    def arguments(self) -> dict[str, Any]:
        """Matrix and translation."""
        return {"matrix": self.matrix, "translation": self.translation}

    def rescaled(self, factor: float, shift: Tensor) -> Affine:
        """The same motion in other units."""
        shift = shift.to(self.matrix)
        return Affine(self.matrix, factor * self.translation + shift - self.matrix @ shift)

    def _logdet(self) -> Tensor:
        """log det A, float64."""
        return torch.linalg.slogdet(self.matrix.double())[1]
