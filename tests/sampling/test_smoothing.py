"""Smoothing keeps what is linear, shrinking keeps means and drops what a coarser grid cannot hold."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffeo.grid import Grid
from diffeo.sampling import gaussian_smooth, gaussian_taps, shrink
from tests.backends.grids import array
from tests.oracles import cloud, distance, seeds

F64 = torch.float64
SHAPES = [(13,), (7, 8), (5, 6, 4), (6, 1)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
sigmas = st.one_of(st.just(0.0), st.floats(1e-3, 6.0))


def placed(*shape):
    """An oblique, anisotropic grid."""
    d = len(shape)
    affine = torch.eye(d + 1, dtype=F64)
    affine[:d] = cloud(d, d + 1)
    return Grid(shape, affine)


# ---- Gaussians


@given(sigma=sigmas)
def test_taps_are_even_and_add_to_1(sigma):
    taps = gaussian_taps(sigma)
    assert len(taps) % 2 == 1
    assert torch.equal(taps, taps.flip(0))
    assert float(taps.sum()) == pytest.approx(1, rel=1e-14)
    assert bool((taps.diff()[: len(taps) // 2] >= 0).all())


@pytest.mark.parametrize("sigma", [0.8, 1.0, 2.0, 5.0])
def test_taps_have_the_width_they_say(sigma):
    """Up to what is cut off at three standard deviations."""
    taps = gaussian_taps(sigma)
    x = torch.arange(len(taps), dtype=F64) - len(taps) // 2
    assert math.sqrt(float((taps * x.square()).sum())) == pytest.approx(sigma, rel=0.02)


def test_no_width_is_no_smoothing():
    values = array(2, 5, 6)
    assert torch.equal(gaussian_taps(0.0), torch.ones(1, dtype=F64))
    assert torch.equal(gaussian_smooth(values, [0.0, 0.0]), values)


@shapes
def test_smoothing_has_derivatives_and_is_self_adjoint(shape):
    f, g, widths = array(2, *shape).requires_grad_(), array(2, *shape, seed=1), [0.6, 1.1, 0.0][: len(shape)]
    assert torch.autograd.gradcheck(lambda x: gaussian_smooth(x, widths), f, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: gaussian_smooth(x, widths).square(), f, fast_mode=True)
    a, b = (gaussian_smooth(f, widths) * g).sum(), (f * gaussian_smooth(g, widths)).sum()
    assert float(a.detach()) == pytest.approx(float(b.detach()), rel=1e-12)


@given(seed=seeds)
def test_linear_functions_are_kept_inside(seed):
    slope, widths = cloud(1, 2, seed=seed)[0], [1.0, 0.7]
    values = torch.einsum("a,a...->...", slope, Grid((15, 14), torch.eye(3)).indices(slope))[None] + 1
    smooth = gaussian_smooth(values, widths)
    assert distance(smooth[:, 3:-3, 3:-3], values[:, 3:-3, 3:-3]) < 1e-12


def test_smoothing_in_two_steps_is_smoothing_by_the_sum_of_squares():
    values = torch.zeros(1, 61, dtype=F64)
    values[0, 30] = 1
    twice = gaussian_smooth(gaussian_smooth(values, [3.0]), [4.0])
    assert distance(twice, gaussian_smooth(values, [5.0])) < 0.02 * float(twice.max())


# ---- shrinking


@pytest.mark.parametrize(
    ("shape", "factors"),
    [((12,), (3,)), ((8, 10), (2, 5)), ((9, 7), (4, 2)), ((6, 4, 10), (3, 1, 4)), ((7, 1), (2, 3)), ((3, 9), (5, 2))],
    ids=str,
)
def test_linear_functions_are_sampled_at_the_centers_of_blocks(shape, factors):
    """Far enough from the border, where what is outside counts: what is shrunk lies on the shrunk grid."""
    grid = placed(*(n + 40 for n in shape))
    slope = cloud(1, grid.dim, seed=3)[0]
    values = (grid.points(slope) @ slope).reshape(1, *grid.shape)
    coarse = grid.shrunk(factors)
    found = shrink(values, factors)
    assert found.shape[1:] == coarse.shape
    expected = (coarse.points(slope) @ slope).reshape(1, *coarse.shape)
    inner = (slice(None), *(slice(math.ceil(3 / k) + 1, -math.ceil(3 / k) - 1) for k in factors))
    assert distance(found[inner], expected[inner]) < 1e-11


@pytest.mark.parametrize(("shape", "factors"), [((3,), (5,)), ((2, 9), (4, 2)), ((1, 6), (2, 3))], ids=str)
def test_an_axis_shorter_than_a_block_is_one_block(shape, factors):
    grid, clipped = placed(*shape), tuple(map(min, shape, factors))
    coarse, values = grid.shrunk(factors), array(1, *shape)
    assert coarse.same(grid.shrunk(clipped))
    assert coarse.shape[0] == 1
    middle = torch.tensor([[(shape[0] - 1) / 2, *[(k - 1) / 2 for k in clipped[1:]]]], dtype=F64)
    assert distance(coarse.origin[None], grid.to_space(middle)) < 1e-14
    assert torch.equal(shrink(values, factors), shrink(values, clipped))


@given(seed=seeds, data=st.data())
def test_shrinking_keeps_the_mean(seed, data):
    """Of what is in whole blocks and at a distance from the border."""
    d = data.draw(st.integers(1, 3))
    factors = data.draw(st.lists(st.integers(1, 4), min_size=d, max_size=d))
    values = torch.zeros(2, *(8 * k for k in factors), dtype=F64)
    inner = (slice(None), *(slice(3 * k, 5 * k) for k in factors))
    values[inner] = array(2, *(2 * k for k in factors), seed=seed)
    assert distance(shrink(values, factors).flatten(1).mean(1), values.flatten(1).mean(1)) < 1e-14
    lifted = shrink(values + 7, factors, background=7.0)
    assert distance(lifted, shrink(values, factors) + 7) < 1e-13


def test_what_is_constant_stays_constant():
    assert distance(shrink(torch.full((1, 9, 8), 3.0), (2, 4), background=3.0), torch.full((1, 4, 2), 3.0)) == 0


def test_nothing_is_shrunk_by_1():
    values = array(1, 5, 6)
    assert shrink(values, (1, 1)) is values
    assert torch.equal(shrink(values, (1, 2)), shrink(values.mT, (2, 1)).mT)


def response(k, frequency, phase):
    """How much of a wave of so many cycles per step is left in the middle after shrinking by k."""
    x = torch.arange(40.0 * k, dtype=F64)
    wave = torch.cos(2 * torch.pi * frequency * x + phase)
    return float(shrink(wave[None], [k])[0, 10:-10].abs().max())


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("phase", [0.0, 0.7, 1.5])
def test_what_a_coarse_grid_cannot_hold_is_dropped(k, phase):
    """Waves that would become a constant are gone, those that would become others are faint, wide ones stay."""
    assert response(k, 1 / k, phase) < 1e-12
    for part in (0.75, 0.9, 1.1, 1.5):  # of the frequency of the coarse samples; beyond a half, waves are aliased
        if part / k <= 0.5:
            assert response(k, part / k, phase) < 0.25
    assert response(k, 0.05 / k, 0.0) > 0.9


@shapes
def test_shrinking_has_derivatives(shape):
    factors = [2, 3, 1][: len(shape)]
    assert torch.autograd.gradcheck(
        lambda x: shrink(x, factors, 0.5), array(2, *shape).requires_grad_(), fast_mode=True
    )
