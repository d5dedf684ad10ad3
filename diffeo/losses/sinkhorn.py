"""Optimal transport between measures, by geomloss."""

from __future__ import annotations

import math

from torch import Tensor

from diffeo.backends.keops.particles import silenced
from diffeo.core import Loss
from diffeo.shapes.base import PointShape

LARGEST = 30_000_000  # pairs that are kept in memory at a time: about 1 GB in float32


class SinkhornLoss(Loss):
    """The debiased Sinkhorn divergence of ½|x − y|² between two shapes as measures, in units² of mass-weighted length.

    Args:
        blur: the length below which details are not resolved, in the data's units.
        reach: with a length, mass farther away than that need not be matched (unbalanced: for partial data).
        scaling: ratio of successive blurs, between 0 and 1; nearer 1 is more exact and slower. The gradient is that of
            converged potentials, so it too is exact only in that limit.

    Source: Feydy et al., "Interpolating between optimal transport and MMD using Sinkhorn divergences", AISTATS 2019.
    """

    def __init__(self, blur: float, reach: float | None = None, scaling: float = 0.7) -> None:
        super().__init__()
        for name, value in (("blur", blur), ("reach", math.inf if reach is None else reach)):
            if not value > 0 or math.isnan(value):
                raise ValueError(f"SinkhornLoss expects a positive {name} (a length in the data's units), got {value}.")
        if not 0 < scaling < 1:
            raise ValueError(f"SinkhornLoss expects a scaling between 0 and 1, and got {scaling}.")
        self.blur, self.reach, self.scaling = float(blur), reach, scaling

    def forward(self, moved: PointShape, target: PointShape) -> Tensor:
        """The divergence; both measures are normalized to mass 1 unless ``reach`` is given."""
        with silenced():  # geomloss imports pykeops, which prints
            from geomloss import SamplesLoss

        mu, nu = moved.measure(), target.measure()
        if mu.centers.shape[1] != nu.centers.shape[1]:
            raise ValueError(
                f"SinkhornLoss compares shapes of one dimension, and got {mu.centers.shape[1]} and "
                f"{nu.centers.shape[1]}."
            )
        if len(mu.weights) * len(nu.weights) > LARGEST:
            raise ValueError(
                f"SinkhornLoss keeps all pairs in memory, and {len(mu.weights)} × {len(nu.weights)} are too many: use "
                "MMDLoss, or fewer points."
            )
        a, b = mu.weights, nu.weights
        if self.reach is None:
            a, b = a / a.sum(), b / b.sum()
        divergence = SamplesLoss(
            "sinkhorn", p=2, blur=self.blur, reach=self.reach, scaling=self.scaling, backend="tensorized"
        )
        return divergence(a, mu.centers, b, nu.centers)

    def rescaled(self, factor: float) -> SinkhornLoss:
        """The lengths in the other units."""
        return SinkhornLoss(factor * self.blur, None if self.reach is None else factor * self.reach, self.scaling)

    def extra_repr(self) -> str:
        """Its lengths."""
        return f"blur={self.blur:.4g}, reach={self.reach}"
