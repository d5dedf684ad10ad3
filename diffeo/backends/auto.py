"""The backend that picks a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from diffeo.backends.base import Backend
from diffeo.backends.cpu.particles import CPUBackend
from diffeo.backends.dense.particles import DenseBackend
from diffeo.backends.formulas import Formula, Jet

FEW = 4096  # pairs below which torch is fast enough that compiling a loop does not pay


@dataclass(frozen=True)
class AutoBackend(Backend):
    """Fused loops on the CPU, torch for small problems and for what the loops do not cover."""

    def choose(self, formula: Formula, rows: Sequence[Tensor], columns: Sequence[Tensor]) -> Backend:
        """The backend for these inputs."""
        fused = CPUBackend()
        if len(rows[0]) * len(columns[0]) >= FEW and fused.covers(formula, rows, columns):
            return fused
        return DenseBackend()

    def reduce(
        self, formula: Formula, jets: tuple[Jet, ...], rows: Sequence[Tensor], columns: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The reduction, by the backend chosen for it."""
        return self.choose(formula, rows, columns).reduce(formula, jets, rows, columns)

    def unavailable(self) -> str | None:
        """None: there is always torch."""
        return None
