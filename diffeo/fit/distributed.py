"""Several processes, one objective: each takes a share of the data, and all make the same step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from diffeo.core import Value

T = TypeVar("T")


class World:
    """The processes of ``torch.distributed``, or this one alone where it is not initialized.

    What they compute is added up before a decision rests on it, so that all of them decide alike.

    Attributes:
        size: the number of processes that share the work.
        rank: the index of this one.
    """

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.size, self.rank = (dist.get_world_size(), dist.get_rank()) if together else (1, 0)

    @classmethod
    def alone(cls) -> World:
        """This process, whatever the others do."""
        world = cls()
        world.size, world.rank = 1, 0
        return world

    def part(self, rows: Tensor) -> Tensor:
        """This process's share of some rows: shares differ by one at most."""
        return rows if self.size == 1 else rows.tensor_split(self.size)[self.rank]

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the values of the first."""
        if self.size > 1:
            with torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor.detach(), 0)

    def first(self, value: T) -> T:
        """What the first process has, on all of them."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def total(self, count: int) -> int:
        """The sum of the counts of all processes."""
        if self.size == 1:
            return count
        counts: list[int] = [0] * self.size
        dist.all_gather_object(counts, count)
        return sum(counts)

    def together(self, parameters: Sequence[Tensor], compute: Callable[[], Value]) -> Value:
        """The sum of what all processes compute, and of the gradients that it leaves in the parameters.

        A process that fails takes the others with it, instead of leaving them waiting.

        Args:
            parameters: tensors whose gradients are to be added up.
            compute: this process's share of a value, a scalar each; it may leave gradients.

        Raises: ArithmeticError in all processes, where one of them raises it; RuntimeError for any other exception.
        """
        if self.size == 1:
            return compute()
        value, failure = None, None
        try:
            value = compute()
        except Exception as error:
            failure = error
        diverged = isinstance(failure, ArithmeticError)
        numbers = [0.0] * 3 if value is None else [float(v) for v in value]
        found = [p.grad is not None for p in parameters]
        device = parameters[0].device if parameters else _device(value)
        facts = torch.tensor([diverged, failure is not None and not diverged, *numbers, *found], dtype=torch.float64)
        facts = facts.to(device)
        dist.all_reduce(facts)
        if failure is not None:
            raise failure
        counts = facts.tolist()
        if counts[0]:
            raise ArithmeticError("the objective cannot be computed in another process")
        if counts[1]:
            raise RuntimeError("another process of this fit failed: see what it says.")
        _add_up([p for p, count in zip(parameters, counts[5:], strict=True) if count])
        assert value is not None
        return Value(*(facts[2 + k].to(v) for k, v in enumerate(value)))


def _device(value: Value | None) -> torch.device:
    if value is not None:
        return value.total.device
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _add_up(parameters: Sequence[Tensor]) -> None:
    """The sum over all processes of the parameters' gradients, in one message per dtype."""
    for dtype in {p.dtype for p in parameters}:
        those = [p for p in parameters if p.dtype == dtype]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in those])
        dist.all_reduce(flat)
        for p, part in zip(those, flat.split([p.numel() for p in those]), strict=True):
            p.grad = part.view_as(p).clone()
