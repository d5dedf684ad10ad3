"""The dimension of the space that a map moves, from what it is built with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from diffeo.core import Diffeo, Field, Shape
from diffeo.fields import DipoleField, TrainedKernelField
from diffeo.grid import Grid
from diffeo.shapes import Compound, Image, PointShape


def dimension(phi: Diffeo) -> int | None:
    """The dimension of the space that a map moves; None if what it is built with does not tell."""
    found = set(_dimensions(phi))
    return found.pop() if len(found) == 1 else None


def check_dimension(phi: Diffeo, shape: Shape) -> None:
    """Raise ValueError unless the map moves the space that the shape lives in."""
    d = dimension(phi)
    for part in shape.parts if isinstance(shape, Compound) else [shape]:
        own = _dimension_of(part)
        if d is not None and own is not None and d != own:
            raise ValueError(
                f"the transform moves points of dimension {d}, and the shape has dimension {own}: give a shape of the "
                "dimension that was registered."
            )


def _dimension_of(shape: Shape) -> int | None:
    if isinstance(shape, Image):
        return shape.grid.dim
    return shape.x.shape[1] if isinstance(shape, PointShape) else None


def _dimensions(value: Any) -> Iterator[int]:
    """What the parts of a map say: ``dim``, grids, or else the last axes of tensors, which are points and vectors."""
    if isinstance(value, Field) and "dim" in value.arguments():
        yield value.arguments()["dim"]
    elif isinstance(value, DipoleField | TrainedKernelField):
        yield value.controls.shape[1]  # strengths, and scales, are numbers
    elif isinstance(value, Diffeo | Field):
        arguments = list(value.arguments().values())
        grids = [argument.dim for argument in arguments if isinstance(argument, Grid)]
        yield from grids or _dimensions(arguments)
    elif isinstance(value, Tensor) and value.is_floating_point() and value.ndim:
        yield value.shape[-1]
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _dimensions(item)
