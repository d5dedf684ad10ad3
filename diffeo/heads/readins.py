"""Read-ins without parameters, and read-ins one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from diffeo.heads.base import ReadIn


class Identity(ReadIn):
    """The inputs are the positions."""

    def forward(self, x: Tensor) -> Tensor:
        """X itself."""
        return x

    def arguments(self) -> dict[str, Any]:
        """Nothing."""
        return {}


class ZeroPadding(ReadIn):
    """Extra dimensions, in which all data start at 0.

    A diffeomorphism of R^d keeps what is inside a sphere inside; in more dimensions there is a way around (Dupont,
    Doucet & Teh, "Augmented neural ODEs", NeurIPS 2019).

    Args:
        extra: how many, 0 or more.
    """

    def __init__(self, extra: int) -> None:
        super().__init__()
        if extra < 0:
            raise ValueError(f"ZeroPadding expects a number of extra dimensions that is 0 or more, and got {extra}.")
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """X with columns of zeros behind its own, shape (n, p + extra)."""
        return nn.functional.pad(x, (0, self.extra))

    def arguments(self) -> dict[str, Any]:
        """How many."""
        return {"extra": self.extra}

    def extra_repr(self) -> str:
        """How many."""
        return str(self.extra)


class Chain(ReadIn):
    """Several read-ins, one after the other, in the order in which they act."""

    def __init__(self, parts: Sequence[ReadIn]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("Chain expects at least one read-in, and got none.")
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Through all parts."""
        for part in self.parts:
            x = part(x)
        return x

    def arguments(self) -> dict[str, Any]:
        """The parts."""
        return {"parts": list(self.parts)}
