"""Every backend computes the same sums as plain torch, for every formula."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given

import diffeo.kernels
from diffeo.backends import CPUBackend, DenseBackend, KeOpsBackend
from diffeo.backends.cpu.codegen import loop_source
from diffeo.backends.dense import particles as dense
from diffeo.backends.formulas import Formula
from diffeo.backends.symbolic import trace
from diffeo.kernels import GaussianKernel, LaplacianKernel
from tests import zoo
from tests.backends.inputs import FORMULAS, inputs, jets, widths
from tests.oracles import relative, seeds

EXACT = {torch.float64: 1e-12, torch.float32: 1e-5}
formulas = pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
kernels = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)
dtypes = pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)


def agree(backend, formula, kernel, d, dtype, n=37, m=29, tolerance=1.0, seed=0):
    """One backend against torch in float64 at the same numbers."""
    rows, columns = inputs(formula, n, m, d, dtype, seed)
    found = backend.reduce(formula, jets(formula, kernel), rows, columns)
    precise = [t.double() for t in rows], [t.double() for t in columns]
    expected = DenseBackend().reduce(formula, jets(formula, kernel), *precise)
    assert len(found) == len(expected)
    for value, reference in zip(found, expected, strict=True):
        assert value.dtype == dtype
        assert relative(value, reference) < tolerance * EXACT[dtype]


def test_the_formulas_are_all_found_and_all_used():
    package = Path(diffeo.kernels.__file__).parent
    used = "\n".join(file.read_text(encoding="utf-8") for file in package.glob("*.py"))
    assert len(FORMULAS) >= 12
    assert [f.name for f in FORMULAS if not re.search(rf"formulas\.{f.name}\b", used)] == []


@formulas
@kernels
def test_torch_sums_what_the_formula_says_of_each_pair(formula, kernel):
    """The reference itself, against plain Python: pair by pair, number by number."""
    d = 2
    rows, columns = inputs(formula, 3, 4, d)
    found = DenseBackend().reduce(formula, jets(formula, kernel), rows, columns)
    for i in range(3):
        terms = [
            formula.trace(
                Numbers, jets(formula, kernel), vectors(formula.rows, rows, i), vectors(formula.columns, columns, j)
            )
            for j in range(4)
        ]
        for output, value in enumerate(found):
            expected = sum(np.atleast_1d(np.array(term[output], dtype=object)) for term in terms)
            assert value[i].tolist() == pytest.approx([float(e) for e in expected], rel=1e-10, abs=1e-13)


class Number(float):
    """A float that knows exp and sqrt, as jets ask for."""

    def exp(self):
        return Number(math.exp(self))

    def sqrt(self):
        return Number(math.sqrt(self))


def closed(original):
    """The operation of floats, with numbers as results."""

    def operation(self, *others):
        result = original(self, *others)
        return Number(result) if isinstance(result, float) else result

    return operation


for name in ("add", "sub", "mul", "truediv", "radd", "rsub", "rmul", "rtruediv", "neg", "pow"):
    setattr(Number, f"__{name}__", closed(getattr(float, f"__{name}__")))

Numbers = SimpleNamespace(
    dot=lambda a, b: Number(sum(x * y for x, y in zip(a, b, strict=True))),
    outer=lambda a, b: np.outer(a, b).ravel(),
    apply=lambda matrix, v: np.reshape(matrix, (-1, len(v))) @ v,
    apply_transposed=lambda matrix, v: np.reshape(matrix, (len(v), -1)).T @ v,
)


def vectors(names, tensors, index):
    """The inputs of one row or column: arrays of numbers, and plain numbers for scalars."""
    items = [np.array([Number(c) for c in t[index].tolist()], dtype=object) for t in tensors]
    return tuple(v[0] if name in "ws" else v for name, v in zip(names, items, strict=True))


@formulas
@kernels
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_the_loops_that_are_compiled_are_right(formula, kernel, d):
    """The generated source, run as Python: every combination is checked without compiling it."""
    traced = trace(formula, jets(formula, kernel), *widths(formula, d))
    source = re.sub(r"@njit.*", "", loop_source(traced))
    scope = {"R": float, "exp": math.exp, "sqrt": math.sqrt}
    exec(source, scope)
    n, m = 3, 4
    rows, columns = inputs(formula, n, m, d)
    outputs = [np.empty((len(output), n)) for output in traced.outputs]
    arrays = [t.T.numpy() for t in (*rows, *columns)]
    scope["loop"](*arrays, *outputs, traced.graph.constants, 0, n)
    expected = DenseBackend().reduce(formula, jets(formula, kernel), rows, columns)
    for value, reference in zip(outputs, expected, strict=True):
        assert relative(torch.from_numpy(value).T, reference) < 1e-12


@formulas
@dtypes
def test_compiled_loops_agree_with_torch(formula, dtype):
    agree(CPUBackend(), formula, zoo.GAUSSIAN, 3, dtype)


@formulas
@dtypes
@given(seed=seeds)
def test_compiled_loops_agree_for_any_numbers(formula, dtype, seed):
    agree(
        CPUBackend(), formula, zoo.GAUSSIAN, 3, dtype, n=seed % 50 + 1, m=seed % 41 + 1, seed=seed % 1000, tolerance=3
    )


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2, 5])
@formulas
def test_compiled_loops_agree_in_every_dimension(formula, d):
    agree(CPUBackend(), formula, zoo.GAUSSIAN, d, torch.float64)


TELLING = [f for f in FORMULAS if f.name in ("product", "hamiltonian_pull", "jacobian_pull_source", "directed_masses")]


@pytest.mark.slow
@pytest.mark.parametrize("formula", TELLING, ids=lambda f: f.name)
@kernels
def test_compiled_loops_agree_for_every_kernel(formula, kernel):
    """Between them these formulas use k, k' and k''; the other ones differ in arithmetic that is checked above."""
    agree(CPUBackend(), formula, kernel, 2, torch.float64)


