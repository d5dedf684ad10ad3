"""Coarse to fine: what is optimized one after the other, and how that is resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo, Loss, Shape
from diffeo.fit import LBFGS, History, Optimizer, Record, fit
from diffeo.grid import Grid
from diffeo.io.checkpoint import Checkpoint


@dataclass(frozen=True)
class Stage:
    """One optimization.

    Attributes:
        loss: the data term, in internal units, already divided by its unit.
        steps: time steps of the map.
        max_iterations: outer iterations at most.
        tolerance: relative progress, over a few iterations, at which it ends.
        floor: absolute progress at which it ends: coarse stages need not be exact.
        goal: how near to 0 the data term ends it.
        optimizer: makes the optimizer.
    """

    loss: Loss
    steps: int
    max_iterations: int
    tolerance: float
    floor: float
    goal: float = -math.inf
    optimizer: Optimizer = LBFGS


@dataclass
class Progress:
    """What is kept between iterations, so that a run can be taken up exactly where it was killed."""

    callbacks: Sequence[Callable[[Record], None]] = ()
    checkpoint: Checkpoint = field(default_factory=lambda: Checkpoint(None, False, "registration"))
    records: list[Record] = field(default_factory=list)
    done: int = 0
    saved: list[dict[str, Any]] = field(default_factory=list)

    def run(self, phi: Diffeo, pair: tuple[Shape, Shape], weight: float, stage: Stage, stages: int) -> History:
        """Optimize φ in place through a stage, or through what is left of it."""
        index, self.done = self.done, self.done + 1
        state = self.saved[index] if index < len(self.saved) else None

        keeps = self.checkpoint.path is not None

        def save(now: dict[str, Any]) -> None:
            self.checkpoint.save([*self.saved[:index], now])

        history = fit(
            phi,
            [pair],
            stage.loss,
            weight=weight,
            optimizer=stage.optimizer,
            max_iterations=stage.max_iterations,
            tolerance=stage.tolerance,
            floor=stage.floor,
            goal=stage.goal,
            callbacks=self.callbacks,
            save=save if keeps else None,
            state=state,
            stage=(index, max(stages, index + 1)),
        )
        if index >= len(self.saved):
            self.saved.append({})
        if keeps:
            self.saved[index] = history.state
        self.records += history.records
        return history

    def open(self, shapes: Sequence[Shape], parameters: dict[str, Any]) -> None:
        """Begin, or take up what a checkpoint of the same registration has kept.

        Raises: ValueError if the checkpoint is that of another one.
        """
        self.saved = list(self.checkpoint.open(fingerprint(shapes, parameters)) or [])


def fingerprint(shapes: Sequence[Shape], parameters: dict[str, Any]) -> str:
    """A digest of the data and of everything that was asked for."""
    digest = hashlib.sha256(repr(sorted(parameters.items())).encode())
    for value in tensors_of(shapes):
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors in shapes, grids, and sequences of them, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Shape, Grid)):
        for field_ in dataclasses.fields(value):  # type: ignore[arg-type]
            yield from tensors_of(getattr(value, field_.name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)


def largest_move(a: Tensor, b: Tensor) -> float:
    """The largest distance between corresponding points."""
    return (
        float((a - b).detach().norm(dim=1).max())
        if torch.isfinite(a).all() and torch.isfinite(b).all()
        else float("inf")
    )
