"""Affine maps as unknowns."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Diffeo


class LearnedAffine(Diffeo):
    r"""$\varphi(x) = e^M x + b$ with M and b as unknowns: whatever they are, invertible, and it keeps orientation.

    Between diffeomorphic parts of a `Compose` it does what those would pay dearly for: stretch, turn, shift all at
    once (Lohr & Younes, "FineMorphs", arXiv 2305.17255). One layer reaches the matrices that have a real logarithm,
    two reach all with positive determinant.

    Args:
        dim: d.
        trained: whether M and b are to be optimized.
        matrix: the logarithm M, shape (d, d); zero if left out, which is the identity.
        translation: b, shape (d,), in length units; zero if left out.
        penalty: λ, in length units squared: the energy is ½λ|M|², 0 by default; translations are not paid for.
        diagonal: M is a diagonal matrix: every coordinate gets a scale of its own, and nothing is turned.

    Raises: ValueError where these do not fit together.
    """

    never_folds = True

    def __init__(
        self,
        dim: int,
        trained: bool = True,
        matrix: Tensor | None = None,
        translation: Tensor | None = None,
        penalty: float = 0.0,
        diagonal: bool = False,
    ) -> None:
        super().__init__()
        if dim < 1 or not (math.isfinite(penalty) and penalty >= 0):
            raise ValueError(
                f"LearnedAffine expects a dimension that is 1 or more, and a finite penalty that is 0 or more, and got "
                f"dim {dim}, penalty {penalty}."
            )
        self.dim, self.trained, self.penalty = dim, trained, float(penalty)
        like = next((t for t in (matrix, translation) if t is not None), torch.zeros(()))
        matrix = like.new_zeros(dim, dim) if matrix is None else matrix
        translation = like.new_zeros(dim) if translation is None else translation
        if matrix.shape != (dim, dim) or translation.shape != (dim,):
            raise ValueError(
                f"LearnedAffine expects a matrix ({dim}, {dim}) and a translation ({dim},), and got "
                f"{tuple(matrix.shape)} and {tuple(translation.shape)}."
            )
        if diagonal and not torch.equal(matrix, matrix.diagonal().diag()):
            raise ValueError("LearnedAffine(diagonal=True) expects a diagonal matrix, and got another one.")
        self.diagonal = diagonal
        unknown = matrix.diagonal() if diagonal else matrix
        self.unknown = nn.Parameter(unknown.detach().clone(), requires_grad=trained)
        self.translation = nn.Parameter(translation.detach().to(matrix).clone(), requires_grad=trained)

    @property
    def logarithm(self) -> Tensor:
        """M, shape (d, d)."""
        return self.unknown.diag() if self.diagonal else self.unknown

    @property
    def matrix(self) -> Tensor:
        """e^M, shape (d, d)."""
        return torch.linalg.matrix_exp(self.logarithm)

    def forward(self, x: Tensor) -> Tensor:
        """e^M x + b."""
        return x @ self.matrix.T + self.translation

    def inverse(self, y: Tensor) -> Tensor:
        """e^{−M} (y − b)."""
        return (y - self.translation) @ torch.linalg.matrix_exp(-self.logarithm).T

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image, and the trace of M for every point."""
        return self(x), self.logarithm.trace().expand(len(x))

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image, and e^M for every point."""
        return self(x), self.matrix.expand(len(x), -1, -1)

    def path(self, x: Tensor) -> list[Tensor]:
        """Start and end."""
        return [x, self(x)]

    def energy(self) -> Tensor:
        """½λ|M|²."""
        return 0.5 * self.penalty * self.logarithm.square().sum()

    def arguments(self) -> dict[str, Any]:
        """Size, the unknowns, the penalty."""
        return {
            "dim": self.dim,
            "trained": self.trained,
            "matrix": self.logarithm.detach(),
            "translation": self.translation.detach(),
            "penalty": self.penalty,
            "diagonal": self.diagonal,
        }

    def rescaled(self, factor: float, shift: Tensor) -> LearnedAffine:
        """The same motion in other units."""
        with torch.no_grad():
            shift = shift.to(self.translation)
            translation = factor * self.translation + shift - self.matrix @ shift
        changed = {"translation": translation, "penalty": factor**2 * self.penalty}
        return LearnedAffine(**{**self.arguments(), **changed})

    def extra_repr(self) -> str:
        """The dimension."""
        return (
            f"dim={self.dim}"
            + ", diagonal" * self.diagonal
            + ("" if self.trained else ", fixed")
            + (f", penalty={self.penalty:g}" * bool(self.penalty))
        )
