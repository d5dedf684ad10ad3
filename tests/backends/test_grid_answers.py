"""Loops over grids: what is known without another program. Linear functions, deltas, finite differences."""

import itertools

import pytest
import torch
from hypothesis import given

from diffeo.backends.cpu.grids import CPUGrids
from diffeo.backends.dense.grids import DenseGrids
from diffeo.losses.correlation import across
from tests.backends.grids import array, every_index, places, placing, within
from tests.oracles import cloud, distance, relative, seeds, slope

F64 = torch.float64
SHAPES = [(9,), (5, 6), (4, 5, 3)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
loops = pytest.mark.parametrize("loops", [CPUGrids(), DenseGrids()], ids=["fused", "torch"])


# ---- resampling


@loops
@shapes
@given(seed=seeds)
def test_linear_functions_are_reproduced(loops, shape, seed):
    """With their slopes; up to the border, the last point included."""
    d = len(shape)
    a, b, index = cloud(3, d, seed=seed), cloud(3, 1, seed=seed + 1), within(shape, 30, seed)
    index[:, 0] = torch.tensor(shape) - 1
    values = torch.einsum("ca,a...->c...", a, every_index(shape)) + b.reshape(3, *[1] * d)
    assert distance(loops.sample(values, index), a @ index + b) < 1e-13
    for c in range(3):
        one = torch.zeros(3, 30, dtype=F64)
        one[c] = 1
        _, in_index = loops.sample_pull(values, index, one, (False, True))
        assert distance(in_index[:, 1:], a[c][:, None].expand(d, 29)) < 1e-12


@loops
@shapes
def test_warps_sample_where_they_say(loops, shape):
    d, other = len(shape), tuple(n + 2 for n in shape)
    values, u, add, (m, t) = array(2, *shape), array(d, *other, seed=1), array(2, *other, seed=2), placing(d)
    where = torch.einsum("ab,b...->a...", m, every_index(other) + u) + t.reshape(d, *[1] * d)
    assert distance(loops.warp(values, m, t, u, add), loops.sample(values, where) + add) < 1e-13


@loops
@shapes
def test_the_sum_of_displacements_is_that_of_the_composition(loops, shape):
    """warp(u, 1, 0, w, add=w) is (id + u)∘(id + w) − id: for linear u and small w, inside, (1 + U)(i + w) − i."""
    d, eye, zero = len(shape), torch.eye(len(shape), dtype=F64), torch.zeros(len(shape), dtype=F64)
    linear, i = 0.1 * cloud(d, d), every_index(shape)
    u, w = torch.einsum("ab,b...->a...", linear, i), 0.2 * array(d, *shape, seed=1)
    found = loops.warp(u, eye, zero, w, add=w)
    expected = torch.einsum("ab,b...->a...", eye + linear, i + w) - i
    inner = (slice(None), *[slice(1, -1)] * d)
    assert distance(found[inner], expected[inner]) < 1e-13


@loops
@shapes
@given(seed=seeds)
def test_pulling_is_the_adjoint_of_sampling(loops, shape, seed):
    """⟨sample(f), g⟩ = ⟨f, pull(g)⟩: sampling is linear in the values."""
    index, values, g = places(shape, 50, seed=seed), array(2, *shape, seed=seed), array(2, 50, seed=seed + 1)
    in_values, in_index = loops.sample_pull(values, index, g, (True, False))
    assert in_index is None
    assert float((in_values * values).sum()) == pytest.approx(float((loops.sample(values, index) * g).sum()), abs=1e-12)


@loops
@shapes
def test_the_slope_in_the_positions_by_finite_differences(loops, shape):
    index, values, g, v = places(shape, 50), array(2, *shape), array(2, 50, seed=1), array(len(shape), 50, seed=2)
    index = torch.where((index - index.round()).abs() < 1e-4, index + 1e-3, index)  # away from the kinks
    in_values, in_index = loops.sample_pull(values, index, g, (False, True))
    assert in_values is None
    expected = slope(lambda s: (loops.sample(values, index + s * v) * g).sum(), 1e-5)
    assert float((in_index * v).sum()) == pytest.approx(expected, rel=1e-8)


@loops
@shapes
def test_the_slopes_of_warps_by_finite_differences(loops, shape):
    d, other = len(shape), tuple(n + 1 for n in shape)
    values, u, (m, t) = array(2, *shape), array(d, *other, seed=1), placing(d)
    g, f, v = array(2, *other, seed=2), array(2, *shape, seed=3), array(d, *other, seed=4)
    in_values, in_u = loops.warp_pull(values, m, t, u, g, (True, True))
    assert float((in_values * f).sum()) == pytest.approx(float((loops.warp(f, m, t, u) * g).sum()), abs=1e-12)
    expected = slope(lambda s: (loops.warp(values, m, t, u + s * v) * g).sum(), 1e-6)
    assert float((in_u * v).sum()) == pytest.approx(expected, rel=1e-7)


# ---- filters and differences


@loops
@shapes
@pytest.mark.parametrize("radii", [(1, 2, 3), (2, 0, 1), (4, 1, 5)], ids=str)
def test_the_convolution_of_a_delta_is_the_taps(loops, shape, radii):
    """Cut off where the grid ends; the product of those along the axes."""
    taps = [torch.exp(-0.3 * torch.arange(-r, r + 1, dtype=F64) ** 2) for r in radii[: len(shape)]]
    for center in itertools.product(*({0, n // 2, n - 1} for n in shape)):
        delta = torch.zeros(1, *shape, dtype=F64)
        delta[(0, *center)] = 1
        expected = torch.ones(1, dtype=F64)
        for n, k, t in zip(shape, center, taps, strict=True):
            away = torch.arange(n) - k + len(t) // 2
            line = torch.where((away >= 0) & (away < len(t)), t[away.clamp(0, len(t) - 1)], 0)
            expected = expected[..., None] * line
        assert distance(loops.convolve(delta, taps), expected) < 1e-14


@loops
@shapes
def test_convolution_is_its_own_adjoint(loops, shape):
    f, g = array(2, *shape), array(2, *shape, seed=1)
    taps = [torch.tensor([0.2, -0.1, 1.0, -0.1, 0.2], dtype=F64)] * len(shape)
    a, b = (loops.convolve(f, taps) * g).sum(), (f * loops.convolve(g, taps)).sum()
    assert float(a) == pytest.approx(float(b), rel=1e-12)


@loops
@pytest.mark.parametrize("shape", [(5,), (2,), (5, 6), (4, 1), (2, 4, 3)], ids=str)
def test_slopes_of_linear_functions_are_exact_up_to_the_border(loops, shape):
    d = len(shape)
    a, weights = cloud(3, d), array(3, *shape)
    values = torch.einsum("ca,a...->c...", a, every_index(shape)) + 2
    expected = torch.einsum("c...,ca->a...", weights, a)
    for axis, n in enumerate(shape):
        if n == 1:
            expected[axis] = 0
    assert distance(loops.slopes(values, weights), expected) < 1e-13


@loops
def test_slopes_are_central_inside(loops):
    values = every_index((7, 6))[:1] ** 2
    found = loops.slopes(values, torch.ones_like(values))
    assert distance(found[0, 1:-1], 2 * values[0, 1:-1].sqrt()) < 1e-13
    assert torch.equal(found[1], torch.zeros(7, 6, dtype=F64))


# ---- corner determinants


@loops
@shapes
@given(seed=seeds)
def test_corner_determinants_of_linear_maps(loops, shape, seed):
    """All are the determinant of the map: also where it is negative."""
    matrix = cloud(len(shape), len(shape), seed=seed, size=0.8)
    u = torch.einsum("ab,b...->a...", matrix, every_index(shape))
    expected = torch.linalg.det(torch.eye(len(shape), dtype=F64) + matrix)
    for largest in (False, True):
        assert distance(loops.corner_determinants(u, largest), expected.expand(shape)) < 1e-12


@loops
def test_every_corner_is_looked_at(loops):
    """A point pushed across one of its cells: only the corner in this cell folds."""
    for sign in itertools.product((-1.0, 1.0), repeat=2):
        u = torch.zeros(2, 7, 7, dtype=F64)
        u[:, 3, 3] = 0.7 * torch.tensor(sign)
        found = loops.corner_determinants(u)
        assert (found < 0).nonzero().tolist() == [[3, 3]]
        assert float(found[3, 3]) == pytest.approx(0.3**2 - 0.7**2)
        assert float(found[3 + int(sign[0]), 3]) == pytest.approx(0.3)
        largest = loops.corner_determinants(u, largest=True)
        assert float(largest[3, 3]) == pytest.approx(1.7**2 - 0.7**2)


@loops
@pytest.mark.parametrize("d", [1, 2, 3])
def test_without_displacement_they_are_1(loops, d):
    assert torch.equal(loops.corner_determinants(torch.zeros(d, *[4] * d)), torch.ones([4] * d))


# ---- correlation


@loops
@pytest.mark.parametrize("shape", [(20,), (9, 8), (5, 6, 7), (1, 9)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_correlation_by_finite_differences(loops, shape, masked):
    """While the floors stand still: what they add is along the contrast of the image, and nothing else is there."""
    a, b, v = array(*shape), array(*shape, seed=1) + 0.3 * array(*shape), array(*shape, seed=2)
    mask = array(*shape, seed=3).clamp(0, 1) if masked else None
    found = across(loops.correlation(a, b, mask, 2).gradient[None], a[None])[0]
    expected = slope(lambda s: loops.correlation(a + s * v, b, mask, 2).value, 1e-4)
    assert float((found * v).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-10)


@loops
def test_an_image_correlates_with_itself_and_its_negative(loops):
    a = array(8, 9)
    for b in (a, 3 - 2 * a):
        found = loops.correlation(a, b, None, 2)
        assert float(found.value) == pytest.approx(1, abs=1e-3)  # but for the floors
        assert float(found.value) < 1
    assert float(loops.correlation(a, array(8, 9, seed=1), None, 3).value) < 0.2


@loops
def test_weights_say_which_windows_count(loops):
    """Those of one point: the correlation of its window, and a gradient there alone."""
    a, b, mask = array(9, 8), array(9, 8, seed=1), torch.zeros(9, 8, dtype=F64)
    mask[0, 4] = 0.37
    found = loops.correlation(a, b, mask, 1)
    x, y = (f[:2, 3:6] - f[:2, 3:6].mean() for f in (a, b))
    assert float(found.value) == pytest.approx(float((x * y).sum() ** 2 / (x * x).sum() / (y * y).sum()), rel=1e-4)
    reached = torch.zeros(9, 8, dtype=torch.bool)
    reached[:2, 3:6] = True
    assert torch.equal(found.gradient != 0, reached)
    assert relative(loops.correlation(a, b, 2 * mask, 1).gradient, found.gradient) < 1e-14
