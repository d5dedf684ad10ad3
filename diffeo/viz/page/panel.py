"""What pages are made of, and how numbers get into them."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np


class Panel(ABC):
    """One part of a page, under a title.

    Attributes:
        title: what it shows.
        note: a sentence or two under the title: how to read it, in which units.
        kind: its class in the style sheet, and the name of the function in the script that brings it to life.
        plotly: whether that function draws with plotly.js, which is then a part of the page.
        wide: whether it takes a row of its own where there is room for two.
    """

    title: str
    note: str
    kind: ClassVar[str]
    plotly: ClassVar[bool] = False
    wide: bool = True

    @abstractmethod
    def body(self) -> str:
        """What stands under the title, as HTML; it is all that is seen where no script runs."""

    def data(self) -> dict[str, Any] | None:
        """What the script needs, fit for JSON; None where there is nothing to bring to life."""
        return None


def packed(values: Any) -> dict[str, Any]:
    """An array for a page: little-endian bytes in base64, floats in single precision and integers in 32 bits."""
    numbers = np.ascontiguousarray(values)
    kind = "float32" if np.issubdtype(numbers.dtype, np.floating) else "int32"
    raw = numbers.astype(np.dtype(kind).newbyteorder("<")).tobytes()
    return {"type": kind, "shape": list(numbers.shape), "data": base64.b64encode(raw).decode("ascii")}


def plain(values: Any) -> list[float | None]:
    """A short list of numbers for JSON, which knows neither NaN nor infinity: they become null."""
    return [float(v) if np.isfinite(v) else None for v in np.asarray(values, dtype=float).ravel()]
