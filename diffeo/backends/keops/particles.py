"""Reductions over pairs as KeOps symbolic tensors: compiled C++ or CUDA, nothing stored.

Source: Charlier, Feydy, Glaunès, Collin & Durif, "Kernel operations on the GPU, with autodiff, without memory
overflows", JMLR 2021.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.base import Backend
from diffeo.backends.dense.particles import DenseBackend
from diffeo.backends.formulas import Formula, Jet


class KeOpsAlgebra:
    """Vectors are symbolic tensors; scalars are those of dimension 1."""

    def dot(self, a: Any, b: Any) -> Any:
        """⟨a, b⟩."""
        return (a * b).sum(-1)

    def outer(self, a: Any, b: Any) -> Any:
        """a bᵀ, flattened."""
        return a.tensorprod(b)

    def apply(self, matrix: Any, v: Any) -> Any:
        """M v."""
        return matrix.matvecmult(v)

    def apply_transposed(self, matrix: Any, v: Any) -> Any:
        """Mᵀ v."""
        return v.vecmatmult(matrix)


@dataclass(frozen=True)
class KeOpsBackend(Backend):
    """pykeops, in float32 and float64; other dtypes are handed to `DenseBackend`.

    Every new combination of formula, kernel family and dtype compiles for 5 to 12 seconds, once per machine.
    """

    def reduce(
        self, formula: Formula, jets: tuple[Jet, ...], rows: Sequence[Tensor], columns: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Σ_j of the formula's terms: all outputs are one symbolic vector, summed once.

        Raises: RuntimeError where KeOps cannot work.
        """
        if rows[0].dtype not in (torch.float32, torch.float64):
            return DenseBackend().reduce(formula, jets, rows, columns)
        if reason := self.unavailable():
            raise RuntimeError(f"{reason} AutoBackend() works without it.")
        lazy = lazy_tensor()
        i = tuple(lazy(r.detach().contiguous()[:, None, :]) for r in rows)
        j = tuple(lazy(c.detach().contiguous()[None, :, :]) for c in columns)
        terms = formula.trace(KeOpsAlgebra(), jets, i, j)
        total = (lazy.concatenate(terms) if len(terms) > 1 else terms[0]).sum(1)
        return total.split([term.ndim for term in terms], dim=1)

    def unavailable(self) -> str | None:
        """Why KeOps cannot work here: not installed, or nothing to compile with."""
        if find_spec("pykeops") is None:
            return "KeOps is not installed: pip install pykeops."
        if compiler() is None:
            return "KeOps needs a C++ compiler and finds none: install g++, or name one in CXX."
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            return "KeOps needs the headers of Python and does not find Python.h: install python3-dev."
        return None


def compiler() -> str | None:
    """The compiler that KeOps will take, found as it finds it: without one its import succeeds, its first use fails."""
    named = os.environ.get("CXX")
    names = [named] if named else []
    names += ["clang++", "g++"] if platform.system() == "Darwin" else ["g++"]
    return next((name for name in names if shutil.which(name)), None)


@lru_cache(maxsize=1)
def lazy_tensor() -> Any:
    """``pykeops.torch.LazyTensor``, imported at its first use."""
    if "pykeops" not in sys.modules:
        with silenced():
            import pykeops.torch  # noqa: F401
    from pykeops.torch import LazyTensor

    return LazyTensor


@contextmanager
def silenced() -> Iterator[None]:
    """While KeOps is imported: it prints warnings and progress unless these variables say 0 by then.

    What the user chose stays, and so do the variables.
    """
    names = ("PYKEOPS_VERBOSE", "KEOPS_VERBOSE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, next(filter(None, before.values()), "0")))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
