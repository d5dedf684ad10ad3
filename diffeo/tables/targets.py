"""What is to be predicted: classes or numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffeo.tables.checks import check_known, check_words, missing
from diffeo.tables.records import Records, word

MOST_CLASSES = 20  # different whole numbers that are still taken for classes


class Task(Enum):
    """What is learned."""

    classification = "classification"
    regression = "regression"


@dataclass(frozen=True)
class Target:
    """The column that is predicted.

    Attributes:
        name: of the column.
        task: classification or regression.
        why: how the task was chosen, in words.
        whole: whether classes are whole numbers.
    """

    name: str
    task: Task
    why: str
    whole: bool = False

    @classmethod
    def of(cls, records: Records, name: str, task: Task | None = None) -> Target:
        """Choose a task for a column: texts are classes, and so are few whole numbers, each of them twice or more.

        Raises: ValueError if values are missing or infinite, if all are the same, or if they do not fit the task.
        """
        check_known(records, [name])
        if len(records) < 2:
            raise ValueError(f"{records.source} has one row, and several are needed to learn from.")
        column = records[name]
        where = f"{records.source}: the target {name!r}"
        values = np.unique(column if column.dtype.kind == "f" else column.astype(str))
        if len(values) == 1:
            raise ValueError(f"{where} is {_shown(values[0])} in all {len(column):,} rows: there is nothing to learn.")
        if column.dtype.kind != "f":
            return cls._of_texts(records, name, task, len(values))
        whole = bool((column == np.rint(column)).all() and np.abs(column).max() < 2**53)
        few = whole and len(values) <= min(MOST_CLASSES, _most(column))
        kind = "whole numbers" if whole else "numbers"
        why = f"{name!r} holds {len(values):,} different {kind}"
        if task is None:
            task = Task.classification if few else Task.regression
            why += f" in {len(column):,} rows" if not few and len(values) <= MOST_CLASSES and whole else ""
        else:
            why = f"as asked; {why}"
        if task is Task.classification and len(values) > _most(column):
            raise ValueError(
                f"{where} has {len(values):,} different values in {len(column):,} rows, too many for classes: learn it "
                "by regression."
            )
        return cls(name, task, why, whole)

    @classmethod
    def _of_texts(cls, records: Records, name: str, task: Task | None, count: int) -> Target:
        column = records[name]
        if task is not Task.classification:
            check_words(records, name)
        if task is Task.regression:
            raise ValueError(
                f"{records.source}: {records.at(0, name)} is {column[0]!r}, and regression needs numbers: learn it by "
                "classification."
            )
        if count > _most(column):
            raise ValueError(
                f"{records.source}: the target {name!r} has {count:,} different texts in {len(column):,} rows, too "
                "many for classes."
            )
        why = f"{name!r} holds {count:,} different texts"
        return cls(name, Task.classification, why if task is None else f"as asked; {why}")

    def values(self, records: Records) -> NDArray[Any]:
        """The targets of all rows: float64 for regression; classes are int64 or texts.

        Raises: ValueError if they are not what they were in the training table.
        """
        column = records[self.name]
        if self.task is Task.regression:
            if column.dtype.kind != "f":
                check_words(records, self.name)
                raise ValueError(f"{records.source}: the target {self.name!r} holds texts, and numbers are expected.")
            return column
        if column.dtype.kind != "f":
            return column.astype(str)
        if self.whole and (column == np.rint(column)).all():
            return column.astype(np.int64)
        return np.array([word(value) for value in column.tolist()])

    def known(self, records: Records) -> bool:
        """Whether a table holds the target, without a gap."""
        return self.name in records.names and not missing(records[self.name]).any()

    def state(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return dataclasses.asdict(self) | {"task": self.task.value}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Target:
        """The inverse of `state`."""
        return cls(state["name"], Task(state["task"]), state["why"], state["whole"])


def _most(column: NDArray[Any]) -> float:
    """How many classes there may be: two rows of each, on average."""
    return max(2, len(column) / 2)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(str(value))
