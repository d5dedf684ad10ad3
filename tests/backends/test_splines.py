"""Quadratic splines on grids: what they reproduce, their transposes and derivatives; fused loops agree with torch."""

import itertools

import pytest
import torch
from hypothesis import given

from diffeo.backends.cpu.splines import CPUSplines
from diffeo.backends.dense.splines import DenseSplines
from diffeo.backends.splines import spline_loops_for
from diffeo.sampling.splines import bumps, read, read_with_jacobian, read_with_slope, spread, symbol
from tests.oracles import cloud, distance, like, relative, seeds

F64 = torch.float64
DENSE, FUSED = DenseSplines(), CPUSplines()
SHAPES = [(9,), (6, 7), (5, 6, 7), (1, 6, 5), (6, 1)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
ways = pytest.mark.parametrize("loops", [DENSE, FUSED], ids=["torch", "fused"])


def positions(shape, n=30, seed=0, dtype=F64):
    """Indices in a grid, and some around it."""
    spread_out = torch.tensor(shape, dtype=F64)[:, None] + 4
    return (torch.rand(len(shape), n, dtype=F64, generator=torch.Generator().manual_seed(seed)) * spread_out - 2.5).to(
        dtype
    )


def inputs(shape, components, dtype=F64, seed=0):
    """Coefficients, positions, weights, and two cotangents."""
    x = positions(shape, seed=seed).to(dtype)
    c = cloud(components, int(torch.tensor(shape).prod()), dtype, seed=seed).reshape(components, *shape)
    w, a = (cloud(components, x.shape[1], dtype, seed=seed + k) for k in (1, 2))
    return c, x, w, a, cloud(len(shape), x.shape[1], dtype, seed=seed + 3)


def bump(t):
    """The quadratic B-spline, from its definition: three boxes convolved."""
    pieces = ((1, t + 1.5), (-3, t + 0.5), (3, t - 0.5), (-1, t - 1.5))
    return sum(sign * x.clamp(min=0).square() for sign, x in pieces) / 2


@ways
@pytest.mark.parametrize("shape", [(9,), (6, 7), (5, 6, 7)], ids=str)
def test_a_spline_is_the_sum_of_its_bumps(loops, shape):
    c, x, *_ = inputs(shape, 2)
    expected = torch.zeros(2, x.shape[1], dtype=F64)
    for point in itertools.product(*map(range, shape)):
        weight = torch.stack([bump(x[k] - i) for k, i in enumerate(point)]).prod(0)
        expected += c[(slice(None), *point)][:, None] * weight
    assert distance(loops.read(c, x), expected) < 1e-13


@ways
def test_quadratic_polynomials_are_splines(loops):
    """With coefficients p − p''/8 the values are p: between points too, and so are the slopes."""
    i = torch.arange(12, dtype=F64)
    x = 2 + 7 * torch.rand(1, 20, dtype=F64)
    value, slope = loops.read_with_slope((0.5 * i**2 - 3 * i + 1 - 0.125)[None], x, torch.ones(1, 20, dtype=F64))
    assert distance(value, 0.5 * x**2 - 3 * x + 1) < 1e-12
    assert distance(slope, x - 3) < 1e-12


@ways
@shapes
def test_spreading_is_the_transpose_of_reading(loops, shape):
    c, x, w, *_ = inputs(shape, 3)
    assert float((loops.spread(w, x, shape) * c).sum()) == pytest.approx(float((w * loops.read(c, x)).sum()), rel=1e-12)


@ways
def test_far_outside_there_is_nothing(loops):
    c = torch.ones(3, 5, 6, 7, dtype=F64)
    far = torch.tensor([1e9, -1e9, torch.inf, -torch.inf, torch.nan], dtype=F64)
    x = torch.stack([far, torch.full_like(far, 2.0), torch.full_like(far, 2.0)])
    value, slope = loops.read_with_slope(c, x, torch.ones_like(x))
    assert not value.any()
    assert not slope.any()
    assert not loops.spread(torch.ones_like(x), x, (5, 6, 7)).any()


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
@pytest.mark.parametrize("components", [1, 2, 3, 4])
@shapes
@given(seed=seeds)
@pytest.mark.slow
def test_fused_loops_agree_with_torch(dtype, components, shape, seed):
    c, x, w, a, b = inputs(shape, components, dtype, seed % 1000)
    precise = [t.double() for t in (c, x, w, a, b)]
    c64, x64, w64, *_ = precise
    pairs = [
        (FUSED.spread(w, x, shape), DENSE.spread(w64, x64, shape)),
        (FUSED.read(c, x), DENSE.read(c64, x64)),
        *zip(FUSED.read_with_slope(c, x, w), DENSE.read_with_slope(c64, x64, w64), strict=True),
        *zip(FUSED.read_with_jacobian(c, x), DENSE.read_with_jacobian(c64, x64), strict=True),
        *zip(FUSED.pull(c, x, w, a, b), DENSE.pull(*precise), strict=True),
    ]
    for found, expected in pairs:
        assert found.dtype == dtype
        assert distance(found, expected) < (1e-4 if dtype == torch.float32 else 1e-12) * (1 + expected.abs().max())


def test_what_runs_where():
    assert isinstance(spline_loops_for(torch.zeros(1)), CPUSplines)
    assert isinstance(spline_loops_for(torch.zeros(1, dtype=torch.float16)), DenseSplines)


def test_a_grid_of_too_many_points_is_refused():
    with pytest.raises(ValueError, match="too large"):
        FUSED.spread(torch.ones(1, 1), torch.zeros(3, 1), (2000, 2000, 2000))


@pytest.mark.parametrize("shape", [(4, 5), pytest.param((3, 4, 3), marks=pytest.mark.slow)], ids=str)
def test_derivatives_to_second_order(shape):
    c, x, w, *_ = (t.requires_grad_() for t in inputs(shape, len(shape)))
    x = x.detach()[:, :4].requires_grad_()
    w = w.detach()[:, :4].requires_grad_()
    for function, arguments in (
        (lambda w, x: spread(w, x, shape), (w, x)),
        (read, (c, x)),
        (read_with_slope, (c, x, w)),
    ):
        assert torch.autograd.gradcheck(function, arguments)
        assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.parametrize("recorded", [False, True])
def test_the_jacobian_is_that_of_the_values(recorded):
    c, x, *_ = inputs((6, 7), 3)
    values, jacobian = read_with_jacobian(c.requires_grad_(recorded), x)
    assert jacobian.requires_grad == recorded
    assert distance(values, read(c, x)) < 1e-14
    step = 1e-6
    for k in range(2):
        move = torch.zeros_like(x)
        move[k] = step
        assert distance(jacobian[:, k], (read(c, x + move) - read(c, x - move)) / (2 * step)) < 1e-7


@pytest.mark.parametrize("shape", [(8,), (7, 8), (5, 6, 7), (1, 6, 5)], ids=str)
def test_divided_by_its_symbol_a_spline_goes_through_the_values(shape):
    values = torch.zeros(1, *shape, dtype=F64)
    inner = tuple(slice(2, -2) if n > 4 else slice(None) for n in shape)
    values[(slice(None), *inner)] = like(values[(slice(None), *inner)])
    axes = tuple(range(1, 1 + len(shape)))
    c = torch.fft.irfftn(torch.fft.rfftn(values, dim=axes) / symbol(shape), s=shape, dim=axes)
    # periodic: so that the bumps beyond the border are there, the coefficients are repeated
    for axis, n in enumerate(shape, start=1):
        if n > 1:
            c = torch.cat([c.narrow(axis, n - 1, 1), c, c.narrow(axis, 0, 1)], axis)
    index = torch.meshgrid(*(torch.arange(n, dtype=F64) + (n > 1) for n in shape), indexing="ij")
    assert distance(read(c, torch.stack(index).flatten(1)), values.flatten(1)) < 1e-13


def test_along_an_axis_a_spline_is_a_matrix():
    c, x = cloud(1, 9), positions((9,))
    assert distance(bumps(x[0], 9) @ c[0], read(c, x)[0]) < 1e-14
    assert relative(bumps(x[0], 1), torch.ones(30, 1)) == 0
