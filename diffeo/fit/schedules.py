"""Learning rates over the course of a fit."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from diffeo.fit.methods import Stepper


class Schedule(ABC):
    """The learning rate as a part of what the optimizer was given, changed before every step."""

    @abstractmethod
    def factor(self, progress: float) -> float:
        """The part, after a share ``progress`` of all iterations, from 0 to 1."""


class Cosine(Schedule):
    """Half a period of a cosine, from 1 to 0, after a linear rise.

    Args:
        warmup: the share of all iterations in which the rate rises; from 0 to less than 1.

    Source: Loshchilov & Hutter, "SGDR", ICLR 2017.
    """

    def __init__(self, warmup: float = 0.0) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"Cosine expects a warmup that is 0 or more and less than 1, and got {warmup}.")
        self.warmup = warmup

    def factor(self, progress: float) -> float:
        """½(1 + cos πs), s the progress since the end of the rise; in it, linear and never 0."""
        if progress < self.warmup:
            return max(progress / self.warmup, 0.01)
        return 0.5 * (1 + math.cos(math.pi * min((progress - self.warmup) / (1 - self.warmup), 1.0)))

    def __repr__(self) -> str:
        return f"Cosine(warmup={self.warmup:g})"


TorchSchedule = Callable[[torch.optim.Optimizer], LRScheduler]


class Pace:
    """A schedule at work on an optimizer; this one changes nothing."""

    def before(self, progress: float) -> None:
        """Before a step, after a share of all iterations."""

    def after(self, value: float) -> None:
        """After an iteration (an epoch, where there are batches) that ended at a value: of the validation, if any."""

    def shorten(self, factor: float) -> None:
        """Learning rates are to be smaller by a factor from now on; those of the optimizer are already."""

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up."""


class Following(Pace):
    """A `Schedule` at work."""

    def __init__(self, schedule: Schedule, optimizer: torch.optim.Optimizer) -> None:
        self.schedule, self.optimizer = schedule, optimizer
        self.load_state_dict({})

    def before(self, progress: float) -> None:
        """Set the rates."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.schedule.factor(progress)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What the rates are parts of is kept by the optimizer, unless it was saved without a schedule."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])


class Torch(Pace):
    """A scheduler of torch at work: once an iteration."""

    def __init__(self, scheduler: LRScheduler) -> None:
        self.scheduler = scheduler

    def after(self, value: float) -> None:
        """One step of it."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(value)
        else:
            self.scheduler.step()

    def shorten(self, factor: float) -> None:
        """Its base rates, too."""
        for scheduler in (self.scheduler, *getattr(self.scheduler, "_schedulers", ())):
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """That of the scheduler."""
        return copy.deepcopy(self.scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up."""
        self.scheduler.load_state_dict(copy.deepcopy(state))


def pace_of(schedule: Schedule | TorchSchedule | None, stepper: Stepper) -> Pace:
    """The schedule at work on what a stepper has.

    Raises: ValueError for steppers without a torch optimizer.
    """
    if schedule is None:
        return Pace()
    if stepper.optimizer is None:
        raise ValueError(
            "a schedule changes the learning rate of a torch optimizer, and this way to train has none: leave "
            "schedule out."
        )
    if isinstance(schedule, Schedule):
        return Following(schedule, stepper.optimizer)
    return Torch(schedule(stepper.optimizer))
