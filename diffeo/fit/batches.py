"""Labelled data, a batch at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Shape
from diffeo.shapes.points import Points

Labelled = tuple[Tensor, Tensor]


class Minibatches(ABC):
    """Labelled data in batches, the same in every epoch or not.

    Attributes:
        shape: makes the source that a map acts on from a batch of x.
        shared: every process gets batches of its own already, instead of a share of each.
    """

    shape: Callable[[Tensor], Shape]
    shared = False

    @abstractmethod
    def count(self) -> int | None:
        """The number of batches in an epoch; None where that is not known before."""

    @abstractmethod
    def epoch(self, index: int) -> Iterator[Labelled]:
        """The batches (x, y) of an epoch: labels y, shape (n,), int64, or values, shape (n, k), floating point."""

    @abstractmethod
    def whole(self) -> Labelled:
        """All of x and y, in an order that stays."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What, beside its index, decides about the batches of the epoch that has begun, or of the next one."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up."""


class Batches(Minibatches):
    """Tensors in batches of equal size, but for one point; epoch e is shuffled from (seed, e): nothing is to be kept.

    Args:
        x: what the map acts on, shape (n, ...): positions (n, d), or what ``shape`` knows.
        y: labels, shape (n,), int64, or values, shape (n, ...), floating point; zeros if left out, for losses that
            know by themselves what to compare with, as `NLLLoss` of a law.
        size: points in a batch, at most; all of them if left out.
        seed: of the shuffling; 0 or more.
        shuffle: False: the same batches, in the order of the data, in every epoch.
        shape: makes a shape of a batch of x; `Points`, where x are positions.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None = None,
        size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        shape: Callable[[Tensor], Shape] = Points,
    ) -> None:
        if y is None and isinstance(x, Tensor) and x.ndim:
            y = x.new_zeros(len(x))
        check_labelled(x, y, "Batches")
        assert y is not None
        size = len(x) if size is None else size
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= len(x):
            raise ValueError(f"Batches expects a size from 1 to the number of points, {len(x)}, and got {size}.")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"Batches expects a seed that is a whole number, 0 or more, and got {seed}.")
        self.x, self.y, self.size, self.seed, self.shuffle, self.shape = x, y, size, seed, shuffle, shape

    def count(self) -> int:
        """⌈n / size⌉."""
        return math.ceil(len(self.x) / self.size)

    def epoch(self, index: int) -> Iterator[Labelled]:
        """Every point once."""
        for rows in self._order(index).tensor_split(self.count()):
            yield self.x[rows], self.y[rows]

    def _order(self, index: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(len(self.x), device=self.x.device)
        draw = torch.Generator().manual_seed(int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0]))
        return torch.randperm(len(self.x), generator=draw).to(self.x.device)

    def whole(self) -> Labelled:
        """As given."""
        return self.x, self.y

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""

    def __repr__(self) -> str:
        return f"Batches({len(self.x)} points, size={self.size}, seed={self.seed}, shuffle={self.shuffle})"


def check_labelled(x: Any, y: Any, name: str, like: Tensor | None = None) -> None:
    """Raise ValueError unless x and y are finite tensors of one length, y labels in int64 or values.

    Args:
        x: what the map acts on.
        y: labels or values.
        name: who expects them.
        like: a tensor of the map, whose dtype all that is floating point must have.
    """
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise ValueError(
            f"{name} expects tensors x and y, and got {type(x).__name__} and {type(y).__name__}: convert them with "
            "torch.as_tensor."
        )
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or not len(x):
        raise ValueError(
            f"{name} expects as many targets as points, at least one, and got x of shape {tuple(x.shape)} and y of "
            f"shape {tuple(y.shape)}."
        )
    check_targets(y, name, like)
    check_dtype(x, f"{name} expects x", like)
    bad = int((~torch.isfinite(x.detach())).reshape(len(x), -1).any(1).sum()) if x.is_floating_point() else 0
    if bad:
        raise ValueError(f"{name} expects finite numbers in x: {bad} of {len(x)} points have NaN or infinite ones.")


def check_targets(y: Tensor, name: str, like: Tensor | None = None) -> None:
    """Raise ValueError unless y are labels in int64, or finite values in the dtype of the map."""
    if not y.is_floating_point():
        if y.dtype != torch.int64:
            raise ValueError(
                f"{name} expects labels in int64 or values in floating point, and got {y.dtype}: convert them with "
                "y.long() or y.double()."
            )
        return
    check_dtype(y, f"{name} expects values", like)
    bad = int((~torch.isfinite(y.detach())).reshape(len(y), -1).any(1).sum()) if y.ndim else int(not y.isfinite())
    if bad:
        raise ValueError(f"{name} expects finite targets: {bad} of {len(y)} are NaN or infinite.")


def check_dtype(t: Tensor, expectation: str, like: Tensor | None) -> None:
    """Raise ValueError unless a floating-point tensor has the dtype of the map."""
    if like is not None and t.is_floating_point() and t.dtype != like.dtype:
        raise ValueError(
            f"{expectation} in the dtype of the map, {like.dtype}, and got {t.dtype}: convert the one or the other "
            "with float() or double()."
        )
