"""What fields ask of the positions they are evaluated at."""

from __future__ import annotations

from torch import Tensor


def check_positions(x: Tensor, dim: int, like: Tensor) -> None:
    """Raise ValueError unless x has shape (n, dim), and the dtype and the device of the field's own numbers."""
    if x.ndim != 2 or x.shape[1] != dim:
        raise ValueError(
            f"a field in dimension {dim} takes positions of shape (n, {dim}), and got {tuple(x.shape)}: reshape them, "
            "or build the field for their dimension."
        )
    if x.dtype != like.dtype or x.device != like.device:
        raise ValueError(
            f"a field takes positions of its own dtype and device, {like.dtype} on {like.device}, and got {x.dtype} "
            f"on {x.device}: convert one with .to()."
        )
