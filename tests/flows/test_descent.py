"""Descent: every layer lowers the loss and is a diffeomorphism, and what is remembered is never stale."""

from itertools import pairwise

import pytest
import torch

from diffeo.core import Compose
from diffeo.flows import Affine, Descent
from diffeo.kernels import GaussianKernel
from diffeo.losses import LandmarkLoss, MMDLoss, VarifoldLoss
from diffeo.shapes import Points
from tests import zoo
from tests.oracles import cloud, distance

F64 = torch.float64


def problem(kind):
    """(source, target), loss."""
    if kind == "landmarks":
        return (Points(cloud(12, 2)), Points(cloud(12, 2) + 0.3)), LandmarkLoss()
    if kind == "measures":
        return (Points(cloud(12, 2)), Points(cloud(12, 2, seed=1) + 0.3)), MMDLoss(GaussianKernel(0.5))
    return (zoo.CURVE(2, seed=1), zoo.CURVE(2, seed=2)), VarifoldLoss(GaussianKernel(0.5))


problems = pytest.mark.parametrize("kind", ["landmarks", "measures", "curves"])


@problems
@pytest.mark.parametrize("controls", [None, 9], ids=["all points", "few controls"])
def test_every_layer_lowers_the_loss_and_is_certified(kind, controls):
    pair, loss = problem(kind)
    phi = Descent(GaussianKernel(0.4), None if controls is None else cloud(controls, 2))
    values = [float(loss(*pair))]
    for _ in range(6):
        assert phi.grow([pair], loss)
        values.append(float(loss(phi @ pair[0], pair[1])))
    assert all(b < a for a, b in pairwise(values))
    assert values[-1] < 0.9 * values[0]
    assert len(phi.layers()) == 6
    for field in phi.layer_fields():
        assert field.lipschitz() < 1
    x = cloud(100, 2)
    assert bool(torch.isfinite(phi.with_logdet(x)[1]).all())
    assert distance(phi.inverse(phi(x)), x) < 1e-10


def test_the_direction_is_the_steepest_in_V():
    """The first layer is −ε K∇D: its derivative along the loss is −ε‖∇_V D‖²."""
    (source, target), loss = problem("measures")
    phi = Descent(GaussianKernel(0.4))
    phi.grow([(source, target)], loss)
    x = source.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(Points(x), target), x)
    layer = phi.layer_fields()[0]
    assert distance(layer.controls, source.x) == 0
    ratios = layer.momenta / -gradient
    assert float(ratios.min()) == pytest.approx(float(ratios.max()), rel=1e-9)
    assert ratios.min() > 0


def test_several_pairs_grow_one_map():
    pairs = [problem("measures")[0], (Points(cloud(5, 2, seed=7)), Points(cloud(5, 2, seed=8)))]
    loss = MMDLoss(GaussianKernel(0.5))
    phi = Descent(GaussianKernel(0.4))
    before = sum(float(loss(*pair)) for pair in pairs)
    assert phi.grow(pairs, loss)
    assert sum(float(loss(phi @ a, b)) for a, b in pairs) < before
    assert len(phi.layer_fields()[0].controls) == 17


def test_growth_ends_where_nothing_can_be_gained():
    shape = Points(cloud(12, 2))
    phi = Descent(GaussianKernel(0.4))
    assert not phi.grow([(shape, Points(shape.x.clone()))], LandmarkLoss())
    assert not phi.layers()
    assert phi.energy() == 0
    assert torch.equal(phi(shape.x), shape.x)


@pytest.mark.parametrize("controls", [None, 9], ids=["all points", "few controls"])
def test_growth_goes_on_where_it_was_saved(controls):
    pair, loss = problem("measures")
    c = None if controls is None else cloud(controls, 2)
    straight, first, second = (Descent(GaussianKernel(0.4), c) for _ in range(3))
    for _ in range(4):
        straight.grow([pair], loss)
    for _ in range(2):
        first.grow([pair], loss)
    second.regrow(first.growth())
    for _ in range(2):
        second.grow([pair], loss)
    assert torch.equal(second(pair[0].x), straight(pair[0].x))


def test_the_energy_is_that_of_layers_at_equal_times():
    phi = zoo.descent(2, F64, 0)
    squares = torch.stack([field.sqnorm() for field in phi.layer_fields()])
    torch.testing.assert_close(phi.energy(), 3 * squares.sum() / 2)


# ---- memory: points asked for again pass through the new layers only


@pytest.fixture
def phi():
    return zoo.descent(2, F64, 0)


def test_new_layers_are_seen(phi):
    x = cloud(5, 2)
    before = phi(x)
    phi.append(cloud(3, 2), cloud(3, 2, seed=1, size=0.1))
    assert distance(phi(x), phi.layers()[-1](before)) < 1e-14
    assert distance(phi(x), phi(x.clone())) == 0


def test_points_changed_in_place_are_seen(phi):
    x = cloud(5, 2)
    phi(x)
    x += 1
    assert distance(phi(x), phi(x.clone())) == 0


def test_results_changed_in_place_are_not_returned_again(phi):
    x = cloud(5, 2)
    first = phi(x)
    kept = first.clone()
    first += 1
    assert torch.equal(phi(x), kept)


@pytest.mark.parametrize("what", ["coordinates", "controls"])
def test_layers_changed_in_place_are_seen(phi, what):
    x = cloud(5, 2)
    before = phi(x)
    with torch.no_grad():
        tensor = phi.layer_fields()[1].unknown.coordinates if what == "coordinates" else phi.layer_fields()[1].controls
        tensor *= 1.5
    assert distance(phi(x), before) > 1e-4
    assert distance(phi(x), phi(x.clone())) == 0


def test_loaded_layers_are_seen(phi):
    x = cloud(5, 2)
    phi(x)
    other = zoo.descent(2, F64, 5)
    phi.load_state_dict(other.state_dict())
    assert distance(phi(x), other(x)) == 0


def test_gradients_are_there_after_a_call_without(phi):
    x = cloud(5, 2).requires_grad_()
    with torch.no_grad():
        phi(x)
    assert phi(x).requires_grad
    y = cloud(5, 2)
    phi(y)
    phi.requires_grad_(True)
    assert phi(y).requires_grad


def test_many_sets_of_points_are_kept_apart(phi):
    clouds = [cloud(5, 2, seed=k) for k in range(7)]
    images = [phi(x) for x in clouds]
    for x, image in zip(reversed(clouds), reversed(images), strict=True):
        assert torch.equal(phi(x), image)
    assert len(phi._reached) <= phi.REMEMBERED


def test_a_descent_after_an_affine_map(phi):
    """Inside a composition the points are new tensors every time."""
    affine, x = Affine(torch.eye(2, dtype=F64), torch.ones(2, dtype=F64)), cloud(5, 2)
    both = Compose([affine, phi])
    assert torch.equal(both(x), both(x))
    assert distance(both(x), phi(x + 1)) < 1e-14
