"""Raw inputs, which a read-in turns into points."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from diffeo.core import Diffeo, Shape
from diffeo.grid import Grid
from diffeo.heads.base import Head
from diffeo.shapes.points import Points


@dataclass(frozen=True, eq=False)
class Encoded(Shape):
    """Inputs x that φ carries to the points φ(A(x)), A being a read-in that may be trained together with φ.

    Attributes:
        x: the inputs, shape (n, p) or (n, …), whatever the read-in takes; floating point and finite.
        read_in: A; it turns them into positions, shape (n, d).
        weights: masses of the points, shape (n,); None means 1/n each.

    Raises: ValueError for inputs that are not such.
    """

    x: Tensor
    read_in: Head
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        x = self.x
        if not isinstance(x, Tensor) or x.ndim < 2 or not x.numel() or not x.is_floating_point():
            got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"Encoded expects floating-point inputs of shape (n, p) or (n, …), n ≥ 1, and got {got}.")
        bad = int((~torch.isfinite(x.detach())).flatten(1).any(1).sum())
        if bad:
            raise ValueError(f"Encoded expects finite inputs: {bad} of {len(x)} rows have NaN or infinite entries.")

    def points(self) -> Points:
        """A(x), where φ takes over.

        Raises: ArithmeticError where that is not finite: a diverged read-in is no fault of the inputs.
        """
        z = self.read_in(self.x)
        if z.ndim == 2 and not bool(torch.isfinite(z.detach()).all()):
            raise ArithmeticError("the read-in sends inputs to infinity or NaN.")
        return Points(z, weights=self.weights)

    def carried(self, phi: Diffeo) -> Points:  # pyright: ignore[reportIncompatibleMethodOverride] - inputs do not stay such
        """φ(A(x)); differentiable in the parameters of both."""
        return self.points().carried(phi)

    def differentiable(self) -> tuple[Points, list[Tensor]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The points, which are what moves."""
        return self.points().differentiable()

    def pulled(self, gradients: Sequence[Tensor | None], grid: Grid) -> Tensor:
        """As the points are pulled."""
        return self.points().pulled(gradients, grid)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The inputs converted; heads follow them."""
        x = self.x.to(*args, **kwargs)
        return dataclasses.replace(self, x=x, weights=None if self.weights is None else self.weights.to(x))
