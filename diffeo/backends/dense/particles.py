"""Reductions over pairs in plain torch, in chunks of rows, so that nothing of size n × m is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.base import Backend
from diffeo.backends.formulas import Formula, Jet

CHUNK = 1 << 22  # numbers in one temporary: 16 MB in float32, small enough for caches to help


class TorchAlgebra:
    """Vectors are the last axis; scalars keep it with length 1."""

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """⟨a, b⟩ along the last axis."""
        return (a * b).sum(-1, keepdim=True)

    def outer(self, a: Tensor, b: Tensor) -> Tensor:
        """a bᵀ, flattened."""
        return (a[..., :, None] * b[..., None, :]).flatten(-2)

    def apply(self, matrix: Tensor, v: Tensor) -> Tensor:
        """M v."""
        return (matrix.unflatten(-1, (-1, v.shape[-1])) * v[..., None, :]).sum(-1)

    def apply_transposed(self, matrix: Tensor, v: Tensor) -> Tensor:
        """Mᵀ v."""
        return (matrix.unflatten(-1, (v.shape[-1], -1)) * v[..., :, None]).sum(-2)


@dataclass(frozen=True)
class DenseBackend(Backend):
    """Plain torch. Where gradients are recorded they pass through every operation, to any order."""

    def reduce(
        self, formula: Formula, jets: tuple[Jet, ...], rows: Sequence[Tensor], columns: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Σ_j of the formula's terms, chunk by chunk of rows."""
        n, m = len(rows[0]), len(columns[0])
        width = max(t.shape[1] for t in (*rows, *columns))
        chunk = max(1, CHUNK // max(1, m * width))
        starts = range(0, max(1, n), chunk)  # also without rows there is one part, which is empty
        parts = [terms(formula, jets, [r[start : start + chunk] for r in rows], columns) for start in starts]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]

    def unavailable(self) -> str | None:
        """Always None: torch is a requirement."""
        return None


def terms(
    formula: Formula, jets: tuple[Jet, ...], rows: Sequence[Tensor], columns: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The summed outputs for a few rows."""
    i: tuple[Any, ...] = tuple(r[:, None, :] for r in rows)
    j: tuple[Any, ...] = tuple(c[None, :, :] for c in columns)
    return tuple(term.sum(1) for term in formula.trace(TorchAlgebra(), jets, i, j))
