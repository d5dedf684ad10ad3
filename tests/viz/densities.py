"""Small fitted densities of every kind that pictures tell apart."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import diffeo

KINDS = (
    "one column",
    "two columns",
    "five columns",
    "a circle and a bound",
    "given another",
    "two given another",
    "at rest",
)
SMALL: dict[str, Any] = {"components": 1, "depth": 3, "width": 24, "max_iter": 60, "random_state": 0}


@cache
def fitted(kind: str) -> diffeo.DensityFlow:
    """A density of that kind."""
    draw, n = np.random.default_rng(0), 120
    x = draw.standard_normal((n, 5)) + 2 * np.sign(draw.standard_normal((n, 1)))
    if kind == "a circle and a bound":
        table = np.stack([10 + 3 * x[:, 0] % 24, 1 / (1 + np.exp(-x[:, 1]))], 1)
        table[:, 0] %= 24
        return diffeo.DensityFlow(**SMALL, bounds={1: (0, 1)}, periods={0: 24.0}).fit(table)
    if kind == "at rest":
        return diffeo.DensityFlow(components=2).fit(x[:, :2])
    if kind.endswith("given another"):
        return diffeo.DensityFlow(**SMALL).fit(x[:, : 1 if kind == "given another" else 2], context=x[:, 4])
    return diffeo.DensityFlow(**SMALL).fit(x[:, : {"one": 1, "two": 2, "five": 5}[kind.split()[0]]])
