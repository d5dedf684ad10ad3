"""Losses with a read-out: what the moved points say of labels or values, and how wrong that is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Loss
from diffeo.shapes.base import PointShape
from diffeo.shapes.points import Points

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


class ReadOutLoss(Loss):
    """A mean over the points of how far their scores are from the target: labels, shape (n,), or values, shape (n, k).

    Where the points have weights, the mean is weighted by them.
    """

    @abstractmethod
    def predict(self, moved: Points) -> Tensor:
        """Scores of the classes, or predicted values, shape (n, k)."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What to call the class with to build this loss again: numbers, kernels, heads."""


def masses(moved: Points) -> Tensor | None:
    """The weights of the points, of mean 1; None where they are all the same."""
    if not isinstance(moved, Points) or moved.weights is None:
        return None
    return moved.weights * (len(moved.weights) / moved.weights.sum())


def mean(values: Tensor, moved: Points) -> Tensor:
    """The mean of one value per point, shape (n,)."""
    w = masses(moved)
    return (values if w is None else w * values).mean()


def check_pairing(name: str, moved: Points, target: Tensor) -> None:
    """Raise ValueError unless there is one target for every moved point."""
    if not isinstance(moved, PointShape):
        raise ValueError(f"{name} reads labels or values from points, and got {type(moved).__name__}.")
    if not isinstance(target, Tensor):
        raise ValueError(
            f"{name} expects its target as a tensor (labels (n,) or values (n, k)), and got {type(target).__name__}: "
            "convert it with torch.as_tensor."
        )
    if target.ndim == 0 or len(target) != len(moved.x):
        raise ValueError(
            f"{name} pairs every point with a target: there are {len(moved.x)} points and a target of shape "
            f"{tuple(target.shape)}."
        )


def checked_labels(name: str, moved: Points, target: Tensor, classes: int | None) -> Tensor:
    """The labels, shape (n,), int64, if they are such: 0..classes − 1.

    Raises: ValueError otherwise.
    """
    check_pairing(name, moved, target)
    if target.dtype not in INTEGERS or target.ndim != 1:
        raise ValueError(
            f"{name} expects labels as integers of shape (n,), and got {target.dtype} of shape {tuple(target.shape)}: "
            "convert labels with y.long(); for values use SquaredLoss or RidgeLoss."
        )
    low, high = (int(t) for t in target.aminmax())
    if low < 0 or (classes is not None and high >= classes):
        wanted = "0 or more" if classes is None else f"0..{classes - 1}"
        raise ValueError(
            f"{name} expects labels {wanted}, and got {low}..{high}: number the classes with "
            "numpy.unique(y, return_inverse=True), and give the read-out one output for each."
        )
    return target.long()


def checked_values(name: str, moved: Points, target: Tensor, outputs: int | None) -> Tensor:
    """The values, shape (n, k), if they are such; a vector (n,) is one column.

    Raises: ValueError otherwise.
    """
    check_pairing(name, moved, target)
    if not target.is_floating_point():
        raise ValueError(
            f"{name} expects values as floating-point numbers, and got {target.dtype}: convert values with y.double(); "
            "for labels use CrossEntropyLoss or RidgeLoss, or torch.nn.functional.one_hot."
        )
    values = target[:, None] if target.ndim == 1 else target
    if values.ndim != 2 or (outputs is not None and values.shape[1] != outputs):
        wanted = "k" if outputs is None else str(outputs)
        raise ValueError(f"{name} expects values of shape (n, {wanted}), and got {tuple(target.shape)}.")
    bad = int((~torch.isfinite(values.detach())).any(1).sum())
    if bad:
        raise ValueError(f"{name} expects finite values: {bad} of {len(values)} rows have NaN or infinite ones.")
    return values
