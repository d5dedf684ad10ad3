"""A fitted density together with the table it was learned from: names, and what it is conditioned on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffeo.diagnostics import DensityReport, density_report
from diffeo.estimators.density import DensityFlow
from diffeo.estimators.files import read_estimator, save_estimator
from diffeo.estimators.standardization import Standardization
from diffeo.fit import Record
from diffeo.tables import Coordinates, Records
from diffeo.tables.features import about_unknown, listed

Array = NDArray[Any]


@dataclass(frozen=True)
class TableDensity:
    """A density of the columns of a table.

    Attributes:
        estimator: fitted.
        coordinates: the columns that it is a density of, and those that it is conditioned on.
    """

    estimator: DensityFlow
    coordinates: Coordinates

    def fit(
        self,
        records: Records,
        validation: Records | None = None,
        *,
        callbacks: Sequence[Callable[[Record], None]] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Fit the density of the rows of a table.

        Args:
            records: a table with these columns.
            validation: another one, to choose and to stop by; by default a part of the rows.
            callbacks, checkpoint, resume: see `DensityFlow.fit`.

        Raises: ValueError for data that have no density, and for settings that make no sense.
        """
        given: dict[str, Any] = _context(self.coordinates.given(records)[0])
        if validation is not None:
            x, c = self.coordinates.rows(validation), self.coordinates.given(validation)[0]
            given["validation"] = (x, c) if self.coordinates.context else x
        rows = self.coordinates.rows(records)
        self.estimator.fit(rows, callbacks=callbacks, checkpoint=checkpoint, resume=resume, **given)
        return self

    def check(self, records: Records, test: Records | None = None) -> DensityReport:
        """What is known of the density, from the rows it was fitted to and from others that nothing was chosen by."""
        return density_report(
            self.estimator.law_, self._joint(records), test=None if test is None else self._joint(test)
        )

    def _joint(self, records: Records) -> Tensor:
        """Rows (x, c) as the law has them: with c standardized."""
        c = Standardization(self.estimator.context_center_, self.estimator.context_spread_)
        given = c.forward(self.coordinates.given(records)[0])
        return torch.from_numpy(np.hstack([self.coordinates.rows(records), given]))

    def plot(self, records: Records, checks: DensityReport, title: str) -> Any:
        """A figure: the density, rows of a table beside draws, the flow, how it was fitted, what is known of it."""
        x, given = self.coordinates.rows(records), self.coordinates.given(records)[0]
        names = self.coordinates.names
        return self.estimator.plot(x, **_context(given), report=checks, names=names, title=title)

    def score(self, records: Records, lenient: bool = False) -> tuple[Array, list[str]]:
        """log p of every row of a table, shape (n,), in nats; and what was decided, a sentence each.

        Args:
            records: a table whose columns are matched by their names; others are left alone.
            lenient: take categories that were never seen for unknown, and say so; by default they are refused.

        Raises: ValueError if columns or values are missing.
        """
        records, notes = self.coordinates.arranged(records)
        given, unseen = self.coordinates.given(records, lenient)
        values = self.estimator.score_samples(self.coordinates.rows(records), **_context(given))
        outside = int(np.isneginf(values).sum())
        where = "1 row lies" if outside == 1 else f"{outside:,} rows lie"
        notes += [f"Of density 0: {where} outside the bounds."] if outside else []
        return values, [*notes, *about_unknown(unseen)]

    def sample(
        self, count: int, seed: int, given: Records | None = None, lenient: bool = False
    ) -> tuple[dict[str, Array], list[str]]:
        """New rows, column by column, and what was decided, a sentence each.

        Args:
            count: how many; of a conditional density, for each row that is given.
            seed: of the draw.
            given: the columns that a conditional density is conditioned on; they come before the others in the result.
            lenient: take categories that were never seen for unknown, and say so; by default they are refused.

        Raises: ValueError if something is given and nothing is conditioned on, or the other way round.
        """
        names = self.coordinates.context
        if given is None:
            if names:
                raise ValueError(f"the density is one given {listed(names)}: a table of these columns is expected.")
            return self._columns(self.estimator.sample(count, random_state=seed)), []
        if not names:
            raise ValueError(f"the density is conditioned on nothing, and {given.source} is given: leave it out.")
        given, notes = self.coordinates.arranged(given, given_only=True)
        context, unseen = self.coordinates.given(given, lenient)
        x = self.estimator.sample(count, context, random_state=seed)
        repeated = {name: np.repeat(given[name], count) for name in names}
        return repeated | self._columns(x), [*notes, *about_unknown(unseen)]

    def save(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        """Write everything that `load` needs, and metadata that JSON can hold."""
        save_estimator(path, self.estimator, {**(metadata or {}), "table": self.coordinates.state()})

    @classmethod
    def load(cls, path: str | Path) -> TableDensity:
        """Read a density. Raises ValueError if the file is not one."""
        estimator, metadata = read_estimator(path)
        if not isinstance(estimator, DensityFlow):
            raise ValueError(
                f"{path} holds a {type(estimator).__name__}, which is no density: diffeo predict takes it."
            )
        try:
            return cls(estimator, Coordinates.from_state(metadata["table"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path} holds a density, but not what the columns of its table were: it was not saved by "
                "diffeo density fit."
            ) from None

    def _columns(self, x: Array) -> dict[str, Array]:
        return dict(zip(self.coordinates.names, x.T, strict=True))


def _context(given: Array) -> dict[str, Any]:
    """An argument, where there is something to say."""
    return {"context": given} if given.shape[1] else {}
