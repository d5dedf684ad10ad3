"""Batches that are drawn from a law, new ones in every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Shape
from diffeo.fit.batches import Labelled, Minibatches
from diffeo.laws import Law
from diffeo.shapes.samples import Samples


class Draws(Minibatches):
    """Points that are drawn when they are needed, and never again: what is learned from them cannot be overfitted.

    Batch b of epoch e is drawn from (seed, e, b): a fit can be repeated, and resumed, without keeping anything. Targets
    are zeros, for losses that know by themselves what to compare with, as `KLLoss`.

    Args:
        law: the law; it is drawn from as it is at the time.
        size: points in a batch.
        batches: batches in an epoch.
        seed: 0 or more.
        shape: makes a shape of a batch of points.

    Raises: ValueError where these are not such.
    """

    def __init__(
        self, law: Law, size: int, batches: int = 1, seed: int = 0, shape: Callable[[Tensor], Shape] = Samples
    ) -> None:
        for name, value, least in (("size", size, 1), ("number of batches", batches, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Draws expects a {name} that is a whole number, {least} or more, and got {value!r}.")
        self.law, self.size, self.batches, self.seed, self.shape = law, size, batches, seed, shape

    def count(self) -> int:
        """The number of batches."""
        return self.batches

    def epoch(self, index: int) -> Iterator[Labelled]:
        """Fresh ones."""
        for batch in range(self.batches):
            seed = np.random.SeedSequence([self.seed, index, batch]).generate_state(1)[0]
            x = self.law.sample(self.size, torch.Generator().manual_seed(int(seed)))
            yield x, x.new_zeros(len(x))

    def whole(self) -> Labelled:
        """Those of the first epoch: for maps that grow, which need the same points again and again."""
        x, y = zip(*self.epoch(0), strict=True)
        return torch.cat(x), torch.cat(y)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""

    def __repr__(self) -> str:
        return f"Draws({self.law!r}, size={self.size}, batches={self.batches}, seed={self.seed})"
