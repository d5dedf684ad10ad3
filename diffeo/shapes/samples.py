"""Samples of a law: points that remember how the volume around them has changed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from diffeo.core import Compose, Diffeo
from diffeo.grid import Grid
from diffeo.shapes.base import Measure, PointShape, check_positions


@dataclass(frozen=True, eq=False)
class Samples(PointShape):
    r"""Draws from a density; φ carries them to φ(x), and log det Dφ(x) is added up beside them.

    A map that folds counts mass twice, and what it says of densities is no likelihood. Samples as they are refuse such
    a map; for training, where one may be met on the way, log det is extended below a floor δ by its tangent,
    $\log\delta + \det/\delta - 1$ for each layer, and what is missing to the floor adds up to `deficit`. Affine maps
    and others that never fold are taken as they are, however small their determinants.

    Attributes:
        x: positions, shape (n, d).
        logvolume: log det of what the samples went through, shape (n,); 0 if left out.
        floor: δ, 0 or more, and less than 1; with 0 nothing is extended.
        witnesses: points off the data, shape (w, d), where the map must not fold either; they count in the deficit.
        deficit: Σ over layers of the mean of max(0, 1 − det/δ) over samples and witnesses, a scalar.

    Raises: ValueError for tensors that do not fit together.
    """

    logvolume: Tensor | None = None
    floor: float = 0.0
    witnesses: Tensor | None = None
    deficit: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.logvolume is not None and self.logvolume.shape != self.x.shape[:1]:
            raise ValueError(
                f"Samples expects one log-volume per point, shape ({len(self.x)},), and got "
                f"{tuple(self.logvolume.shape)}."
            )
        if not 0 <= self.floor < 1:
            raise ValueError(f"Samples expects a floor from 0 to less than 1, and got {self.floor}.")
        if self.witnesses is not None:
            check_positions(self.witnesses, "Samples")
            if self.witnesses.shape[1] != self.x.shape[1]:
                raise ValueError(
                    f"Samples expects witnesses in the space of the points, of {self.x.shape[1]} dimensions, and got "
                    f"{self.witnesses.shape[1]}."
                )

    @property
    def volume(self) -> Tensor:
        """log det, shape (n,)."""
        return self.x.new_zeros(len(self.x)) if self.logvolume is None else self.logvolume

    def carried(self, phi: Diffeo) -> Self:
        """φ(x), with log det Dφ(x) added.

        Raises: ArithmeticError where φ(x) is not finite, and, without a floor, where a layer of φ folds.
        """
        if isinstance(phi, Compose):
            carried = self
            for part in phi.diffeos:
                carried = carried.carried(part)
            return carried
        moved, volumes = phi.with_logdet(self.x) if phi.never_folds else phi.with_volumes(self.x)
        lost = int((~torch.isfinite(moved.detach())).any(1).sum())
        if lost:
            raise ArithmeticError(f"the map sends {lost} of {len(moved)} points to infinity or NaN.")
        if phi.never_folds:
            return self._moved(phi, moved, self.volume + volumes)
        if not self.floor:
            folded = int((~(volumes.detach() > 0)).any(0).sum())
            if folded:
                raise ArithmeticError(
                    f"the map folds at {folded} of {len(moved)} points: a likelihood would count their mass twice. "
                    "Train with a floor, or use more layers."
                )
            return dataclasses.replace(self, x=moved, logvolume=self.volume + volumes.log().sum(0))
        deficit = self.x.new_zeros(()) if self.deficit is None else self.deficit
        deficit = deficit + missing(volumes, self.floor)
        witnesses = self.witnesses
        if witnesses is not None:
            witnesses, theirs = phi.with_volumes(witnesses)
            deficit = deficit + missing(theirs, self.floor)
        logvolume = self.volume + extended_log(volumes, self.floor).sum(0)
        return dataclasses.replace(self, x=moved, logvolume=logvolume, witnesses=witnesses, deficit=deficit)

    def _moved(self, phi: Diffeo, x: Tensor, logvolume: Tensor) -> Self:
        """At x, by a map that never folds: there is nothing missing, also at the witnesses."""
        witnesses = None if self.witnesses is None else phi(self.witnesses)
        deficit = self.x.new_zeros(()) if self.floor and self.deficit is None else self.deficit
        return dataclasses.replace(self, x=x, logvolume=logvolume, witnesses=witnesses, deficit=deficit)

    def differentiable(self) -> tuple[Self, list[Tensor]]:
        """Positions and log-volumes: a small layer id + v moves the former by v, and adds div v to the latter."""
        x, logvolume = self.x.detach().requires_grad_(), self.volume.detach().clone().requires_grad_()
        return dataclasses.replace(self, x=x, logvolume=logvolume), [x, logvolume]

    def pulled(self, gradients: Sequence[Tensor | None], grid: Grid) -> Tensor:
        """Those in the positions, as of points; log-volumes have no place on a grid.

        Raises: ValueError where the loss depends on log-volumes.
        """
        if len(gradients) > 1 and gradients[1] is not None and bool(gradients[1].any()):
            raise ValueError("a map grown on a grid carries points, not densities: use Descent for losses of Samples.")
        return super().pulled(gradients[:1], grid)

    def measure(self) -> Measure:
        """Σ δ(x_i) / n."""
        return Measure(self.x, self.x.new_full((len(self.x),), 1 / len(self.x)), None)


def extended_log(volumes: Tensor, floor: float) -> Tensor:
    """log above the floor δ, its tangent log δ + v/δ − 1 below."""
    tangent = math.log(floor) + volumes / floor - 1
    return torch.where(volumes > floor, volumes.clamp(min=floor).log(), tangent)


def missing(volumes: Tensor, floor: float) -> Tensor:
    """Σ over layers of the mean of max(0, 1 − v/δ) over the points, for volumes v, shape (layers, n)."""
    return (1 - volumes / floor).clamp(min=0).sum(0).mean()
