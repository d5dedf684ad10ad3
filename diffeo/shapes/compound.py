"""Several shapes that one diffeomorphism carries: an image, its landmarks and a surface, with one momentum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from diffeo.core import Diffeo, Shape
from diffeo.grid import Grid


@dataclass(frozen=True, eq=False)
class Compound(Shape):
    """Shapes in one space, carried by one map; compared by `CompoundLoss`, part by part.

    Attributes:
        parts: the shapes; images, points, curves, meshes, in any number and order.
    """

    parts: tuple[Shape, ...]

    def __init__(self, parts: Sequence[Shape]) -> None:
        if not parts or not all(isinstance(part, Shape) for part in parts):
            got = ", ".join(type(part).__name__ for part in parts) or "none"
            raise ValueError(f"Compound expects at least one shape, and nothing but shapes, and got {got}.")
        flat = [p for part in parts for p in (part.parts if isinstance(part, Compound) else (part,))]
        object.__setattr__(self, "parts", tuple(flat))

    def carried(self, phi: Diffeo) -> Self:
        """φ · shape, part by part."""
        return type(self)([part.carried(phi) for part in self.parts])

    def differentiable(self) -> tuple[Self, list[Tensor]]:
        """The leaves of all parts."""
        copies, leaves = zip(*(part.differentiable() for part in self.parts), strict=True)
        return type(self)(copies), [leaf for found in leaves for leaf in found]

    def pulled(self, gradients: Sequence[Tensor | None], grid: Grid) -> Tensor:
        """The parts pull together."""
        total, rest = None, list(gradients)
        for part in self.parts:
            count = len(part.differentiable()[1])
            found = part.pulled(rest[:count], grid)
            rest = rest[count:]
            total = found if total is None else total + found.to(total)
        assert total is not None
        return total

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Every part, converted."""
        return type(self)([part.to(*args, **kwargs) for part in self.parts])
