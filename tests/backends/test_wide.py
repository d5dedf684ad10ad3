"""Loops for vectors of any dimension agree with torch, for every formula."""

import pytest
import torch

from diffeo.backends import AutoBackend, CPUBackend, DenseBackend, formulas
from diffeo.backends.formulas import SCALARS, Formula
from diffeo.kernels import CauchyKernel, GaussianKernel, Unoriented

FORMULAS = [f for f in vars(formulas).values() if isinstance(f, Formula)]
KERNEL = GaussianKernel(3.0) + 0.5 * GaussianKernel(1.5) + CauchyKernel(2.0)


def inputs(names, n, d, dtype):
    return [torch.randn(n, 1 if s in SCALARS else d * d if s == "A" else d, dtype=dtype) for s in names]


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
@pytest.mark.parametrize(("d", "m"), [(11, 300)])  # more columns than a block, and not a multiple of it
def test_wide_loops_agree_with_torch(formula, d, m):
    rows, columns = inputs(formula.rows, 20, d, torch.float64), inputs(formula.columns, m, d, torch.float64)
    if formula.rows == formula.columns:
        rows = columns
    jets = (KERNEL, Unoriented())
    for fused, dense in zip(
        CPUBackend().reduce(formula, jets, rows, columns), DenseBackend().reduce(formula, jets, rows, columns),
        strict=True,
    ):  # fmt: skip
        assert fused.shape == dense.shape
        assert torch.allclose(fused, dense, rtol=1e-12, atol=1e-12 * float(dense.abs().max()))


def test_payloads_may_be_wider_than_positions():
    x, y, b = torch.randn(30, 2), torch.randn(40, 2), torch.randn(40, 20)
    (fused,) = CPUBackend().reduce(formulas.product, (KERNEL,), [x], [y, b])
    (dense,) = DenseBackend().reduce(formulas.product, (KERNEL,), [x], [y, b])
    assert torch.allclose(fused, dense, atol=1e-5)


def test_differences_keep_their_digits_far_from_the_origin():
    x = torch.randn(50, 12) + 1e4
    exact = DenseBackend().reduce(formulas.product, (KERNEL,), [x.double()], [x.double(), x.double() - 1e4])[0]
    fused = CPUBackend().reduce(formulas.product, (KERNEL,), [x], [x, x - 1e4])[0]
    assert torch.allclose(fused.double(), exact, atol=2e-6 * float(exact.abs().max()))


def test_many_pairs_of_wide_vectors_are_fused():
    x = torch.randn(100, 30)
    assert isinstance(AutoBackend().choose(formulas.product, [x], [x, x]), CPUBackend)
    matrices = torch.randn(100, 900)
    assert isinstance(AutoBackend().choose(formulas.jacobian_pull, [x, matrices], [x, x]), DenseBackend)
