"""What a density is one of: columns of numbers, and those it is conditioned on."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffeo.tables.checks import check_known, check_words
from diffeo.tables.features import Feature, Features, Matrix
from diffeo.tables.records import Records

FEW, SHARE = 20, 0.01  # different values, and their number for each row: with fewer, a column holds counts or grades


@dataclass(frozen=True)
class Coordinates:
    """The columns of a density p(x | c).

    Attributes:
        features: all that are used: those of x, and then those of c.
        count: how many of them are those of x.
    """

    features: Features
    count: int

    @property
    def names(self) -> list[str]:
        """The columns of x."""
        return [feature.name for feature in self.features.columns[: self.count]]

    @property
    def context(self) -> list[str]:
        """The columns of c."""
        return [feature.name for feature in self.features.columns[self.count :]]

    @classmethod
    def of(
        cls,
        records: Records,
        only: Sequence[str] = (),
        without: Collection[str] = (),
        given: Sequence[str] = (),
        categorical: Collection[str] = (),
    ) -> tuple[Coordinates, list[str]]:
        """Find out what the columns are; also what was decided, a sentence each.

        Args:
            records: the table.
            only: the columns of x; by default all that are neither left out nor given.
            without: columns to leave out.
            given: the columns of c.
            categorical: those of c whose numbers are only names.

        Raises: ValueError if a value is missing or infinite, if a column of x holds texts or the same number in all
            rows, if there are too few rows for so many columns, or if there is nothing to learn from.
        """
        names = [name for name in only or records.names if name not in without and name not in given]
        if not names:
            raise ValueError(f"{records.source}: no column is left that could have a density.")
        check_known(records, names)
        if len(records) < 2:
            raise ValueError(f"{records.source} has one row, and several are needed to learn from.")
        for name in names:
            _check_numbers(records, name)
        notes = [note for name in names if (note := _about_ties(records, name))]
        columns, places = [Feature(name) for name in names], [records.names.index(name) for name in names]
        if given:
            context, told = Features.of(records, None, given, (), categorical)
            columns, places, notes = [*columns, *context.columns], [*places, *context.places], [*notes, *told]
        features = Features(tuple(columns), len(records.names), None, records.named, tuple(places))
        _check_enough(records, len(features.labels))
        return cls(features, len(names)), notes

    def rows(self, records: Records) -> Matrix:
        """x, shape (n, d), of a table with these columns."""
        return self._part(slice(self.count)).matrix(records)[0]

    def given(self, records: Records, lenient: bool = False) -> tuple[Matrix, list[str]]:
        """c as numbers, shape (n, k), k = 0 if there is none; and the entries that were taken for unknown.

        Args:
            records: a table with these columns.
            lenient: take categories that were never seen for unknown; by default they are refused.
        """
        if not self.context:
            return np.empty((len(records), 0)), []
        return self._part(slice(self.count, None)).matrix(records, lenient)

    def arranged(self, records: Records, given_only: bool = False) -> tuple[Records, list[str]]:
        """A table with these columns by their names, and what was decided, a sentence each.

        Args:
            records: any table; without a header its columns are told by their places.
            given_only: whether the columns of c are enough; without a header they are all there may be.

        Raises: ValueError if columns are missing.
        """
        if not given_only:
            return self.features.arranged(records)
        k = len(self.context)
        part = dataclasses.replace(self._part(slice(self.count, None)), width=k, places=tuple(range(k)))
        return part.arranged(records)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {"features": self.features.state(), "count": self.count}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Coordinates:
        """The inverse of `state`."""
        return cls(Features.from_state(state["features"]), state["count"])

    def _part(self, which: slice) -> Features:
        """Some of the columns."""
        return dataclasses.replace(
            self.features, columns=self.features.columns[which], places=self.features.places[which]
        )


def _check_numbers(records: Records, name: str) -> None:
    """Raise ValueError unless a column holds numbers that differ."""
    column = records[name]
    if column.dtype.kind != "f":
        check_words(records, name)
        raise ValueError(
            f"{records.source}: column {name!r} holds texts, such as {column[0]!r}, and only numbers have a density: "
            "leave it out, or make it a column that is given."
        )
    if (column == column[0]).all():
        raise ValueError(
            f"{records.source}: column {name!r} is {column[0]:g} in all {len(column):,} rows, where there is no "
            "density: leave it out."
        )


def _check_enough(records: Records, numbers: int) -> None:
    """Raise ValueError where the rows lie in a plane of fewer dimensions than they have numbers."""
    if len(records) < numbers + 2:
        count = f"{numbers:,} number{'s' if numbers > 1 else ''}"
        raise ValueError(
            f"{records.source} has {len(records):,} rows, and at least {numbers + 2:,} are needed for a density of "
            f"{count} each: take more rows or fewer columns."
        )


def _about_ties(records: Records, name: str) -> str:
    """A warning of a column whose values repeat."""
    n, different = len(records), len(np.unique(records[name]))
    if different > max(FEW, SHARE * n) or 2 * different > n:
        return ""
    return (
        f"Taken for real numbers: {name!r}, which has {different:,} different values in {n:,} rows; at values that "
        "repeat, a density may be as high as it likes, and its logarithm says little."
    )
