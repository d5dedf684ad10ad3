"""Many points, in blocks whose intermediate values stay in the cache of a processor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 2**19  # values at a time: from 2,000 points on, 1.2 to 2.5 times faster with gradients than all at once


def in_blocks(function: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    """f(x) for a function that treats every row of x alone and needs ``width`` intermediate values for each."""
    rows = max(1, BLOCK // width)
    if len(x) <= rows or x.device.type != "cpu":
        return function(x)
    return torch.cat([function(part) for part in x.split(rows)])
