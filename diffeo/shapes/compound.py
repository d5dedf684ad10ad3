"""Several shapes that one diffeomorphism carries: an image, its landmarks and a surface, with one momentum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from diffeo.core import Diffeo, Shape


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

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Every part, converted."""
        return type(self)([part.to(*args, **kwargs) for part in self.parts])
