"""A trained estimator together with the table it learned from: names, categories and what is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffeo.estimators.files import read_estimator, save_estimator
from diffeo.estimators.resnet import ResNet, ResNetClassifier
from diffeo.tables import Features, Records, Target
from diffeo.tables.features import about_unknown
from diffeo.tables.scores import classification_scores, regression_scores

Array = NDArray[Any]


@dataclass(frozen=True)
class Predictions:
    """What a model says of a table.

    Attributes:
        values: one per row: numbers, or labels as they were in the training table.
        probabilities: shape (n, k), of the classes in order; None for regression.
        truth: the targets, where the table holds them.
        notes: what was decided, a sentence each.
    """

    values: Array
    probabilities: Array | None
    truth: Array | None
    notes: list[str]

    def scores(self) -> dict[str, float] | None:
        """How good they are; None where the truth is not known."""
        if self.truth is None:
            return None
        if self.probabilities is None:
            return regression_scores(self.truth, self.values)
        return classification_scores(self.truth, self.values)


@dataclass(frozen=True)
class TableModel:
    """A model that predicts a column of a table from others.

    Attributes:
        estimator: trained.
        features: the columns that it learned from.
        target: the column that it predicts.
    """

    estimator: ResNet
    features: Features
    target: Target

    @property
    def classes(self) -> Array | None:
        """The labels, in the order of probabilities; None for regression."""
        return self.estimator.classes_ if isinstance(self.estimator, ResNetClassifier) else None

    def predict(self, records: Records, lenient: bool = False) -> Predictions:
        """Predict every row of a table, whose columns are matched by their names.

        Args:
            records: a table with the columns that were learned from; others are left alone.
            lenient: take categories that were never seen for unknown, and say so; by default they are refused.

        Raises: ValueError if columns or values are missing.
        """
        records, notes = self.features.arranged(records, self.target.name)
        x, unseen = self.features.matrix(records, lenient)
        notes += about_unknown(unseen)
        truth = None
        if self.target.known(records):
            truth = self.target.values(records)
        elif self.target.name in records.names:
            notes.append(f"The column {self.target.name!r} has gaps: there is no score.")
        values: Any = self.estimator
        if self.classes is None:
            return Predictions(values.predict(x), None, truth, notes)
        if truth is not None:
            truth = truth if truth.dtype.kind == self.classes.dtype.kind else truth.astype(str)
            new = sorted(set(np.unique(truth).tolist()) - set(self.classes.tolist()), key=str)
            notes += [f"Never seen in training, and so never predicted: {', '.join(map(str, new[:6]))}."] if new else []
        probabilities = values.predict_proba(x)
        return Predictions(self.classes[probabilities.argmax(1)], probabilities, truth, notes)

    def save(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        """Write everything that `load` needs, and metadata that JSON can hold."""
        table = {"features": self.features.state(), "target": self.target.state()}
        save_estimator(path, self.estimator, {**(metadata or {}), "table": table})

    @classmethod
    def load(cls, path: str | Path) -> TableModel:
        """Read a model. Raises ValueError if the file is not one."""
        estimator, metadata = read_estimator(path)
        if not isinstance(estimator, ResNet):
            raise ValueError(
                f"{path} holds a {type(estimator).__name__}, which predicts no column of a table: diffeo density score "
                "and diffeo density sample take it."
            )
        try:
            table = metadata["table"]
            return cls(estimator, Features.from_state(table["features"]), Target.from_state(table["target"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path} holds an estimator, but not what the columns of its table were: it was not saved by "
                "diffeo train."
            ) from None
