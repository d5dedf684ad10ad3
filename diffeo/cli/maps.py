"""What there is to say about a diffeomorphism, from what it would be built with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from diffeo.core import Diffeo, Field, Kernel, Solver
from diffeo.kernels import Radial
from diffeo.shapes import PointShape


def structure(phi: Diffeo | Field) -> dict[str, Any]:
    """Its class and what it is built with; tensors by dtype and shape, many parts of one kind by their number."""
    facts: dict[str, Any] = {"kind": type(phi).__name__}
    for name, value in phi.arguments().items():
        facts[name] = _described(value)
        if isinstance(value, Radial):
            facts["scales"] = list(value.scales)
    return facts


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, Diffeo | Field):
        return structure(value)
    if isinstance(value, Kernel | Solver):
        return repr(value)
    if isinstance(value, list | tuple):
        parts = [_described(item) for item in value]
        return [parts[0] | {"number": len(parts)}] if len(parts) > 3 and isinstance(parts[0], dict) else parts
    return value


def dimension(phi: Diffeo) -> int | None:
    """The dimension of the space that a map moves; None if its tensors do not tell."""
    last = {tensor.shape[-1] for tensor in _tensors(phi)}
    return last.pop() if len(last) == 1 else None


def check_dimension(phi: Diffeo, shape: PointShape) -> None:
    """Raise ValueError unless the map moves points of the shape's dimension."""
    d = dimension(phi)
    if d is not None and d != shape.x.shape[1]:
        raise ValueError(
            f"the transform moves points of dimension {d}, and the shape has dimension {shape.x.shape[1]}: "
            "give a shape of the dimension that was registered."
        )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor) and value.is_floating_point() and value.ndim:
        yield value
    elif isinstance(value, Diffeo | Field):
        yield from _tensors(list(value.arguments().values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
