"""The fused loops over grids do what the torch loops do: in every dimension, layout and precision, everywhere."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffeo.backends.cpu.grids import CPUGrids
from diffeo.backends.dense.grids import DenseGrids
from diffeo.backends.grids import loops_for
from tests.backends.grids import array, every_index, places, placing
from tests.oracles import cloud, distance, relative, seeds

F32, F64 = torch.float32, torch.float64
CPU, DENSE = CPUGrids(), DenseGrids()
SHAPES = [(12,), (1,), (7, 5), (1, 6), (6, 1), (2, 3), (5, 4, 6), (1, 4, 5), (4, 1, 5), (4, 5, 1), (2, 2, 2), (1, 1, 1)]
EXACT = {F64: 1e-12, F32: 2e-5}
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
dtypes = pytest.mark.parametrize("dtype", [F64, F32], ids=["float64", "float32"])


def calls(shape, dtype, seed=0):
    """Every loop by name, with arguments that it takes."""
    d = len(shape)
    values, index, u = array(3, *shape, dtype=dtype, seed=seed), places(shape, 40, dtype, seed), array(d, *shape)
    other = tuple(n + 1 for n in shape)
    w, add = array(d, *other, dtype=dtype, seed=seed + 1, size=0.8), array(3, *other, dtype=dtype, seed=seed + 2)
    g, h = array(3, 40, dtype=dtype, seed=seed + 3), array(3, *other, dtype=dtype, seed=seed + 4)
    m, t = placing(d, seed)
    a, b, mask = (
        array(*shape, dtype=dtype),
        0.3 + array(*shape, dtype=dtype, seed=5),
        array(*shape, dtype=dtype, seed=6),
    )
    taps = [torch.tensor([0.1, 0.3, 1.0, 0.3, 0.1][abs(2 - k) :][: 2 * min(k, 2) + 1], dtype=F64) for k in range(d)]
    gentle = (0.1 * u).to(dtype)
    return {
        "sample": (values, index),
        "sample_pull": (values, index, g, (True, True)),
        "sample_pull (values)": (values, index, g, (True, False)),
        "sample_pull (index)": (values, index, g, (False, True)),
        "warp": (values, m, t, w),
        "warp and add": (values, m, t, w, add),
        "warp_pull": (values, m, t, w, h, (True, True)),
        "warp_pull (u)": (values, m, t, w, h, (False, True)),
        "invert": (gentle, index),
        "convolve": (values, taps),
        "correlation": (a, 0.3 + b, None, 1),
        "correlation (weights)": (a, b, mask.clamp(0, 1) + (mask < -0.4), 2),
        "slopes": (values, array(3, *shape, dtype=dtype, seed=7)),
        "corner_determinants": (u.to(dtype),),
        "repaired": (gentle, -10.0),
    }


NAMES = list(calls((2,), F64))
names = pytest.mark.parametrize("name", NAMES)


def run(loops, name, arguments):
    """What a loop returns, as a list of tensors."""
    result = getattr(loops, name.split(" ")[0])(*arguments)
    return list(result) if isinstance(result, tuple) else [result]


def agree(found, expected, tolerance):
    """Whether two results are the same up to rounding, with the same gaps."""
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:
            assert a is b
            continue
        assert a.dtype == b.dtype
        assert torch.equal(a.isnan(), b.isnan())
        a, b = a.detach().nan_to_num(), b.detach().nan_to_num()
        assert distance(a, b) <= tolerance * max(1.0, float(b.abs().max()) if b.numel() else 0.0)


@dtypes
@shapes
def test_the_fused_loops_agree_with_the_reference(shape, dtype):
    for name, arguments in calls(shape, dtype).items():
        agree(run(CPU, name, arguments), run(DENSE, name, arguments), EXACT[dtype])


@names
@pytest.mark.parametrize("shape", [(9,), (6, 5), (3, 5, 4)], ids=str)
def test_layout_does_not_matter_and_inputs_are_not_changed(shape, name):
    def scattered(x):
        return torch.stack([x, x + 1], x.ndim)[..., 0].mT.mT if isinstance(x, torch.Tensor) and x.ndim > 1 else x

    arguments = calls(shape, F64)[name]
    kept = [x.clone() if isinstance(x, torch.Tensor) else x for x in arguments]
    for loops in (CPU, DENSE):
        found = run(loops, name, arguments)
        assert all(torch.equal(a, b) for a, b in zip(arguments, kept, strict=True) if isinstance(a, torch.Tensor))
        agree(run(loops, name, [scattered(x) for x in arguments]), found, 1e-14)


@names
@pytest.mark.parametrize("shape", [(5,), (4, 5)], ids=str)
def test_what_records_gradients_is_read_without_one(shape, name):
    arguments = calls(shape, F64)[name]
    recorded = [x.clone().requires_grad_() if isinstance(x, torch.Tensor) else x for x in arguments]
    agree(run(CPU, name, recorded), run(CPU, name, arguments), 1e-15)
    assert not any(x is not None and x.requires_grad for x in run(CPU, name, recorded))


@names
def test_threads_share_the_work(name):
    """To the last bit, but for the means that torch subtracts from images to be correlated."""
    arguments = list(calls((48, 20, 40), F64)[name])
    if name == "invert" or name.startswith("sample"):
        arguments[1] = places((48, 20, 40), 40_000)
        arguments[2:3] = [array(3, 40_000)] if len(arguments) > 2 else []
    alone = run(CPU, name, arguments)
    torch.set_num_threads(2)
    try:
        together, again = run(CPU, name, arguments), run(CPU, name, arguments)
    finally:
        torch.set_num_threads(1)
    agree(together, again, 0.0)
    agree(together, alone, 1e-14 if "correlation" in name else 0.0)


# ---- positions


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("dtype", [F64, F32], ids=["float64", "float32"])
@pytest.mark.parametrize("far", [torch.nan, torch.inf, -torch.inf, 1e30, -1e30, 1e9, -1e9, -1.0, 7.0], ids=str)
def test_beyond_the_grid_everything_is_0(d, dtype, far):
    """Values, and both gradients; other positions are not disturbed."""
    shape, eye, zero = (7,) * d, torch.eye(d, dtype=F64), torch.zeros(d, dtype=F64)
    values, ones = 1 + array(2, *shape, dtype=dtype).abs(), torch.ones(2, d + 1, dtype=dtype)
    index = torch.full((d, d + 1), 2.25, dtype=dtype)
    index[range(d), range(d)] = far
    u = torch.zeros(d, *shape, dtype=dtype)
    u[(slice(None), *[3] * d)] = far
    for loops in (CPU, DENSE):
        sampled, (in_values, in_index) = (
            loops.sample(values, index),
            loops.sample_pull(values, index, ones, (True, True)),
        )
        assert not sampled[:, :d].any()
        assert not in_index[:, :d].any() or far == -1.0  # there the slope is that of the cell ahead
        expected = loops.sample_pull(values, index[:, d:], ones[:, d:], (True, True))
        agree([sampled[:, d:], in_values, in_index[:, d:]], [loops.sample(values, index[:, d:]), *expected], 1e-14)
        warped = loops.warp(values, eye, zero, u)
        assert not warped[(slice(None), *[3] * d)].any() or far == -1.0
        values_at = torch.ones_like(values)
        values_at[(slice(None), *[3] * d)] = 0
        agree([warped * values_at], [values * values_at], 1e-14)


@dtypes
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (1, 3, 2)], ids=str)
def test_at_whole_indices_the_values_come_back_exactly(shape, dtype):
    values = array(2, *shape, dtype=dtype)
    index = every_index(shape).to(dtype)
    for loops in (CPU, DENSE):
        assert torch.equal(loops.sample(values, index), values)
        still = loops.warp(values, torch.eye(len(shape)), torch.zeros(len(shape)), torch.zeros_like(index))
        assert torch.equal(still, values)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)], ids=str)
def test_on_the_border_values_and_slopes_are_those_of_the_cell_ahead(shape):
    """Whole indices from −1 to n along every axis: the fused loops and the reference take the same side."""
    values = array(2, *shape)
    index = every_index(tuple(n + 2 for n in shape)) - 1
    g = torch.ones(2, *index.shape[1:], dtype=F64)
    agree([CPU.sample(values, index)], [DENSE.sample(values, index)], 1e-14)
    pulls = [loops.sample_pull(values, index.flatten(1), g.flatten(1), (True, True)) for loops in (CPU, DENSE)]
    agree(*pulls, 1e-13)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_no_positions_are_a_case(d):
    values, none, u = array(2, *[4] * d), torch.zeros(d, 0, dtype=F64), 0.1 * array(d, *[4] * d)
    for loops in (CPU, DENSE):
        assert loops.sample(values, none).shape == (2, 0)
        assert loops.invert(u, none).shape == (d, 0)
        in_values, in_index = loops.sample_pull(values, none, torch.zeros(2, 0, dtype=F64), (True, True))
        assert torch.equal(in_values, torch.zeros_like(values))
        assert in_index.shape == (d, 0)


@given(seed=seeds, d=st.integers(1, 3), data=st.data())
def test_any_grid_and_any_positions(seed, d, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=d, max_size=d)))
    for name, arguments in calls(shape, F64, seed % 1000).items():
        agree(run(CPU, name, arguments), run(DENSE, name, arguments), 1e-11)


# ---- filters


@pytest.mark.parametrize("shape", [(7,), (1, 6), (5, 4), (4, 1, 3), (3, 4, 5)], ids=str)
def test_taps_of_any_length(shape):
    """Longer than the grid, too; the reference, and a sum by hand."""
    values = array(2, *shape)
    for radii in itertools.islice(itertools.product((0, 1, 2, 3, 4, 7, 11), repeat=len(shape)), 0, None, 5):
        halves = [cloud(r + 1, 1, seed=r)[:, 0] for r in radii]
        taps = [torch.cat([h.flip(0), h[1:]]) for h in halves]
        found = CPU.convolve(values, taps)
        assert relative(found, DENSE.convolve(values, taps)) < 1e-13
        by_hand = values
        for axis, (n, h) in enumerate(zip(shape, halves, strict=True), start=1):
            away = (torch.arange(n)[:, None] - torch.arange(n)).abs()
            matrix = torch.where(away < len(h), h[away.clamp(max=len(h) - 1)], 0)
            by_hand = torch.tensordot(by_hand, matrix, ([axis], [0])).movedim(-1, axis)
        assert relative(found, by_hand) < 1e-13


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("shape", [(3,), (12,), (4, 7), (1, 8), (3, 5, 4), (6, 1, 2)], ids=str)
def test_windows_may_be_larger_than_the_image(shape, radius):
    a, b = array(*shape), 0.5 + array(*shape, seed=1)
    mask = (array(*shape, seed=2) > 0).to(F64)
    mask.view(-1)[0] = 0.5
    for weights in (None, mask):
        agree(CPU.correlation(a, b, weights, radius), DENSE.correlation(a, b, weights, radius), 1e-11)


@dtypes
def test_brightness_far_from_0_costs_no_digits(dtype):
    a, b = 1000 + array(12, 10, dtype=dtype), 1000 + array(12, 10, dtype=dtype, seed=1)
    exact = DENSE.correlation(a.double() - 1000, b.double() - 1000, None, 2)
    for loops in (CPU, DENSE):
        found = loops.correlation(a, b, None, 2)
        assert relative(found.value, exact.value) < 10 * EXACT[dtype]
        assert relative(found.gradient, exact.gradient) < 10 * EXACT[dtype]


@dtypes
def test_constant_images_correlate_with_nothing(dtype):
    flat, other = torch.full((6, 5), 3.0, dtype=dtype), array(6, 5, dtype=dtype)
    for a, b in ((flat, other), (other, flat), (flat, flat), (torch.zeros_like(flat), other)):
        for loops in (CPU, DENSE):
            value, gradient = loops.correlation(a, b, None, 1)
            assert value == 0
            assert bool(gradient.isfinite().all())


def test_loops_for_what_they_cover():
    assert isinstance(loops_for(torch.zeros(2)), CPUGrids)
    assert isinstance(loops_for(torch.zeros(2, dtype=F64)), CPUGrids)
    assert isinstance(loops_for(torch.zeros(2, dtype=torch.bfloat16)), DenseGrids)
    assert isinstance(loops_for(torch.zeros(2, device="meta")), DenseGrids)
