"""From the units of a table to those a flow works in: periods cut open, bounds opened up, columns standardized."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffeo.core import Compose, Diffeo
from diffeo.estimators.standardization import Standardization
from diffeo.flows import Bounded, LearnedAffine
from diffeo.laws import Law, Transported, Wrapped, unwrapped
from diffeo.laws.wrapped import wrapped

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """What happens to rows before a flow sees them; all of it is a part of the law that comes out.

    Attributes:
        low, high: bounds of the columns, shape (d,); infinite where there are none.
        scale: what is far from a bound, shape (d,), in the units of the columns.
        periods, start: of periodic columns, and where they are cut open, shape (d,); periods are infinite where there
            are none.
        window: from where to where, by a period, periodic columns are given out, shape (d,).
        center, spread: of the columns that come out of this, shape (d,).
    """

    low: Array
    high: Array
    scale: Array
    periods: Array
    start: Array
    window: Array
    center: Array
    spread: Array

    @classmethod
    def of(cls, rows: Array, low: Array, high: Array, periods: Array) -> tuple[Frame, Array]:
        """The frame of rows, shape (n, d), and the rows in it. Raises ValueError where rows leave the bounds."""
        x, start = unwrapped(torch.tensor(rows), torch.tensor(periods))
        scale = Standardization.of(rows).spread
        opened = x.numpy()
        if np.isfinite([low, high]).any():
            opened = Bounded(*(torch.from_numpy(a) for a in (low, high, scale)))(x).numpy()
        columns = Standardization.of(opened)
        frame = cls(low, high, scale, periods, start.numpy(), window_of(rows, periods), columns.center, columns.spread)
        return frame, columns.forward(opened)

    def wrap(self, rows: Array) -> Array:
        """Rows with periodic columns moved to where they have been cut open."""
        return self._wrapped(rows, self.start)

    def shown(self, rows: Array) -> Array:
        """Rows with periodic columns moved to where those of the data are."""
        return self._wrapped(rows, self.window)

    def _wrapped(self, rows: Array, start: Array) -> Array:
        return wrapped(*(torch.tensor(a) for a in (rows, self.periods, start))).numpy()

    def inside(self, rows: Array) -> NDArray[np.bool_]:
        """Which rows lie within the bounds, shape (n,)."""
        return np.all((rows > self.low) & (rows < self.high), axis=1)

    def forward(self, rows: Array) -> Array:
        """Rows, shape (n, d), in the frame."""
        return self.diffeo(0)(torch.from_numpy(self.wrap(rows))).numpy()

    def diffeo(self, context: int) -> Diffeo:
        """The map into the frame, for rows with so many more columns, which stay."""
        more = np.zeros(context)
        shift = -self.center / self.spread
        logarithm = torch.from_numpy(np.concatenate([-np.log(self.spread), more])).diag()
        affine = LearnedAffine(
            len(shift) + context,
            trained=False,
            matrix=logarithm,
            translation=torch.from_numpy(np.concatenate([shift, more])),
            diagonal=True,
        )
        if not np.isfinite([self.low, self.high]).any():
            return affine
        low, high = np.concatenate([self.low, more - math.inf]), np.concatenate([self.high, more + math.inf])
        scale = np.concatenate([self.scale, more + 1])
        return Compose([Bounded(*(torch.from_numpy(a) for a in (low, high, scale))), affine])

    def law(self, phi: Diffeo, base: Law, context: int) -> Law:
        """The law in the units of the table of what φ carries to the base in the frame."""
        flow = Transported(Compose([self.diffeo(context), phi.double()]), base.double())
        if not np.isfinite(self.periods).any():
            return flow.requires_grad_(False)
        periods = np.concatenate([self.periods, np.full(context, math.inf)])
        start = np.concatenate([self.start, np.zeros(context)])
        return Wrapped(flow, torch.from_numpy(periods), torch.from_numpy(start)).requires_grad_(False)


def window_of(rows: Array, periods: Array) -> Array:
    """Where periods of rows, shape (n, d), are counted from: 0, or half a period less; else from the least value."""
    low, high = rows.min(0), rows.max(0)
    half = np.where(np.isfinite(periods), periods / 2, 0.0)
    around = (low >= -half) & (high <= half) & (low < 0)
    return np.where((low >= 0) & (high <= periods), 0.0, np.where(around, -half, low))


def per_column(given: Any, d: int, names: list[str], what: str) -> dict[int, Any]:
    """Settings of single columns, by their number. Raises ValueError unless they are such.

    Args:
        given: a dict from numbers, counted from 0, or names of columns; None is an empty one.
        d: the number of columns.
        names: their names, if they have any.
        what: the name of the argument.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} expects a dict from columns (numbers or names) to values, and got {given!r}.")
    found = {}
    for key, value in given.items():
        column = names.index(key) if isinstance(key, str) and key in names else key
        if isinstance(column, bool) or not isinstance(column, (int, np.integer)) or not 0 <= column < d:
            known = f"0..{d - 1}" + (f" or one of {', '.join(names[:8])}" if names else "")
            raise ValueError(f"{what} knows columns {known}, and got {key!r}.")
        found[int(column)] = value
    return found


def bounds_of(given: Any, d: int, names: list[str]) -> tuple[Array, Array]:
    """Lower and upper bounds, shape (d,), infinite where there are none. Raises ValueError unless low < high."""
    low, high = np.full(d, -math.inf), np.full(d, math.inf)
    for column, pair in per_column(given, d, names, "bounds").items():
        try:
            low[column], high[column] = (float(side) for side in pair)
        except (TypeError, ValueError):
            raise ValueError(f"bounds expects a pair (low, high) for column {column}, and got {pair!r}.") from None
        if not low[column] < high[column]:
            raise ValueError(f"bounds expects low < high for column {column}, and got {pair!r}.")
    return low, high


def periods_of(given: Any, d: int, names: list[str]) -> Array:
    """Periods, shape (d,), infinite where there are none. Raises ValueError unless they are positive."""
    periods = np.full(d, math.inf)
    for column, period in per_column(given, d, names, "periods").items():
        if isinstance(period, bool) or not isinstance(period, (int, float)) or not period > 0:
            raise ValueError(f"periods expects a positive number for column {column}, and got {period!r}.")
        periods[column] = period
    return periods
