"""Joint histograms: the fused loops give what the products of matrices give, and both count everything once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from scipy.interpolate import BSpline

from diffeo.backends.cpu.histograms import CPUHistograms, add
from diffeo.backends.dense import histograms as dense
from diffeo.backends.dense.histograms import DenseHistograms
from diffeo.backends.histograms import histograms_for
from tests import zoo
from tests.oracles import relative, seeds

F64 = torch.float64
EXACT = {torch.float64: 1e-12, torch.float32: 1e-5}
weighted = pytest.mark.parametrize("weighted", [False, True])


def values(seed, dtype, bins, weighted, n=501):
    """Two images, weights, and a cotangent; the ends of the axis, whole numbers and halves among them."""
    generator = torch.Generator().manual_seed(seed)
    p, q, w = torch.rand(3, n, generator=generator, dtype=F64)
    p, q = 1 + (bins - 3) * p, 1 + (bins - 3) * q
    special = torch.tensor([1, bins - 2, 1.5, bins // 2, bins - 2], dtype=F64)
    p[:5], q[:5] = special, special.flip(0)
    cotangent = torch.randn(bins, bins, generator=generator, dtype=F64)
    return p.to(dtype), q.to(dtype), w.to(dtype) if weighted else None, cotangent


@weighted
@pytest.mark.parametrize("dtype", zoo.DTYPES, ids=zoo.named)
@pytest.mark.parametrize("bins", [4, 5, 32])
@given(seed=seeds)
def test_the_loops_agree(bins, dtype, weighted, seed):
    p, q, w, cotangent = values(seed, dtype, bins, weighted)
    exact = [None if t is None else t.double() for t in (p, q, w)]
    found, expected = CPUHistograms().joint(p, q, w, bins), DenseHistograms().joint(*exact, bins)
    assert found.dtype == expected.dtype == F64
    assert relative(found, expected) < EXACT[dtype]
    assert relative(DenseHistograms().joint(p, q, w, bins), expected) < EXACT[dtype]
    slope, expected = CPUHistograms().joint_pull(p, q, w, cotangent), DenseHistograms().joint_pull(*exact, cotangent)
    assert slope.dtype == dtype
    assert relative(slope, expected) < 10 * EXACT[dtype]


@weighted
@pytest.mark.parametrize("histograms", [CPUHistograms(), DenseHistograms()], ids=lambda h: type(h).__name__)
def test_everything_is_counted_once(histograms, weighted):
    p, q, w, _ = values(3, F64, 12, weighted)
    table = histograms.joint(p, q, w, 12)
    total = float(len(p) if w is None else w.sum())
    assert float(table.sum()) == pytest.approx(total, rel=1e-12)
    k = torch.arange(12, dtype=F64)
    for positions, marginal in ((p, table.sum(1)), (q, table.sum(0))):  # splines keep the mean as well
        mean = (positions if w is None else w * positions).sum() / total
        assert float((k * marginal).sum() / total) == pytest.approx(float(mean), rel=1e-12)


def test_the_windows_are_cubic_splines():
    x = torch.linspace(1, 6, 51, dtype=F64)
    found = dense.spread(x, 8)
    for k in range(8):
        spline = BSpline.basis_element(np.arange(k - 2, k + 3), extrapolate=False)
        assert np.abs(found[:, k].numpy() - np.nan_to_num(spline(x.numpy()))).max() < 1e-14


def test_chunks_add_up(monkeypatch):
    p, q, w, cotangent = values(5, F64, 9, True)
    expected = DenseHistograms().joint(p, q, w, 9), DenseHistograms().joint_pull(p, q, w, cotangent)
    monkeypatch.setattr(dense, "CHUNK", 100)
    assert relative(DenseHistograms().joint(p, q, w, 9), expected[0]) < 1e-13
    assert relative(DenseHistograms().joint_pull(p, q, w, cotangent), expected[1]) < 1e-13


def test_threads_share_the_values():
    p, q, w, cotangent = values(6, F64, 16, True, n=20_000)
    alone = CPUHistograms().joint(p, q, w, 16), CPUHistograms().joint_pull(p, q, w, cotangent)
    torch.set_num_threads(2)
    try:
        together = CPUHistograms().joint(p, q, w, 16), CPUHistograms().joint_pull(p, q, w, cotangent)
    finally:
        torch.set_num_threads(1)
    assert relative(together[0], alone[0]) < 1e-13
    assert torch.equal(together[1], alone[1])


@pytest.mark.parametrize("bad", [-1e9, -3.0, 0.0, 1e9, torch.inf, torch.nan])
def test_values_beyond_the_bins_write_nowhere_else(bad):
    bins = 6
    table = np.zeros((3 * bins, bins))
    p, one = np.array([bad]), np.ones(1)
    add(p, 1 + one, one, table[bins : 2 * bins], 0, 1)
    assert not table[:bins].any()
    assert not table[2 * bins :].any()


def test_loops_for_what_they_cover():
    assert isinstance(histograms_for(torch.zeros(2)), CPUHistograms)
    assert isinstance(histograms_for(torch.zeros(2, dtype=torch.bfloat16)), DenseHistograms)
    assert isinstance(histograms_for(torch.zeros(2, device="meta")), DenseHistograms)
