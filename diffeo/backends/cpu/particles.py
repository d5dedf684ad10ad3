"""Reductions over pairs as compiled loops: trace, write the source to the cache folder, compile, run on all threads."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.backends.base import Backend
from diffeo.backends.cpu import blocks, codegen
from diffeo.backends.cpu.codegen import module_source
from diffeo.backends.dense.particles import DenseBackend
from diffeo.backends.formulas import Formula, Jet
from diffeo.backends.symbolic import trace
from diffeo.backends.wide import trace_wide

UNROLLED = 8  # components of one vector that are still written out one by one; longer ones are loops
PARALLEL = 1 << 16  # pairs below which a second thread costs more than it brings


@dataclass(frozen=True)
class CPUBackend(Backend):
    """Loops fused by Numba; float32 and float64 on the CPU. Everything else is handed to `DenseBackend`."""

    def covers(self, formula: Formula, rows: Sequence[Tensor], columns: Sequence[Tensor]) -> bool:
        """Whether the loops exist for these inputs: dtype, device, and dimension where matrices are involved."""
        inputs = (*rows, *columns)
        known = inputs[0].dtype in (torch.float32, torch.float64) and all(t.device.type == "cpu" for t in inputs)
        return known and (unrolled(rows, columns) or not formula.matrices)

    def reduce(
        self, formula: Formula, jets: tuple[Jet, ...], rows: Sequence[Tensor], columns: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Σ_j of the formula's terms, in one pass."""
        if not self.covers(formula, rows, columns):
            return DenseBackend().reduce(formula, jets, rows, columns)
        widths = tuple(r.shape[1] for r in rows), tuple(c.shape[1] for c in columns)
        dtype = str(rows[0].dtype).removeprefix("torch.")
        loop, constants, outputs = compiled(formula, jets, *widths, dtype)
        n, m = len(rows[0]), len(columns[0])
        results = [np.empty((width, n), dtype=dtype) for width in outputs]
        arrays = [*map(by_component, rows), *map(by_component, columns), *results]
        share(lambda start, stop: loop(*arrays, constants, start, stop), n, n * m)
        return tuple(torch.from_numpy(result).T for result in results)

    def unavailable(self) -> str | None:
        """None: Numba brings its own compiler."""
        return None


def by_component(x: Tensor) -> np.ndarray:
    """The tensor as an array of shape (d, n), contiguous."""
    return x.detach().T.contiguous().numpy()


@lru_cache(maxsize=512)
def compiled(
    formula: Formula, jets: tuple[Jet, ...], rows: tuple[int, ...], columns: tuple[int, ...], dtype: str
) -> tuple[Callable[..., None], np.ndarray, tuple[int, ...]]:
    """The loop for a formula, the constants it takes, and the widths of its outputs."""
    if rows[0] > UNROLLED or (max(*rows, *columns) > UNROLLED and not formula.matrices):
        wide = trace_wide(formula, jets, rows, columns)
        loop = loaded(module_source(blocks.loop_source(wide), dtype), formula.name)
        return loop, np.array(wide.graph.constants, dtype=dtype), wide.widths
    traced = trace(formula, jets, rows, columns)
    loop = loaded(module_source(codegen.loop_source(traced), dtype), formula.name)
    return loop, np.array(traced.graph.constants, dtype=dtype), tuple(len(output) for output in traced.outputs)


def unrolled(rows: Sequence[Tensor], columns: Sequence[Tensor]) -> bool:
    """Whether all vectors are short enough to be written out (matrices have the square of that)."""
    return rows[0].shape[1] <= UNROLLED and max(t.shape[1] for t in (*rows, *columns)) <= UNROLLED**2


@lru_cache(maxsize=512)
def loaded(source: str, name: str) -> Callable[..., None]:
    """The function ``loop`` of a generated module. It is written to a file, because Numba caches by file."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    module_name = f"diffeo_{name}_{digest}"
    file = cache_folder() / f"{module_name}.py"
    if not file.exists():
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".tmp", delete=False, encoding="utf-8") as stream:
            stream.write(source)
        os.replace(stream.name, file)
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module.loop


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """Where compiled loops are kept: DIFFEO_CACHE, or the user's cache folder, or a temporary one."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("DIFFEO_CACHE") or Path(home) / "diffeo")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="diffeo-"))


def share(work: Callable[[int, int], None], n: int, pairs: int) -> None:
    """Run ``work(start, stop)`` over the rows 0..n, on as many threads as torch uses."""
    if pairs < PARALLEL:
        work(0, n)
        return
    threads = torch.get_num_threads()
    bounds = np.linspace(0, n, threads + 1).astype(int)
    list(pool(threads).map(work, bounds[:-1], bounds[1:]))


def forked() -> None:
    """In a forked process the threads are gone, and waiting for them would never end: forget them."""
    pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked)


@lru_cache(maxsize=4)
def pool(threads: int) -> ThreadPoolExecutor:
    """Threads of our own, kept between calls: there, tiny results of exp may be flushed to 0 (denormals are slow)."""
    return ThreadPoolExecutor(
        threads, thread_name_prefix="diffeo", initializer=torch.set_flush_denormal, initargs=(True,)
    )
