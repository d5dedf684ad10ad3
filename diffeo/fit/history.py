"""What an optimization leaves behind: a record per iteration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Record:
    """One iteration: what the objective was at the accepted point; or over an epoch of batches.

    Attributes:
        iteration: 0 is the start.
        objective, energy, data: the objective and its parts. Where an iteration is an epoch they are means over its
            points, each at the parameters its batch met: they lag half an epoch behind. The start is then that of the
            first batch alone.
        weight: what a unit of energy cost.
        seconds: since the fit began, those before a resumption included.
        stage, stages: the index of the fit among several, and their number.
        max_iterations: of this fit.
        validation: the score on the validation set, if there is one.
    """

    iteration: int
    objective: float
    energy: float
    data: float
    weight: float
    seconds: float
    stage: int = 0
    stages: int = 1
    max_iterations: int = 0
    validation: float | None = None


@dataclass
class History:
    """How an optimization went.

    Attributes:
        records: one per outer iteration, the first being the start.
        converged: whether progress fell below the tolerance, or ended on the validation set.
        reason: why it ended, in a few words.
        state: what ``fit`` needs to take it up again.
    """

    records: list[Record] = field(default_factory=list)
    converged: bool = False
    reason: str = ""
    state: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]