@pytest.mark.slow
@kernels
def test_compiled_loops_agree_for_every_kernel_in_float32(kernel):
    (formula,) = [f for f in FORMULAS if f.name == "hamiltonian_pull"]
    agree(CPUBackend(), formula, kernel, 3, torch.float32, tolerance=3)


@formulas
@dtypes
def test_many_dimensions_are_left_to_torch(formula, dtype):
    agree(CPUBackend(), formula, zoo.GAUSSIAN, 11, dtype, n=5, m=4)


@formulas
@dtypes
@pytest.mark.parametrize("backend", [b for b in zoo.BACKENDS if b != KeOpsBackend()], ids=zoo.named)
def test_every_backend_agrees_with_torch(backend, formula, dtype):
    """KeOps compiles for seconds: below."""
    agree(backend, formula, zoo.GAUSSIAN, 3, dtype, n=210, m=190, tolerance=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "formula", [f for f in FORMULAS if f.name in ("hamiltonian", "jacobian_pull_source")], ids=lambda f: f.name
)
def test_keops_agrees_with_torch(formula):
    if reason := KeOpsBackend().unavailable():
        pytest.skip(reason)
    agree(KeOpsBackend(), formula, zoo.GAUSSIAN, 3, torch.float64)


@formulas
def test_chunks_of_rows_do_not_change_a_sum(formula, monkeypatch):
    rows, columns = inputs(formula, 23, 17, 3)
    whole = DenseBackend().reduce(formula, jets(formula, zoo.GAUSSIAN), rows, columns)
    monkeypatch.setattr(dense, "CHUNK", 300)
    for a, b in zip(DenseBackend().reduce(formula, jets(formula, zoo.GAUSSIAN), rows, columns), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)


@dtypes
@formulas
@pytest.mark.parametrize("kernel", [GaussianKernel(0.5), LaplacianKernel(0.5), LaplacianKernel(1e-3)], ids=zoo.named)
@pytest.mark.parametrize("backend", [DenseBackend(), CPUBackend()], ids=zoo.named)
def test_coincident_points_give_finite_numbers(backend, kernel, formula, dtype):
    rows, columns = inputs(formula, 9, 9, 3, dtype)
    for side, names in ((rows, formula.rows), (columns, formula.columns)):
        side[[name in "xyqc" for name in names].index(True)].zero_()
    for value in backend.reduce(formula, jets(formula, kernel), rows, columns):
        assert bool(torch.isfinite(value).all())


FORCES = {"product_pull": 0, "product_pull_both": 0, "hamiltonian": 1, "masses": 1, "directed_masses": 1}


@dtypes
@kernels
@pytest.mark.parametrize("formula", [f for f in FORMULAS if f.name in FORCES], ids=lambda f: f.name)
def test_a_point_does_not_pull_on_itself(formula, kernel, dtype):
    """D = 0 gives exactly 0, whatever k' is there."""
    rows, columns = inputs(formula, 1, 1, 2, dtype)
    columns[0].copy_(rows[0])
    force = DenseBackend().reduce(formula, jets(formula, kernel), rows, columns)[FORCES[formula.name]]
    assert torch.equal(force, torch.zeros_like(force))


@dtypes
@pytest.mark.parametrize("formula", [f for f in FORMULAS if f.name in FORCES], ids=lambda f: f.name)
def test_a_point_does_not_pull_on_itself_in_compiled_loops(formula, dtype):
    rows, columns = inputs(formula, 9, 9, 3, dtype)
    rows[0].zero_(), columns[0].zero_()
    force = CPUBackend().reduce(formula, jets(formula, LaplacianKernel(0.5)), rows, columns)[FORCES[formula.name]]
    assert torch.equal(force, torch.zeros_like(force))


def test_a_formula_is_named_after_its_body():
    assert all(isinstance(f, Formula) and f.name == f.body.__name__ for f in FORMULAS)
