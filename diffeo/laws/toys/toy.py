"""What the toys have in common: fixed constants, units, an entropy."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffeo.laws.base import Law, check_draws, check_points

CHUNK = 512  # points at a time: quadrature takes some hundred numbers for each, which should stay in the cache


class Toy(Law):
    """The law of ``factor * z + shift``, where z has a law in the plane with fixed constants.

    Densities are computed in float64, whatever the dtype of the points.

    Args:
        factor: positive.
        shift: shape (2,); zero if left out. Points are drawn in its dtype.

    Attributes:
        ENTROPY: of z, in nats: −∫ p log p by quadrature on a grid (`tests/laws/test_toys.py` does it again).

    Raises: ValueError for a factor or shift that are not such.
    """

    ENTROPY: ClassVar[float]
    shift: Tensor

    def __init__(self, factor: float = 1.0, shift: Tensor | None = None) -> None:
        super().__init__()
        shift = torch.zeros(2) if shift is None else shift.detach().clone()
        if not factor > 0 or shift.shape != (2,) or not shift.is_floating_point():
            raise ValueError(
                f"{type(self).__name__} expects a positive factor and a shift of shape (2,), and got {factor} and "
                f"{shift.dtype} of {tuple(shift.shape)}."
            )
        self.factor = float(factor)
        self.register_buffer("shift", shift)

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @property
    def entropy(self) -> float:
        """−∫ p log p, in nats."""
        return self.ENTROPY + self.dim * math.log(self.factor)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), shape (n,)."""
        check_points(x, self.dim, type(self).__name__)
        z = (x.double() - self.shift.double()) / self.factor
        values = torch.cat([self.standard_log_prob(part) for part in z.split(CHUNK)])
        return (values - self.dim * math.log(self.factor)).to(x)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Independent points."""
        z = self.standard_sample(check_draws(n, type(self).__name__), generator)
        return (self.factor * z).to(self.shift) + self.shift

    @abstractmethod
    def standard_log_prob(self, z: Tensor) -> Tensor:
        """The log-density of z, shape (n,), in float64."""

    @abstractmethod
    def standard_sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """n of z, shape (n, 2), in float64."""

    def arguments(self) -> dict[str, Any]:
        """Factor and shift."""
        return {"factor": self.factor, "shift": self.shift}

    def rescaled(self, factor: float, shift: Tensor) -> Toy:
        """The same shape in other units."""
        return type(self)(factor * self.factor, factor * self.shift + shift)

    def extra_repr(self) -> str:
        """Factor and shift, where they are not 1 and 0."""
        plain = self.factor == 1 and not self.shift.any()
        return "" if plain else f"factor={self.factor:g}, shift={self.shift.tolist()}"


def uniform(n: int, generator: torch.Generator | None, columns: int = 1) -> Tensor:
    """Numbers between 0 and 1, shape (n, columns)."""
    return torch.rand(n, columns, generator=generator, dtype=torch.float64)


def normal(n: int, generator: torch.Generator | None) -> Tensor:
    """Standard normal points, shape (n, 2)."""
    return torch.randn(n, 2, generator=generator, dtype=torch.float64)


def chosen(n: int, generator: torch.Generator | None, among: int) -> Tensor:
    """Integers below ``among``, all equally likely, shape (n,)."""
    return torch.randint(among, (n,), generator=generator)
