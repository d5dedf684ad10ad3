r"""Periodic columns: angles, hours of the day.

A law on the line, wrapped around a circle of circumference P, has the density $\sum_k p(x + kP)$ there.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from diffeo.laws.base import Law, check_draws, check_points

MOST = 20_000  # copies of a point that are looked at
PROBES = 4096  # points that tell how far the tails of a law reach


class Wrapped(Law):
    r"""The law of x modulo its periods, where x has a law in R^d.

    Its density is periodic; over one period, it integrates to 1. Points are drawn with coordinates from the start of
    the period to its end.

    Args:
        law: of x.
        periods: shape (d,), infinite in columns that are not periodic.
        start: where periods start, shape (d,); 0 if left out.
        copies: K: the copies x + kP, k = −K..K, are added up in each periodic column. Left out, one more than the
            farthest of 4,096 points of the law lies away.

    Raises: ValueError for periods that are not such, or where too many copies would be needed.
    """

    periods: Tensor
    start: Tensor

    def __init__(self, law: Law, periods: Tensor, start: Tensor | None = None, copies: int | None = None) -> None:
        super().__init__()
        start = torch.zeros_like(periods) if start is None else start
        if periods.shape != (law.dim,) or start.shape != (law.dim,) or not bool((periods > 0).all()):
            raise ValueError(
                f"Wrapped expects a positive period and a start for each of {law.dim} columns, infinite periods for "
                f"those that have none, and got {periods} and {start}."
            )
        self.law = law
        self.register_buffer("periods", periods.detach().clone())
        self.register_buffer("start", start.detach().clone())
        self.copies = self._reach() if copies is None else copies
        columns = int(periods.isfinite().sum())
        if self.copies < 0 or (2 * self.copies + 1) ** columns > MOST:
            raise ValueError(
                f"Wrapped would add up {2 * self.copies + 1} copies in each of {columns} periodic columns: the law "
                "is too wide for its periods; take fewer copies, or fit it after `unwrapped`."
            )

    @property
    def dim(self) -> int:
        """That of the law."""
        return self.law.dim

    def log_prob(self, x: Tensor) -> Tensor:
        """log Σ_k p(x + kP)."""
        check_points(x, self.dim, "Wrapped")
        shifts = self._shifts().to(x)
        copied = (self.wrap(x)[:, None, :] + shifts).reshape(-1, self.dim)
        return self.law.log_prob(copied).reshape(len(x), len(shifts)).logsumexp(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Points of the law, wrapped."""
        return self.wrap(self.law.sample(check_draws(n, "Wrapped"), generator))

    def wrap(self, x: Tensor) -> Tensor:
        """x, shape (n, d), moved by whole periods to where they start."""
        return wrapped(x, self.periods.to(x), self.start.to(x))

    def arguments(self) -> dict[str, Any]:
        """Law, periods, start, and the number of copies."""
        return {"law": self.law, "periods": self.periods, "start": self.start, "copies": self.copies}

    def rescaled(self, factor: float, shift: Tensor) -> Wrapped:
        """Law and periods in the other units."""
        start = factor * self.start + shift
        return Wrapped(self.law.rescaled(factor, shift), factor * self.periods, start, self.copies)

    def extra_repr(self) -> str:
        """The periods."""
        return f"periods={self.periods.tolist()}, copies={self.copies}"

    def _reach(self) -> int:
        """How many periods from the first one the law reaches, by points drawn from a seed of their own."""
        if not bool(self.periods.isfinite().any()):
            return 0
        x = self.law.sample(PROBES, torch.Generator().manual_seed(0))
        periods, start = self.periods.to(x), self.start.to(x)
        away = torch.where(periods.isfinite(), ((x - start) / periods).floor().abs(), 0.0)
        return 1 + int(away.max())

    def _shifts(self) -> Tensor:
        """kP for all k, shape ((2K + 1)^columns, d)."""
        ks = range(-self.copies, self.copies + 1)
        each = [ks if math.isfinite(period) else (0,) for period in self.periods.tolist()]
        k = torch.tensor(list(itertools.product(*each)), dtype=self.periods.dtype, device=self.periods.device)
        return k * torch.where(self.periods.isfinite(), self.periods, 0.0)


def unwrapped(x: Tensor, periods: Tensor) -> tuple[Tensor, Tensor]:
    """Periodic columns cut open in the middle of their widest gap, so that what is close on the circle stays so.

    Args:
        x: points, shape (n, d).
        periods: shape (d,), infinite in columns that are not periodic.

    Returns: the points, moved by whole periods, shape (n, d); and where periods start, shape (d,), for `Wrapped`.
    Raises: ValueError for periods that are not such, or without points.
    """
    check_points(x, x.shape[-1], "unwrapped")
    if periods.shape != x.shape[1:] or not bool((periods > 0).all()) or not len(x):
        raise ValueError(
            f"unwrapped expects points and a positive period for each column, and got {len(x)} points in {x.shape[1]} "
            f"columns and the periods {periods}."
        )
    start = torch.zeros_like(x[0])
    for k in periods.isfinite().nonzero()[:, 0].tolist():
        start[k] = _cut(x[:, k], periods[k].to(x))
    return wrapped(x, periods.to(x), start), start


def wrapped(x: Tensor, periods: Tensor, start: Tensor) -> Tensor:
    """x, shape (n, d), moved by whole periods to between start and start + period; both of shape (d,).

    Columns whose period is infinite stay as they are.
    """
    return torch.where(periods.isfinite(), _within(x - start, periods) + start, x)


def _cut(x: Tensor, period: Tensor) -> Tensor:
    """The middle of the widest gap between points of a circle, at most a period from 0."""
    around = _within(x, period).sort().values
    gaps = torch.cat([around[1:], around[:1] + period]) - around
    widest = int(gaps.argmax())
    cut = around[widest] + gaps[widest] / 2
    return torch.where(cut >= period, cut - period, cut)


def _within(x: Tensor, periods: Tensor) -> Tensor:
    """x modulo the periods, from 0 to less than P also where rounding gives P; zeros where they are infinite."""
    finite = torch.where(periods.isfinite(), periods, 1.0)
    rest = x.remainder(finite)
    return torch.where(periods.isfinite() & (rest < finite), rest, 0.0)
