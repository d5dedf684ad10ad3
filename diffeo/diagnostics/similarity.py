"""How alike the intensities of two images are."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.diagnostics.overlap import check_same_space
from diffeo.shapes import Image

BINS = 64


class Similarity(NamedTuple):
    """Two images, compared point by point; the mean over the channels."""

    mse: float
    """Mean squared difference."""
    relative_mse: float
    """The same, divided by the variance of the fixed image: 0 for equal images, 1 for a guess by its mean; NaN if the
    fixed image is constant."""
    correlation: float
    """Pearson's; NaN if an image is constant."""
    mutual_information: float
    """Of 64 × 64 bins of equal width, in nats."""
    resampled: bool
    """Whether the second image was brought to the grid of the first, linearly, to be compared."""


def similarity(fixed: Image, moved: Image) -> Similarity:
    """Compare two images of the same space; where one has a mask, only there.

    Raises: ValueError if they differ in dimension or channels, or if no point is left to be compared.
    """
    check_same_space(fixed, moved)
    if len(fixed.values) != len(moved.values):
        raise ValueError(
            f"images with the same channels are expected, and got {len(fixed.values)} and {len(moved.values)}."
        )
    resampled = not fixed.grid.same(moved.grid)
    other = moved.resampled(fixed.grid)
    weights = _weights(fixed, other)
    seen = weights > 0
    a, b = (image.values.detach().flatten(1)[:, seen].double() for image in (fixed, other))
    rows = [_compared(x, y, weights[seen]) for x, y in zip(a, b, strict=True)]
    mse, relative, correlation, information = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return Similarity(mse, relative, correlation, information, resampled)


def _weights(fixed: Image, moved: Image) -> Tensor:
    """The weights of the points, of sum 1."""
    weights = torch.ones(fixed.grid.size, dtype=torch.float64, device=fixed.values.device)
    for mask in (fixed.mask, moved.mask):
        weights = weights if mask is None else weights * mask.double().flatten()
    if not bool(weights.sum() > 0):
        raise ValueError("the masks of the two images have no point in common.")
    return weights / weights.sum()


def _compared(a: Tensor, b: Tensor, weights: Tensor) -> tuple[float, float, float, float]:
    """MSE, relative MSE, correlation and mutual information of two channels."""
    mse = float((weights * (a - b).square()).sum())
    centered_a, centered_b = a - (weights * a).sum(), b - (weights * b).sum()
    variance_a, variance_b = (float((weights * c.square()).sum()) for c in (centered_a, centered_b))
    covariance = float((weights * centered_a * centered_b).sum())
    varies_a, varies_b = (bool(c.max() > c.min()) for c in (a, b))  # exactly: a variance is never 0 after rounding
    relative = mse / variance_a if varies_a else math.nan
    correlation = covariance / math.sqrt(variance_a * variance_b) if varies_a and varies_b else math.nan
    return mse, relative, correlation, _mutual_information(a, b, weights)


def _mutual_information(a: Tensor, b: Tensor, weights: Tensor) -> float:
    joint = torch.bincount(BINS * _binned(a) + _binned(b), weights, BINS**2).reshape(BINS, BINS)
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    seen = joint > 0
    return float((joint[seen] * (joint[seen] / independent[seen]).log()).sum())


def _binned(values: Tensor) -> Tensor:
    least, most = values.min(), values.max()
    return ((values - least) * (BINS / (most - least).clamp(min=1e-300))).long().clamp(max=BINS - 1)
