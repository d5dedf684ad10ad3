"""When an optimization ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffeo.fit.history import Record

WINDOW = 5  # iterations over which progress is judged


@dataclass(frozen=True)
class Rules:
    """When to stop, as `fit` says it."""

    max_iterations: int
    tolerance: float | None = 1e-5
    floor: float = 0.0
    goal: float = -math.inf
    time_limit: float = math.inf
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"fit expects a patience of 1 iteration or more, and got {self.patience}.")
        if not self.time_limit > 0:
            raise ValueError(f"fit expects a positive time limit in seconds, and got {self.time_limit}.")

    def reached(self, record: Record) -> str:
        """Why there is no need to go on from here; empty where there is."""
        return "the data term is as low as it was to be" if abs(record.data) <= self.goal else ""

    def settled(self, records: Sequence[Record]) -> str:
        """Why there is no hope of more, for objectives that can be compared."""
        values = [record.objective for record in records]
        if self.tolerance is None or len(values) <= WINDOW:
            return ""
        settled = self._progress(values) <= self._least(values)
        return "progress fell below the tolerance" if settled else ""

    def rising(self, records: Sequence[Record]) -> str:
        """Why to give up: what is to be made small grows, and more than by the tolerance."""
        values = [record.objective for record in records]
        if self.tolerance is None or len(values) <= WINDOW:
            return ""
        return "the objective rises" if self._progress(values) < -self._least(values) else ""

    def _progress(self, values: Sequence[float]) -> float:
        """By how much the best of late is below the best before."""
        return min(values[:-WINDOW]) - min(values[-WINDOW:])

    def _least(self, values: Sequence[float]) -> float:
        """What counts as progress."""
        return max((self.tolerance or 0.0) * abs(values[-1]), self.floor)

    def overtrained(self, records: Sequence[Record]) -> str:
        """Why what follows would only fit the training set."""
        scores = [math.inf if record.validation is None else record.validation for record in records]
        if self.patience is None or len(scores) - 1 - scores.index(min(scores)) < self.patience:
            return ""
        return f"the validation did not improve in {self.patience} iterations"

    def exhausted(self, done: int, late: bool, exact: bool) -> str:
        """Why there is no going on for now; iterations that are not exact are epochs."""
        if late:
            return f"the time limit of {self.time_limit:g} seconds was reached"
        if done < self.max_iterations:
            return ""
        if not exact:
            return "all epochs are done"
        enough = self.tolerance is None  # as many as were asked for, and no goal but that
        return (
            "all iterations are done"
            if enough
            else f"{self.max_iterations} iterations were not enough for the tolerance"
        )
