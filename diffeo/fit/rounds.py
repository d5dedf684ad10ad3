"""What an iteration is: a step on all pairs, or an epoch, a step a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Grown, Shape, Value
from diffeo.fit.batches import Labelled, Minibatches, check_labelled, check_targets
from diffeo.fit.distributed import World
from diffeo.fit.methods import Stepper
from diffeo.fit.problem import DivergenceError, Problem, Share, finite
from diffeo.fit.schedules import Pace
from diffeo.shapes.points import Points

Pair = tuple[Any, Any]

EMPTY = "fit expects at least one batch in every epoch, and got none."


class Rounds(ABC):
    """The iterations of a fit.

    Attributes:
        exact: what an iteration returns is the objective itself at the accepted point, so that points can be compared
            by it.
        done: iterations completed.
    """

    exact = True
    done = 0

    @abstractmethod
    def start(self) -> Value:
        """The objective at the start."""

    @abstractmethod
    def run(self, stepper: Stepper, pace: Pace, late: Callable[[], bool]) -> Value:
        """One iteration, or a part of it if it is late."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Where in the data the fit is."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go there."""


class Whole(Rounds):
    """Every iteration is one step on all pairs."""

    def __init__(self, problem: Problem, pairs: Sequence[Pair], planned: int) -> None:
        self.problem, self.planned = problem, planned
        world, like = problem.world, problem.trained.anchor
        mine = [placed(pair, like) for pair in checked(pairs, like)[world.rank :: world.size]]
        problem.turn(mine, Share(energy=1 / world.size))

    def start(self) -> Value:
        """All pairs."""
        return self.problem.value()

    def run(self, stepper: Stepper, pace: Pace, late: Callable[[], bool]) -> Value:
        """A step, and the objective where it led."""
        pace.before(self.done / max(self.planned, 1))
        stepper.step()
        self.done += 1
        return self.problem.value(stepper.gradients)

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up."""
        self.done = state["done"]


class Epochs(Rounds):
    """Every iteration is an epoch: a step on each batch; or, where time has run out, the part of it that was done."""

    exact = False

    def __init__(self, problem: Problem, batches: Minibatches, planned: int) -> None:
        self.problem, self.batches, self.planned = problem, batches, planned
        self.batch = 0
        problem.remembered = 0

    def start(self) -> Value:
        """The first batch."""
        before = self.batches.state_dict()
        self._turn(_first(self.batches.epoch(0)))
        self.batches.load_state_dict(before)
        return self.problem.value(gradient=False)

    def run(self, stepper: Stepper, pace: Pace, late: Callable[[], bool]) -> Value:
        """A pass over the rest of the epoch: the mean of the objective over its points, as they were met."""
        count = self.batches.count()
        values, points = [], []
        for batch in islice(self.batches.epoch(self.done), self.batch, None):
            pace.before((self.done + (self.batch / count if count else 0.0)) / max(self.planned, 1))
            points.append(self._turn(batch))
            stepper.step()
            values.append(self.problem.first or self.problem.value(gradient=False))
            self.batch += 1
            if self.batch != count and late():
                return self._passed(values, points)
        if not values and not self.batch:
            raise ValueError(EMPTY)
        self.done, self.batch = self.done + 1, 0
        # without values, it had been late at the very end
        return self._passed(values, points) if values else self.run(stepper, pace, late)

    def _passed(self, values: Sequence[Value], points: Sequence[int]) -> Value:
        if not finite(self.problem.parameters):
            raise DivergenceError("the parameters are not finite")
        weights = torch.tensor(points, dtype=torch.float64) / sum(points)
        table = torch.tensor([[float(v) for v in value] for value in values], dtype=torch.float64)
        return Value(*(weights @ table))

    def _turn(self, batch: Labelled) -> int:
        """Let the problem be this process's share of a batch; returns the number of points in the batch."""
        pairs, share, n = shared(self.problem, self.batches, batch)
        self.problem.turn(pairs, share)
        return n

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the batch in it, and what decides about the order."""
        return {"done": self.done, "batch": self.batch, "data": self.batches.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the same batch."""
        self.done, self.batch = state["done"], state["batch"]
        self.batches.load_state_dict(state["data"])


def shared(problem: Problem, batches: Minibatches, batch: Labelled) -> tuple[list[Pair], Share, int]:
    """This process's part of a batch as pairs, what it counts, and the number of points in the whole batch."""
    world, like = problem.world, problem.trained.anchor
    if world.size == 1:
        return [_pair(batches, batch, like)], Share(), len(batch[0])
    rows = len(batch[0]) if isinstance(batch[0], Tensor) and batch[0].ndim else 0
    n = world.total(rows) if batches.shared else rows
    try:
        pair = _pair(batches, batch, like, None if batches.shared else world)
    except Exception as error:
        return [], Share(failure=error), n
    part = (rows if batches.shared else len(world.part(batch[0]))) / n
    return [pair] if part else [], Share(part, part), n


def _pair(batches: Minibatches, batch: Labelled, like: Tensor | None, world: World | None = None) -> Pair:
    """A batch, or a process's part of it, as a source and a target on the device of the map."""
    x, y = batch
    check_labelled(x, y, "fit", like if batches.shape is Points else None)
    if world is not None:
        x, y = world.part(x), world.part(y)
    if like is not None:
        x, y = x.to(like.device), y.to(like.device)
    return (batches.shape(x), y) if len(x) else (None, y)


def checked(pairs: Any, like: Tensor | None) -> list[Pair]:
    """The pairs as a list. Raises ValueError where there are none, or targets that no loss can use."""
    try:
        pairs = list(pairs)
        for _, _ in pairs:
            pass
    except (TypeError, ValueError):
        raise ValueError(
            "fit expects a list of pairs (source, target), Batches, or a DataLoader of (x, y), and got a "
            f"{type(pairs).__name__} of something else."
        ) from None
    if not pairs:
        raise ValueError("fit expects at least one pair (source, target), and got none.")
    for _, target in pairs:
        if isinstance(target, Tensor):
            check_targets(target, "fit", like)
    return pairs


def placed(pair: Pair, like: Tensor | None) -> Pair:
    """The pair on the device of the map; what lies on the CPU with it stays the same object."""
    if like is None or like.device.type == "cpu":
        return pair
    source, target = (item.to(like.device) if isinstance(item, Shape | Tensor) else item for item in pair)
    return source, target


def _first(batches: Iterator[Labelled]) -> Labelled:
    first = next(batches, None)
    if first is None:
        raise ValueError(EMPTY)
    return first


def rounds_of(problem: Problem, pairs: Any, planned: int) -> Rounds:
    """The iterations on what was given; maps that grow do so on all of it at once."""
    if not isinstance(pairs, Minibatches):
        return Whole(problem, pairs, planned)
    if isinstance(problem.phi, Grown):
        x, y = pairs.whole()
        return Whole(problem, [(pairs.shape(x), y)], planned)
    return Epochs(problem, pairs, planned)
