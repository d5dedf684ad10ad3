"""Interpolation: what is found at grid points, between them and outside, by each way to find it."""

import itertools

import pytest
import torch
from hypothesis import given

from diffeo.flows import Affine
from diffeo.shapes import Cubic, Image, Interpolation, Linear, Nearest, interpolation
from tests.oracles import cloud, distance, rotation, seeds
from tests.shapes.images import grid_of

F64 = torch.float64
WAYS: list[Interpolation] = [Linear(), Nearest(), Cubic()]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
dimensions = pytest.mark.parametrize("d", [1, 2, 3])


def still(d):
    """No motion."""
    return torch.eye(d, dtype=F64), torch.zeros(d, dtype=F64)


def random(*shape, seed=0, dtype=F64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


@ways
@dimensions
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_grid_points_have_their_own_values(way, d, dtype):
    values = random(2, *(5, 4, 6)[:d], dtype=dtype)
    found = way(values, *still(d), torch.zeros(d, *values.shape[1:], dtype=dtype))
    assert found.dtype == dtype
    assert distance(found, values) < 10 * torch.finfo(dtype).eps


@ways
@dimensions
def test_outside_there_is_nothing(way, d):
    """Two steps beyond the border; a spline that is 0 at all points from one step beyond has died off by ten."""
    values, far = random(1, *(5, 4, 6)[:d]), 2.0 if not isinstance(way, Cubic) else 10.0
    u = torch.zeros(d, *values.shape[1:], dtype=F64)
    for axis, side in itertools.product(range(d), (-1, 1)):
        beyond = u.clone()
        beyond[axis] = side * (values.shape[axis + 1] - 1 + far)
        assert way(values, *still(d), beyond).abs().max() < 1e-5
    assert way(values, *still(d), u + 1e30).abs().max() < 1e-5


@ways
def test_a_change_of_grids_is_a_change_of_indices(way):
    """Matrix, offset and u come together as matrix·(i + u(i)) + offset."""
    values, u = random(1, 9, 8, 7, seed=1), cloud(3, 60, seed=2).reshape(3, 3, 4, 5)
    matrix, offset = rotation(3), torch.tensor([3.0, 4.0, 3.0], dtype=F64)
    i = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=F64) for n in u.shape[1:]], indexing="ij"))
    where = torch.einsum("ab,b...->a...", matrix, i + u) + offset.reshape(3, 1, 1, 1)
    found = way(values, matrix, offset, u)
    assert distance(found, way(values, *still(3), where - i)) < 1e-12
    assert found.abs().max() > 0.5


@ways
def test_slabs_do_not_show(way, monkeypatch):
    values, u = random(2, 9, 8, 7), cloud(3, 504, seed=2, size=2.0).reshape(3, 9, 8, 7)
    whole = way(values, *still(3), u)
    monkeypatch.setattr(interpolation, "SLAB", 130)
    assert distance(way(values, *still(3), u), whole) < 1e-13


@given(seed=seeds)
def test_the_nearest_point_is_the_nearest_point(seed):
    values = random(1, 6, 5, seed=seed)
    x = 4 * random(2, 50, seed=seed + 1) + 0.01
    i = torch.stack(torch.meshgrid(torch.arange(6.0, dtype=F64), torch.arange(5.0, dtype=F64), indexing="ij"))
    nearest = (x[:, :, None] - i.flatten(1)[:, None]).norm(dim=0).argmin(1)
    found = Nearest()(values, *still(2), (x - torch.arange(50, dtype=F64) * torch.tensor([[1.0], [0]]))[:, :, None])
    assert torch.equal(found.flatten(), values.flatten()[nearest])


def test_labels_up_to_the_last_whole_number_of_single_precision_are_exact():
    labels = torch.tensor([[0, 1, 2**24 - 1, 2**24, 12175, 0]], dtype=torch.float32)
    shifted = Nearest()(labels, *still(1), torch.full((1, 6), 0.3))
    assert torch.equal(shifted, labels)
    image = Image(labels, grid_of(6), background=torch.zeros(1), interpolation=Nearest())
    moved = image.carried(Affine(torch.eye(1), torch.tensor([0.7])))
    assert torch.equal(moved.values[0, 1:], labels[0, :-1])


def test_in_the_middle_rounding_does_not_decide():
    """A grid half a step aside, in single precision: everywhere the lower index."""
    values, noise = random(1, 200, dtype=torch.float32), 1e-5 * cloud(1, 200, torch.float32)
    found = Nearest()(values, *still(1), 0.5 + noise)
    assert torch.equal(found, values)
    assert torch.equal(Nearest()(values, *still(1), noise - 0.5)[:, 1:], values[:, :-1])


def test_nowhere_is_outside():
    values = random(1, 4, 4) + 1
    u = torch.full((2, 4, 4), torch.nan, dtype=F64)
    assert not Nearest()(values, *still(2), u).any()


def test_cubic_splines_are_exact_for_cubic_polynomials():
    n = 80
    t = torch.arange(n, dtype=F64) / n
    polynomial = lambda t: 1 - t + 5 * t**2 - 3 * t**3  # noqa: E731
    found = Cubic()(polynomial(t)[None], *still(1), torch.full((1, n), 0.37, dtype=F64))[0]
    inside = slice(25, n - 26)  # the image is continued by 0, and a spline forgets that by 0.27 a step
    assert distance(found[inside], polynomial(t + 0.37 / n)[inside]) < 1e-12
    linear = Linear()(polynomial(t)[None], *still(1), torch.full((1, n), 0.37, dtype=F64))[0]
    assert distance(linear[inside], polynomial(t + 0.37 / n)[inside]) > 1e-5


def test_cubic_refuses_gradients():
    values, u = random(1, 8, 8), torch.zeros(2, 8, 8, dtype=F64, requires_grad=True)
    with pytest.raises(ValueError, match="no gradient: use Linear"):
        Cubic()(values, *still(2), u)
    with torch.no_grad():
        assert distance(Cubic()(values, *still(2), u), values) < 1e-12


def test_the_derivative_of_a_copy_counts_copies():
    values = random(1, 5).requires_grad_()
    found = Nearest()(values, *still(1), torch.tensor([[0.0, -1, -2, 0, 9]], dtype=F64))
    found.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[3, 0, 0, 1, 0]]
