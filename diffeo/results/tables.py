"""What a network or a density was trained on, out of its table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffeo.estimators.shown import some
from diffeo.registration.origin import checksum
from diffeo.tables import Coordinates, Features, Records, Target, Task
from diffeo.tables.scores import held_out

Array = NDArray[Any]


class Trained(ABC):
    """The columns of a table that something was trained on.

    Attributes:
        features: what is known of them.
        names: what the numbers are called that they become, and after them what is predicted.
    """

    features: Features
    names: list[str]

    @abstractmethod
    def columns(self, records: Records) -> tuple[Array, Array]:
        """All rows, shape (n, p), and what goes with each of them: targets, shape (n,), or a context, shape (n, k).

        Raises: ValueError if they are not in the table.
        """

    @abstractmethod
    def split(self, columns: tuple[Array, Array], share: float, seed: int) -> Array:
        """The numbers of the rows that were trained on, where a share of all was held out."""

    def kept(self, columns: tuple[Array, Array]) -> tuple[Array, Array | None]:
        """What an estimator keeps of what it was trained on, for pictures; None for a context that there is not."""
        x, others = columns
        rows = some(len(x))
        return x[rows], others[rows] if others[0].size else None

    def facts(self, records: Records, header: bool | None) -> dict[str, Any]:
        """How the table was read, how many rows it has, and a checksum of what was trained on."""
        return {"header": header, "rows": len(records), "checksum": checksum(*self.columns(records))}


class Predicted(Trained):
    """Columns from which another one is predicted."""

    def __init__(self, features: Features, target: Target) -> None:
        self.features, self.target, self.names = features, target, [*features.labels, target.name]

    def columns(self, records: Records) -> tuple[Array, Array]:
        """Rows and targets."""
        records, _ = self.features.arranged(records, self.target.name)
        if not self.target.known(records):
            raise ValueError(f"{records.source} lacks the target {self.target.name!r}, or values of it.")
        return self.features.matrix(records)[0], self.target.values(records)

    def split(self, columns: tuple[Array, Array], share: float, seed: int) -> Array:
        """Of each class alike."""
        return held_out(columns[1], share, seed, self.target.task is Task.classification)[0]


class Distributed(Trained):
    """Columns that have a density."""

    def __init__(self, coordinates: Coordinates) -> None:
        self.coordinates, self.features, self.names = coordinates, coordinates.features, coordinates.names
        self.context = [label for feature in self.features.columns[coordinates.count :] for label in feature.labels]

    def columns(self, records: Records) -> tuple[Array, Array]:
        """Rows and contexts."""
        records, _ = self.coordinates.arranged(records)
        return self.coordinates.rows(records), self.coordinates.given(records)[0]

    def split(self, columns: tuple[Array, Array], share: float, seed: int) -> Array:
        """Of all rows alike."""
        return held_out(np.zeros(len(columns[0])), share, seed, False)[0]


def trained_on(state: dict[str, Any]) -> Trained:
    """From what a model's file says of its table. Raises KeyError or TypeError where that is nothing."""
    if "target" in state:
        return Predicted(Features.from_state(state["features"]), Target.from_state(state["target"]))
    return Distributed(Coordinates.from_state(state))
