"""The batches of a torch DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler

from diffeo.core import Shape
from diffeo.fit.batches import Labelled, Minibatches
from diffeo.shapes.points import Points


class Loader(Minibatches):
    """A DataLoader of (x, y) tensors.

    Its batches can be repeated, after an interruption, where the shuffling has a generator of its own:
    ``DataLoader(data, batch_size=100, shuffle=True, generator=torch.Generator().manual_seed(0))``.

    Args:
        loader: gives pairs (x, y).
        shape: makes a shape of a batch of x; `Points`, where x are positions.

    Raises: ValueError for a loader without batches.
    """

    def __init__(self, loader: DataLoader[Any], shape: Callable[[Tensor], Shape] = Points) -> None:
        self.loader, self.shape = loader, shape
        self.shared = isinstance(loader.sampler, DistributedSampler)
        self._begun: list[Tensor] | None = None
        if self.count() == 0:
            raise ValueError("fit expects a DataLoader with at least one batch, and got one without any.")

    def count(self) -> int | None:
        """The length of the loader, unless it reads a stream."""
        return None if isinstance(self.loader.dataset, IterableDataset) else len(self.loader)

    @property
    def repeatable(self) -> bool:
        """Whether the order of the points does not depend on the global generator of torch."""
        return not isinstance(self.loader.sampler, RandomSampler) or bool(self._generators())

    def epoch(self, index: int) -> Iterator[Labelled]:
        """One pass over the loader."""
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(index)
        self._begun = [generator.get_state() for generator in self._generators()]
        for item in self.loader:
            if not (isinstance(item, (tuple, list)) and len(item) == 2):
                raise ValueError(
                    f"fit expects a DataLoader of pairs (x, y) of tensors, and got a {type(item).__name__}"
                    f"{f' of {len(item)}' if isinstance(item, (tuple, list, dict)) else ''}."
                )
            yield item[0], item[1]
        self._begun = None

    def whole(self) -> Labelled:
        """The batches of one pass, joined."""
        x, y = zip(*self.epoch(0), strict=True)
        return torch.cat(x), torch.cat(y)

    def state_dict(self) -> dict[str, Any]:
        """The states of the generators as the epoch that is under way began, or as they are."""
        return {"generators": self._begun or [generator.get_state() for generator in self._generators()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up."""
        self._begun = None
        for generator, saved in zip(self._generators(), state["generators"], strict=True):
            generator.set_state(saved)

    def _generators(self) -> list[torch.Generator]:
        found = [self.loader.generator, getattr(self.loader.sampler, "generator", None)]
        return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())
