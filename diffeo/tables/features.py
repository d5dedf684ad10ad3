"""What a table tells: its columns as numbers, those of texts one for each category."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffeo.tables.checks import check_known, check_words
from diffeo.tables.records import Records, words

Matrix = NDArray[np.float64]
MOST_CATEGORIES = 20  # of a column in which more than half of the rows have different texts: names, dates, comments


@dataclass(frozen=True)
class Feature:
    """A column that is used.

    Attributes:
        name: of the column.
        categories: its texts, sorted; None for numbers. Two are one number, 0 or 1; more are one number each.
        shares: how often each category is, as a part of all rows: what an unknown one is taken for.
    """

    name: str
    categories: tuple[str, ...] | None = None
    shares: tuple[float, ...] = ()

    @property
    def labels(self) -> list[str]:
        """What the numbers are called that the column becomes."""
        if self.categories is None:
            return [self.name]
        return [f"{self.name}={category}" for category in self._indicated]

    @property
    def _indicated(self) -> tuple[str, ...]:
        assert self.categories is not None
        return self.categories[1:] if len(self.categories) == 2 else self.categories

    def numbers(self, records: Records, lenient: bool) -> tuple[Matrix, list[str]]:
        """The column as numbers, shape (n, labels), and what was not known in it.

        Raises: ValueError for texts where numbers were, and, unless ``lenient``, for categories that were not there.
        """
        column = records[self.name]
        if self.categories is None:
            if column.dtype.kind != "f":
                row = next(k for k, entry in enumerate(column) if not _is_float(entry))
                raise ValueError(
                    f"{records.source}: {records.at(row, self.name)} is {column[row]!r}, and a number is expected, as "
                    "in the training table."
                )
            return column[:, None], []
        column = words(column)
        known = {category: k for k, category in enumerate(self.categories)}
        index = np.array([known.get(entry, -1) for entry in column])
        rows = np.flatnonzero(index < 0)
        if len(rows) and not lenient:
            raise ValueError(self._unseen(records, column, int(rows[0])))
        indicators = np.eye(len(known))[index]
        indicators[rows] = self.shares
        told = [f"{records.at(int(row), self.name)} is {column[row]!r}" for row in rows]
        return indicators[:, len(known) - len(self._indicated) :], told

    def _unseen(self, records: Records, column: Any, row: int) -> str:
        assert self.categories is not None
        shown = ", ".join(map(repr, self.categories[:6])) + (", …" if len(self.categories) > 6 else "")
        return (
            f"{records.source}: {records.at(row, self.name)} is {column[row]!r}, which the training table never has "
            f"there: expected is one of {shown}; or allow unseen categories, which are then taken for unknown."
        )


@dataclass(frozen=True)
class Features:
    """The columns that are used, in order.

    Attributes:
        columns: what they are.
        width: how many columns the table had in all.
        position: which of them, from 0, was the target; None if there was none.
        named: whether it had a header.
        places: which of them, from 0, the used ones were.
    """

    columns: tuple[Feature, ...]
    width: int
    position: int | None
    named: bool
    places: tuple[int, ...]

    @property
    def labels(self) -> list[str]:
        """What the columns of the matrix are called."""
        return [label for feature in self.columns for label in feature.labels]

    @property
    def texts(self) -> set[str]:
        """The columns that are categories, also where they look like numbers."""
        return {feature.name for feature in self.columns if feature.categories is not None}

    @classmethod
    def of(
        cls,
        records: Records,
        target: str | None,
        only: Sequence[str] = (),
        without: Collection[str] = (),
        categorical: Collection[str] = (),
    ) -> tuple[Features, list[str]]:
        """Find out what the columns are; also what was decided, a sentence each.

        Args:
            records: the table.
            target: the column that is to be predicted; None if there is none.
            only: the columns to use; all others by default.
            without: columns to leave out.
            categorical: columns whose numbers are only names.

        Raises: ValueError if a value is missing, infinite, or not what the others of its column are, or if nothing is
            left to learn from.
        """
        names = [name for name in only or records.names if name != target and name not in without]
        check_known(records, names)
        kept: list[Feature] = []
        notes: list[str] = []
        for name in names:
            feature, note = _feature(records, name, name in categorical)
            kept += [feature] if feature else []
            notes += [note] if note else []
        if not kept:
            reason = notes[0].rstrip(".") if notes else "it has no other columns than the target"
            raise ValueError(f"{records.source}: nothing is left to learn from: {reason[0].lower()}{reason[1:]}.")
        places = tuple(records.names.index(feature.name) for feature in kept)
        position = None if target is None else records.names.index(target)
        found = cls(tuple(kept), len(records.names), position, records.named, places)
        return found, _shortened(notes)

    def matrix(self, records: Records, lenient: bool = False) -> tuple[Matrix, list[str]]:
        """The numbers, shape (n, p), and the entries that were taken for unknown.

        Args:
            records: a table with these columns, matched by name; see `arranged`.
            lenient: take categories that were never seen for unknown; by default they are refused.
        """
        check_known(records, [feature.name for feature in self.columns])
        parts, told = zip(*(feature.numbers(records, lenient) for feature in self.columns), strict=True)
        return np.hstack(parts), [sentence for sentences in told for sentence in sentences]

    def arranged(self, records: Records, target: str | None = None) -> tuple[Records, list[str]]:
        """A table with these columns by their names, and what was decided, a sentence each.

        Without a header they are told by their places: there must be as many as in the training table, or one less, the
        target.

        Raises: ValueError if columns are missing.
        """
        if records.named and (self.named or all(feature.name in records.names for feature in self.columns)):
            return records, self._matched(records, target)
        if len(records.names) not in (self.width, self.width - (self.position is not None)):
            less = "" if self.position is None else f", or {self.width - 1} without the target"
            raise ValueError(
                f"{records.source} has {_columns(len(records.names))}, and {self.width} are expected as in the "
                f"training table{less}."
            )
        names = [f"#{k}" for k in range(self.width)]
        for place, feature in zip(self.places, self.columns, strict=True):
            names[place] = feature.name
        if self.position is not None and target is not None:
            names[self.position] = target
            if len(records.names) < self.width:
                del names[self.position]
        notes = []
        if self.named != records.named:
            notes = ["Only one of the two tables has a header: columns are matched by their order."]
        return dataclasses.replace(records, names=tuple(names)), notes

    def _matched(self, records: Records, target: str | None) -> list[str]:
        wanted = [feature.name for feature in self.columns]
        absent = [name for name in wanted if name not in records.names]
        if absent:
            raise ValueError(
                f"{records.source} lacks {'the column' if len(absent) == 1 else f'{len(absent)} columns,'} "
                f"{listed(absent)}, from which was learned; it has {listed(records.names)}."
            )
        extra = [name for name in records.names if name not in wanted and name != target]
        return [f"Not used: {listed(extra)}."] if extra else []

    def state(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Features:
        """The inverse of `state`."""
        columns = [
            Feature(c["name"], None if c["categories"] is None else tuple(c["categories"]), tuple(c["shares"]))
            for c in state["columns"]
        ]
        return cls(tuple(columns), state["width"], state["position"], state["named"], tuple(state["places"]))


def _feature(records: Records, name: str, categorical: bool) -> tuple[Feature | None, str]:
    """What a column is, None if it tells nothing; and a sentence about it."""
    column = records[name]
    if column.dtype.kind == "f" and not categorical:
        if (column == column[0]).all():
            return None, f"Left out: {name!r} is {column[0]:g} in all rows."
        return Feature(name), _numbering(records, name)
    column = words(column)
    if not categorical:
        check_words(records, name)
    categories, counts = np.unique(column.astype(str), return_counts=True)
    if len(categories) == 1:
        return None, f"Left out: {name!r} is {str(categories[0])!r} in all rows."
    if len(categories) > max(MOST_CATEGORIES, len(column) / 2) and not categorical:
        return None, (
            f"Left out: {name!r} has {len(categories):,} different texts in {len(column):,} rows, which tell nothing "
            "about other rows."
        )
    return Feature(name, tuple(categories.tolist()), tuple((counts / len(column)).tolist())), ""


def _numbering(records: Records, name: str) -> str:
    """A warning of a column that only numbers the rows."""
    steps = np.diff(records[name])
    if len(records) > 2 and (steps == 1).all():
        return f"Used, though it only counts the rows: {name!r}; leave it out if that means nothing."
    return ""


def _shortened(notes: Iterable[str]) -> list[str]:
    """At most five sentences about columns, and how many more there are."""
    notes = list(notes)
    return notes if len(notes) <= 5 else [*notes[:4], f"And {len(notes) - 4:,} more columns like these."]


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count:,} columns"


def about_unknown(places: Sequence[str]) -> list[str]:
    """A sentence about each of three entries that were taken for unknown, and how many more there are."""
    notes = [f"Taken for unknown: {place}." for place in places[:3]]
    return [*notes, f"Taken for unknown: {len(places) - 3:,} more entries."] if len(places) > 3 else notes


def listed(names: Sequence[str]) -> str:
    """Names in quotes, six of them, and how many more there are."""
    return ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")


def _is_float(entry: str) -> bool:
    try:
        float(entry)
    except ValueError:
        return False
    return True
