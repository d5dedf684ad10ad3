"""Displacements are inverted to rounding or not at all, and smoothed where they fold and nowhere else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeo.backends.cpu.grids import CPUGrids
from diffeo.backends.dense.grids import DenseGrids
from diffeo.sampling import gaussian_taps
from tests.backends.grids import array, every_index, places
from tests.oracles import distance, seeds

F32, F64 = torch.float32, torch.float64
SHAPES = [(24,), (14, 11), (9, 8, 10), (1, 12, 9)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
dtypes = pytest.mark.parametrize("dtype", [F64, F32], ids=["float64", "float32"])
loops = pytest.mark.parametrize("loops", [CPUGrids(), DenseGrids()], ids=["fused", "torch"])
few = settings(max_examples=2)
CPU = CPUGrids()
LEAST = 0.05


def smooth(shape, seed=0, dtype=F64, least=None, size=None):
    """A smooth displacement, 0 on the border, whose smallest corner determinant is ``least``, or of a largest size."""
    u = CPU.convolve(array(len(shape), *shape, seed=seed), [gaussian_taps(1.5 if n > 1 else 0.0) for n in shape])
    for axis, n in enumerate(shape, start=1):
        if n > 1:
            u.select(axis, 0).zero_()
            u.select(axis, -1).zero_()
        else:
            u[axis - 1] = 0
    u = u / u.abs().max()
    if size is not None:
        return (size * u).to(dtype)
    low, high = 0.0, 20.0  # by bisection: the smallest determinant falls as the displacement grows
    for _ in range(30):
        middle = (low + high) / 2
        good = float(CPU.corner_determinants(middle * u).min()) > least
        low, high = (middle, high) if good else (low, middle)
    return (low * u).to(dtype)


def applied(u, y):
    """y + u(y)."""
    return y + CPU.sample(u, y)


def determinants(u, y):
    """Those of y + u(y), one per y."""
    unit = torch.eye(len(u), dtype=y.dtype)
    rows = [CPU.sample_pull(u, y, e[:, None].expand_as(y), (False, True))[1] for e in unit]
    return torch.linalg.det(torch.stack(rows).permute(2, 0, 1) + unit)


# ---- inversion


@loops
@dtypes
@shapes
@few
@given(seed=seeds)
def test_what_does_not_fold_is_inverted_everywhere(loops, shape, dtype, seed):
    """i + u(i) is brought back to i, and y + u(y) = i for the y that is found; beyond the grid nothing moves."""
    u = smooth(shape, seed, dtype, least=0.2)
    rounding = 1e3 * torch.finfo(dtype).eps
    index = every_index(shape).to(dtype).flatten(1)
    back = loops.invert(u, applied(u, index))
    assert distance(back, index) < 10 * rounding * max(shape)
    y = loops.invert(u, index)
    assert distance(applied(u, y), index) < rounding * max(shape)
    outside = index + torch.tensor(shape, dtype=dtype)[:, None] + 1
    assert torch.equal(loops.invert(u, outside), outside)


@pytest.mark.parametrize("loops", [CPU, pytest.param(DenseGrids(), marks=pytest.mark.slow)], ids=["fused", "torch"])
@dtypes
@shapes
@pytest.mark.parametrize("size", [3.0, 6.0])
@few
@given(seed=seeds)
def test_a_wrong_answer_is_never_given(loops, shape, dtype, size, seed):
    """Where the displacement folds, what is found is right and turned the right way round, or is NaN."""
    u, index = smooth(shape, seed, dtype, size=size), places(shape, 100, dtype, seed)
    if len(shape) > 1:
        assert CPU.corner_determinants(u).min() < 0
    y = loops.invert(u, index)
    found = ~y.isnan().any(0)
    assert torch.equal(y.isnan().all(0), ~found)
    assert distance(applied(u, y[:, found]), index[:, found]) < 1e3 * torch.finfo(dtype).eps * max(shape)
    assert float(determinants(u, y[:, found]).min()) > 0
    assert float(found.to(F64).mean()) > (0.9 if isinstance(loops, CPUGrids) else 0.5)


@loops
@dtypes
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e6, -1e20], ids=str)
def test_every_point_is_inverted_alone(loops, dtype, bad):
    """To the last bit: others that are lost or far away change nothing."""
    u, index = smooth((14, 11), dtype=dtype, least=0.1), places((14, 11), 20, dtype)
    alone = loops.invert(u, index)
    more = index.clone()
    more[0, 3] = bad
    found = loops.invert(u, more)
    keep = torch.arange(20) != 3
    assert torch.equal(found[:, keep], alone[:, keep])
    assert torch.equal(found[:, 3], more[:, 3]) if abs(bad) < 1e30 else bool(found[:, 3].isnan().all())


@loops
def test_a_displacement_that_is_not_a_number_inverts_nothing_there(loops):
    u = smooth((14, 11), least=0.3)
    u[:, 6, 5] = torch.nan
    y = loops.invert(u, every_index((14, 11)).flatten(1)).reshape(2, 14, 11)
    assert bool(y[:, 6, 5].isnan().all())
    assert not y[:, :3].isnan().any()


# ---- repair


@loops
@dtypes
@shapes
@pytest.mark.parametrize("size", [2.0, 3.0])
@few
@given(seed=seeds)
def test_folds_are_repaired(loops, shape, dtype, size, seed):
    """All corner determinants are large enough afterward, and the border stays where it is."""
    u = smooth(shape, seed, dtype, size=size)
    kept = u.clone()
    found = loops.repaired(u, LEAST)
    assert torch.equal(u, kept)
    assert found.dtype == dtype
    assert float(loops.corner_determinants(found).min()) >= LEAST
    for axis, n in enumerate(shape, start=1):
        if n > 1:
            assert not found.select(axis, 0).any()
            assert not found.select(axis, -1).any()


@loops
@shapes
def test_what_is_good_is_left_alone(loops, shape):
    u = smooth(shape, least=0.2)
    assert torch.equal(loops.repaired(u, LEAST), u)
    smallest = float(loops.corner_determinants(u).min())
    assert torch.equal(loops.repaired(u, smallest), u)
    assert not torch.equal(loops.repaired(u, smallest + 1e-3), u)


@loops
@pytest.mark.parametrize("shape", [(40,), (30, 28), (21, 20, 22)], ids=str)
@given(seed=seeds, data=st.data())
def test_repair_is_local(loops, shape, seed, data):
    """One bad point: farther from it than smoothing has had to reach, the displacement is what it was."""
    u = smooth(shape, seed, least=0.5)
    at = tuple(data.draw(st.integers(8, n - 9)) for n in shape)
    u[(slice(None), *at)] += 1.8
    found = loops.repaired(u, LEAST)
    assert float(loops.corner_determinants(found).min()) >= LEAST
    away = (every_index(shape) - torch.tensor(at).reshape(-1, *[1] * len(shape))).abs().amax(0)
    assert torch.equal(found[:, away > 5], u[:, away > 5])
    assert distance(found, u) > 0.1


@loops
def test_a_border_that_moves_is_repaired_too(loops):
    u = smooth((16, 15), least=0.5)
    u[:, 0, 7] = torch.tensor([0.0, 1.5])
    assert float(loops.corner_determinants(u).min()) < 0
    found = loops.repaired(u, LEAST)
    assert float(loops.corner_determinants(found).min()) >= LEAST
    assert found[1, 0, 7] > 0
