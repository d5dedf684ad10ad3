"""What a backend is: an executor of formulas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from diffeo.backends.formulas import Formula, Jet


@dataclass(frozen=True)
class Backend(ABC):
    """Executes a `Formula`: sums its terms over the columns, for every row."""

    @abstractmethod
    def reduce(
        self, formula: Formula, jets: tuple[Jet, ...], rows: Sequence[Tensor], columns: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The outputs of the formula.

        Args:
            formula: what to sum.
            jets: the functions it uses: a kernel, and an orientation where directions are compared.
            rows, columns: its inputs, each of shape (n, ·) or (m, ·); one dtype and device.

        Returns: one tensor of shape (n, ·) per output; no gradient is recorded through backends other than dense.
        """

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this backend cannot work here, in one sentence; None where it can."""
