"""Stored kernel matrices, and gradients through them, against what torch makes of the definition."""

import pytest
import torch
from hypothesis import given

from diffeo.kernels import gram
from tests import zoo
from tests.oracles import cloud, relative, seeds

kernels = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=zoo.named)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(gram, "BLOCK", 100)


@kernels
@pytest.mark.usefixtures("small_blocks")
def test_matrices_by_their_definition(kernel):
    x, y = 5 + cloud(40, 3), 5 + cloud(15, 3, seed=1)
    square = kernel(x).dense()
    assert relative(gram.lower(kernel, x).tril(), square.tril()) < 1e-12
    assert (gram.lower(kernel, x).diagonal() == kernel.at_zero).all()
    parts = list(gram.rows(kernel, x, y))
    assert relative(torch.cat([values for _, values in parts]), kernel(x, y).dense()) < 1e-12
    assert [i for part, _ in parts for i in range(40)[part]] == list(range(40))
    assert len(parts) > 3


@kernels
@given(seed=seeds)
def test_gradients_through_all_entries(kernel, seed):
    x, weights = 5 + cloud(30, 3, seed=seed), cloud(30, 30, seed=seed + 1)
    weights = weights + weights.T
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((weights * kernel(leaf).dense()).sum(), leaf)
    assert relative(gram.pulled(kernel, x, weights.__getitem__), expected) < 1e-11


@kernels
def test_points_that_coincide_do_not_pull_at_each_other(kernel):
    x = cloud(5, 2).repeat(2, 1)
    pulled = gram.pulled(kernel, x, torch.ones(10, 10, dtype=torch.float64).__getitem__)
    assert bool(torch.isfinite(pulled).all())
    assert relative(pulled[:5], pulled[5:]) < 1e-12
    assert relative(gram.lower(kernel, x)[5:, :5].diagonal(), torch.full((5,), kernel.at_zero).double()) < 1e-7
