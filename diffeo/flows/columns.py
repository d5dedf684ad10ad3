"""Columns that are bounded, opened up: each is carried to the whole line, whatever the others are."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo


class Bounded(Diffeo):
    r"""From a box onto R^d, column by column; its energy is 0, as that of a change of units.

    With two bounds, $m + \tfrac w4 \log\frac{x - low}{high - x}$, m being the middle and w the width; with one,
    $low + s\,(1 + \log\frac{x - low}s)$, or the same from above; without, x. The middle, or the point at the distance s
    of the only bound, stays where it is and has derivative 1.

    Args:
        low, high: the bounds, shape (d,), infinite where there are none.
        scale: s, shape (d,), in the units of the columns; 1 if left out. It matters with one bound only.

    Raises: ValueError for bounds that are not such; and, as a map, for points that do not lie within them.
    """

    never_folds = True

    low: Tensor
    high: Tensor
    scale: Tensor

    def __init__(self, low: Tensor, high: Tensor, scale: Tensor | None = None) -> None:
        super().__init__()
        scale = torch.ones_like(low) if scale is None else scale
        if low.ndim != 1 or low.shape != high.shape or not bool((low < high).all()):
            raise ValueError(f"Bounded expects bounds low < high of shape (d,), and got {low} and {high}.")
        if scale.shape != low.shape or not bool((scale > 0).all()):
            raise ValueError(f"Bounded expects one positive scale per column, and got {scale}.")
        for name, value in (("low", low), ("high", high), ("scale", scale)):
            self.register_buffer(name, value.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """φ(x)."""
        self._check(x)
        below, above, both = self._kinds()
        left, right = self._distances(x)
        y = torch.where(below, self.low + self.scale * (1 + (left / self.scale).log()), x)
        y = torch.where(above, self.high - self.scale * (1 + (right / self.scale).log()), y)
        middle, width = self._box()
        return torch.where(both, middle + width / 4 * (left.log() - right.log()), y)

    def inverse(self, y: Tensor) -> Tensor:
        """φ⁻¹(y), which lies strictly within the bounds: where rounding would not, it is the next number inside."""
        self._check(y, within=False)
        below, above, both = self._kinds()
        x = torch.where(below, self.low + self.scale * self._exp((y - self.low) / self.scale, below), y)
        x = torch.where(above, self.high - self.scale * self._exp((self.high - y) / self.scale, above), x)
        middle, width = self._box()
        t = 4 * (y - middle) / width
        near_low, near_high = self.low + width * t.sigmoid(), self.high - width * (-t).sigmoid()
        x = torch.where(both, torch.where(t < 0, near_low, near_high), x)
        least, most = torch.nextafter(self.low, self.high), torch.nextafter(self.high, self.low)
        tiny = 4 * torch.finfo(x.dtype).tiny  # next to a bound that is 0 are numbers whose inverse is infinite
        clamped = x.maximum(least.maximum(self.low + tiny)).minimum(most.minimum(self.high - tiny))
        return torch.where(below | above | both, clamped, x)

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and Σ log φ'."""
        return self(x), self._log_stretch(x).sum(1)

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x), and the diagonal matrices of φ'."""
        return self(x), torch.diag_embed(self._log_stretch(x).exp())

    def path(self, x: Tensor) -> list[Tensor]:
        """Start and end."""
        return [x, self(x)]

    def energy(self) -> Tensor:
        """0."""
        return self.scale.new_zeros(())

    def contains(self, x: Tensor) -> Tensor:
        """Which points lie strictly within the bounds, shape (n,)."""
        return ((x > self.low) & (x < self.high)).all(1)

    def arguments(self) -> dict[str, Any]:
        """Bounds and scales."""
        return {"low": self.low, "high": self.high, "scale": self.scale}

    def rescaled(self, factor: float, shift: Tensor) -> Bounded:
        """The box in the other units."""
        shift = shift.to(self.low)
        return Bounded(factor * self.low + shift, factor * self.high + shift, factor * self.scale)

    def _kinds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Which columns have a lower bound only, an upper one only, both; each of shape (d,)."""
        below, above = self.low.isfinite(), self.high.isfinite()
        return below & ~above, above & ~below, below & above

    def _distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """To the lower and to the upper bound, shape (n, d); 1 where there is none."""
        left = torch.where(self.low.isfinite(), x - self.low, 1.0)
        return left, torch.where(self.high.isfinite(), self.high - x, 1.0)

    def _box(self) -> tuple[Tensor, Tensor]:
        """Middle and width, shape (d,); 0 and 1 of columns that do not have both bounds."""
        both = self._kinds()[2]
        return torch.where(both, (self.low + self.high) / 2, 0.0), torch.where(both, self.high - self.low, 1.0)

    def _exp(self, t: Tensor, there: Tensor) -> Tensor:
        """e^(t − 1), and 1 in columns that do not need it."""
        return torch.where(there, t - 1, 0.0).exp()

    def _log_stretch(self, x: Tensor) -> Tensor:
        """log φ' of each column, shape (n, d)."""
        below, above, both = self._kinds()
        left, right = (distance.log() for distance in self._distances(x))
        log_scale, log_width = self.scale.log(), self._box()[1].log()
        stretch = torch.where(below, log_scale - left, torch.where(above, log_scale - right, torch.zeros_like(x)))
        return torch.where(both, 2 * log_width - math.log(4) - left - right, stretch)

    def _check(self, x: Tensor, within: bool = True) -> None:
        """Raise ValueError for positions of another dimension or precision, and for those outside."""
        if x.ndim != 2 or x.shape[1] != len(self.low) or x.dtype != self.low.dtype:
            raise ValueError(
                f"Bounded expects positions in {len(self.low)} dimensions, of {self.low.dtype}, and got {x.dtype} of "
                f"shape {tuple(x.shape)}."
            )
        if not within:
            return
        outside = (x <= self.low) | (x >= self.high)
        if bool(outside.any()):
            row, column = (int(k) for k in outside.nonzero()[0])
            raise ValueError(
                f"{int(outside.any(1).sum())} of {len(x)} points do not lie strictly within the bounds: in row {row}, "
                f"column {column} is {float(x[row, column]):.6g}, and between {float(self.low[column]):.6g} and "
                f"{float(self.high[column]):.6g} is expected; leave such rows out, or give wider bounds."
            )
