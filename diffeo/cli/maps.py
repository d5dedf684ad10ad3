"""What there is to say about a diffeomorphism, from what it would be built with."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffeo.core import Diffeo, Field, Kernel, Solver
from diffeo.fields import Activation
from diffeo.grid import Grid
from diffeo.kernels import Radial


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
    if isinstance(value, Kernel | Solver | Activation):
        return repr(value)
    if isinstance(value, Grid):
        return f"{' × '.join(map(str, value.shape))}, spacing {' × '.join(f'{s:.4g}' for s in value.spacing)}"
    if isinstance(value, list | tuple):
        parts = [_described(item) for item in value]
        return [parts[0] | {"number": len(parts)}] if len(parts) > 3 and isinstance(parts[0], dict) else parts
    return value
