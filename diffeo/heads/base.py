"""What heads have in common: they map rows to rows, and say what they are built with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """A map between data and positions; its parameters, where it has any, are trained together with φ."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The image of every row of x, in the dtype and on the device of x."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What to call the class with to build this head again: tensors, numbers, other heads."""


class ReadIn(Head):
    """From raw inputs, shape (n, …), to positions, shape (n, d): what stands before φ."""


class ReadOut(Head):
    """From positions, shape (n, d), to scores or predicted values, shape (n, k): what stands behind φ."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """K, the number of classes or values."""

    @abstractmethod
    def rescaled(self, factor: float, shift: Tensor | None = None) -> ReadOut:
        """What reads the same from positions in other units: x becomes ``factor * x + shift``."""


def check_rows(x: Tensor, width: int, name: str) -> None:
    """Raise ValueError unless x has shape (n, width)."""
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"{name} expects a tensor of shape (n, {width}), and got {tuple(x.shape)}.")
