"""How exact the solution of an equation can be."""

from __future__ import annotations

import math

from torch import Tensor


def unit(*positions: Tensor) -> float:
    """The length that is added to a point's own coordinates where roundings are counted: how large coordinates are.

    A point next to the origin is seen from others, and loses the digits that those have. Of every set of positions,
    shape (n, d), the median decides, so that a single point far away makes no other inexact.
    """
    sizes = (float(x.detach().abs().amax(1).nanmedian()) for x in positions if x.numel())
    return max((size for size in sizes if math.isfinite(size)), default=0.0)
