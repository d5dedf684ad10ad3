"""What users hand to a backend without thinking of it."""

import os
import subprocess
import sys

import pytest
import torch

from diffeo.backends import AutoBackend, CPUBackend, DenseBackend, KeOpsBackend, auto, formulas
from diffeo.backends.cpu.particles import PARALLEL
from diffeo.kernels import CauchyKernel, GaussianKernel
from tests import zoo
from tests.backends.inputs import FORMULAS, inputs, jets
from tests.oracles import cloud, relative

BACKENDS = [backend for backend in zoo.BACKENDS if not isinstance(backend, KeOpsBackend)]
backends = pytest.mark.parametrize("backend", BACKENDS, ids=zoo.named)
all_formulas = pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
dtypes = pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)


def reduce(backend, formula, rows, columns, kernel=zoo.GAUSSIAN):
    return backend.reduce(formula, jets(formula, kernel), rows, columns)


@backends
@all_formulas
@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_sums_over_nothing_are_0(backend, formula, n, m):
    rows, columns = inputs(formula, n, m, 3)
    expected = reduce(DenseBackend(), formula, *inputs(formula, 1, 1, 3))
    for value, example in zip(reduce(backend, formula, rows, columns), expected, strict=True):
        assert value.shape == (n, example.shape[1])
        assert not value.any()


@backends
@pytest.mark.parametrize("kernel", [GaussianKernel(1000.0), CauchyKernel(1000.0)], ids=zoo.named)
def test_far_from_the_origin_float32_keeps_its_digits(backend, kernel):
    """Positions about 1e6 in an extent of 100 scales: |x|² + |y|² − 2x·y would have no digit left."""
    x, y = (1e6 + 1e5 * torch.rand(60, 3), 1e6 + 1e5 * torch.rand(50, 3))
    y[:20] = x[:20] + 1000 * torch.rand(20, 3)
    b = cloud(50, 3, torch.float32)
    (found,) = reduce(backend, formulas.product, (x,), (y, b), kernel)
    (expected,) = reduce(DenseBackend(), formulas.product, (x.double(),), (y.double(), b.double()), kernel)
    assert relative(found, expected) < 1e-5


@backends
@dtypes
@all_formulas
def test_memory_layout_does_not_matter(backend, formula, dtype):
    rows, columns = inputs(formula, 31, 30, 3, dtype)
    expected = reduce(backend, formula, rows, columns)
    strided = [tuple(torch.stack([t, t + 1], -1)[..., 0] for t in side) for side in (rows, columns)]
    reversed_ = [tuple(t.T.contiguous().T for t in side) for side in (rows, columns)]
    for other in (strided, reversed_):
        for value, reference in zip(reduce(backend, formula, *other), expected, strict=True):
            assert relative(value, reference) < (1e-13 if dtype == torch.float64 else 1e-5)


@backends
def test_inputs_that_require_gradients_are_taken(backend):
    rows, columns = inputs(formulas.product, 31, 30, 3)
    expected = reduce(backend, formulas.product, rows, columns)
    with torch.no_grad():
        found = reduce(
            backend, formulas.product, *[tuple(t.requires_grad_() for t in side) for side in (rows, columns)]
        )
    assert torch.equal(found[0], expected[0])
    assert not found[0].requires_grad


@backends
def test_inputs_are_not_changed_and_outputs_are_new(backend):
    rows, columns = inputs(formulas.hamiltonian, 31, 31, 3)
    copies = [t.clone() for t in (*rows, *columns)]
    outputs = reduce(backend, formulas.hamiltonian, rows, columns)
    for value in outputs:
        value.add_(1)
    assert all(map(torch.equal, (*rows, *columns), copies))


@pytest.fixture
def threads():
    """Sets the number of threads, and sets it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@dtypes
@all_formulas
def test_the_number_of_threads_changes_no_bit(formula, dtype, threads):
    rows, columns = inputs(formula, 331, 211, 3, dtype)
    assert len(rows[0]) * len(columns[0]) > PARALLEL
    threads(1)
    one = reduce(CPUBackend(), formula, rows, columns)
    for count in (2, 3):
        threads(count)
        assert all(map(torch.equal, reduce(CPUBackend(), formula, rows, columns), one))


@dtypes
def test_rows_do_not_depend_on_their_neighbours(dtype):
    rows, columns = inputs(formulas.product, 331, 211, 3, dtype)
    (all_rows,) = reduce(CPUBackend(), formulas.product, rows, columns)
    (some,) = reduce(CPUBackend(), formulas.product, (rows[0][100:117],), columns)
    assert torch.equal(all_rows[100:117], some)


@backends
@dtypes
@pytest.mark.parametrize("n", [1, 7, 64])
def test_nan_does_not_pass_for_a_number(backend, dtype, n):
    rows, columns = inputs(formulas.product, n, n, 3, dtype)
    rows[0][n // 2, 1] = torch.nan
    (value,) = reduce(backend, formulas.product, rows, columns)
    assert bool(value[n // 2].isnan().all())
    assert int(value.isnan().any(1).sum()) == 1
    columns[0][0, 0] = torch.nan
    (value,) = reduce(backend, formulas.product, rows, columns)
    assert bool(value.isnan().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=zoo.named)
@backends
def test_other_precisions_are_left_to_torch(backend, dtype):
    rows, columns = inputs(formulas.product, 7, 5, 3, dtype)
    (value,) = reduce(backend, formulas.product, rows, columns)
    precise = [tuple(t.double() for t in side) for side in (rows, columns)]
    assert value.dtype == dtype
    assert relative(value, reduce(DenseBackend(), formulas.product, *precise)[0]) < 0.05


def test_auto_takes_loops_where_they_pay(monkeypatch):
    few, many = inputs(formulas.product, 10, 10, 3), inputs(formulas.product, 300, 300, 3)
    assert AutoBackend().choose(formulas.product, *few) == DenseBackend()
    assert AutoBackend().choose(formulas.product, *many) == CPUBackend()
    assert AutoBackend().choose(formulas.jacobian, *inputs(formulas.jacobian, 300, 300, 11)) == DenseBackend()
    half = inputs(formulas.product, 300, 300, 3, torch.float16)
    assert AutoBackend().choose(formulas.product, *half) == DenseBackend()
    monkeypatch.setattr(auto, "FEW", 0)
    assert AutoBackend().choose(formulas.product, *few) == CPUBackend()


@backends
def test_these_backends_work_everywhere(backend):
    assert backend.unavailable() is None


FRESH = """
import os, torch
from diffeo.backends import CPUBackend, formulas
from diffeo.kernels import GaussianKernel
x = torch.linspace(0, 1, 900)[:, None].expand(-1, 3)
def total():
    return float(CPUBackend().reduce(formulas.product, (GaussianKernel(0.7),), (x,), (x, x))[0].sum())
before = total()
child = os.fork()
if child == 0:
    os._exit(0 if total() == before else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_processes_can_sum_too():
    """As torch's data loaders do: the parent's threads do not exist in the child."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FRESH], check=True, timeout=60)


@pytest.mark.slow
def test_a_cache_folder_that_cannot_be_written_is_not_needed(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    environment = os.environ | {"DIFFEO_CACHE": str(blocked / "cache"), "TMPDIR": str(tmp_path)}
    code = "import tempfile; from diffeo.backends.cpu.particles import cache_folder; print(cache_folder())"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(tmp_path))
