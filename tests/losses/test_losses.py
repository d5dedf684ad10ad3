"""Laws of all losses: distances between shapes, with the gradients that an optimizer believes."""

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given, settings

from diffeo.core import WeightedLosses
from diffeo.flows import Affine
from diffeo.losses import CurrentLoss, LandmarkLoss, MMDLoss
from tests import zoo
from tests.oracles import cloud, rotation, seeds, slope

F64 = torch.float64
few = settings(max_examples=2)


def over(cases):
    """Parameters for those among the losses of the zoo; of shapes that know the plane, other dimensions are slow."""
    marked = [
        pytest.param(entry, kind, d, marks=[pytest.mark.slow] if d != 2 and 2 in kind.dimensions else [])
        for entry, kind, d in cases
    ]
    return pytest.mark.parametrize(("entry", "kind", "d"), marked, ids=str)


losses = over(zoo.each_loss())


def case(entry, kind, d, seed=0, dtype=F64):
    """A loss, and two shapes that it compares."""
    source, target = kind(d, dtype, seed), kind(d, dtype, seed + 1)
    return entry(target), source, target


def copied(shape):
    """The same numbers elsewhere in memory."""
    return zoo.with_numbers(shape, zoo.numbers(shape).clone())


def direction(shape, seed):
    """A random change of all numbers."""
    return cloud(len(zoo.numbers(shape)), 1, seed=seed)[:, 0]


# ---- distances


@losses
@few
@given(seed=seeds)
def test_equal_shapes_are_at_distance_0(entry, kind, d, seed):
    loss, source, target = case(entry, kind, d, seed % 1000)
    far = loss(source, target)
    assert far.shape == ()
    assert far > 0
    assert abs(loss(target, target)) < 1e-10 * (1 + far)
    assert abs(loss(copied(target), target)) < 1e-10 * (1 + far)


@over(c for c in zoo.each_loss() if c[0].symmetric)
@few
@given(seed=seeds)
def test_distances_are_symmetric(entry, kind, d, seed):
    loss, source, target = case(entry, kind, d, seed % 1000)
    torch.testing.assert_close(loss(source, target), loss(target, source), rtol=1e-9, atol=1e-12)


@over(c for c in zoo.each_loss() if c[0].rigid)
@few
@given(seed=seeds)
def test_rigid_motions_of_both_change_nothing(entry, kind, d, seed):
    loss, source, target = case(entry, kind, d, seed % 1000)
    motion = Affine(rotation(d, seed=seed), 10 + cloud(1, d, seed=seed)[0])
    moved = [zoo.moved_by(motion, shape) for shape in (source, target)]
    torch.testing.assert_close(loss(*moved), loss(source, target), rtol=1e-7, atol=1e-10)


@losses
@few
@given(seed=seeds)
def test_other_units_change_the_units_only(entry, kind, d, seed):
    loss, source, target = case(entry, kind, d, seed % 1000)
    for factor in (0.01, 30.0):
        grow = Affine(factor * torch.eye(d, dtype=F64), torch.zeros(d, dtype=F64))
        expected = factor ** entry.power(zoo.inner_dimension(source)) * loss(source, target)
        grown = [zoo.moved_by(grow, shape) for shape in (source, target)]
        torch.testing.assert_close(loss.rescaled(factor)(*grown), expected, rtol=1e-6, atol=1e-14)


@over(c for c in zoo.each_loss() if c[1] in (zoo.POINTS, zoo.WEIGHTED) and not c[0].name.startswith("Landmark"))
def test_the_order_of_points_does_not_matter(entry, kind, d):
    loss, source, target = case(entry, kind, d)
    order = torch.randperm(len(target.x))
    weights = None if target.weights is None else target.weights[order]
    shuffled = type(target)(target.x[order], weights=weights)
    torch.testing.assert_close(loss(source, shuffled), loss(source, target), rtol=1e-9, atol=1e-12)


# ---- gradients


@losses
@few
@given(seed=seeds)
def test_gradients_by_finite_differences(entry, kind, d, seed):
    """In the positions or values of the source, and in those of the target too."""
    loss, source, target = case(entry, kind, d, seed % 1000)
    directions = direction(source, seed), direction(target, seed + 1)
    x, y = (zoo.numbers(shape).clone().requires_grad_() for shape in (source, target))
    value = loss(zoo.with_numbers(source, x), zoo.with_numbers(target, y))
    gradients = torch.autograd.grad(value, (x, y), allow_unused=True)
    for k in range(2):

        def along(s, k=k):
            moved = [x.detach(), y.detach()]
            moved[k] = moved[k] + s * directions[k]
            return float(loss(zoo.with_numbers(source, moved[0]), zoo.with_numbers(target, moved[1])))

        found = 0.0 if gradients[k] is None else float((gradients[k] * directions[k]).sum())
        assert found == pytest.approx(slope(along, 2e-5), rel=1e-6, abs=1e-8)


@losses
def test_the_gradient_is_that_for_a_target_that_needs_none(entry, kind, d):
    loss, source, target = case(entry, kind, d)
    gradients = []
    for needed in (False, True):
        x = zoo.numbers(source).clone().requires_grad_()
        y = zoo.numbers(target).clone().requires_grad_(needed)
        (gradient,) = torch.autograd.grad(loss(zoo.with_numbers(source, x), zoo.with_numbers(target, y)), x)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


@losses
def test_the_gradient_vanishes_where_shapes_agree(entry, kind, d):
    """At kernels that are not smooth, by symmetry."""
    loss, source, target = case(entry, kind, d)
    x = zoo.numbers(source).clone().requires_grad_()
    y = zoo.numbers(target).clone().requires_grad_()
    (near,) = torch.autograd.grad(loss(zoo.with_numbers(target, y), target), y)
    (far,) = torch.autograd.grad(loss(zoo.with_numbers(source, x), target), x)
    assert near.abs().max() < entry.rest * (1 + far.abs().max())


@losses
def test_gradients_lead_downhill(entry, kind, d):
    loss, source, target = case(entry, kind, d)
    x = zoo.numbers(source).clone().requires_grad_()
    value = loss(zoo.with_numbers(source, x), target)
    (gradient,) = torch.autograd.grad(value, x)
    step = 1e-4 * gradient / gradient.norm()
    down, up = (loss(zoo.with_numbers(source, x + s * step), target) for s in (-1, 1))
    assert down < value < up


@losses
def test_precision_follows_the_inputs(entry, kind, d):
    loss, source, target = case(entry, kind, d, dtype=torch.float32)
    x = zoo.numbers(source).clone().requires_grad_()
    value = loss(zoo.with_numbers(source, x), target)
    value.backward()
    assert (value.dtype, x.grad.dtype) == (torch.float32, torch.float32)
    exact, _, _ = case(entry, kind, d)
    expected = exact(source.to(F64), target.to(F64))
    assert float(value.detach()) == pytest.approx(float(expected), rel=1e-3, abs=1e-5)


@losses
def test_inputs_are_left_alone(entry, kind, d):
    loss, source, target = case(entry, kind, d)
    kept = zoo.numbers(source).clone(), zoo.numbers(target).clone()
    first = loss(source, target)
    torch.testing.assert_close(loss(source, target), first, rtol=1e-14, atol=0)
    assert torch.equal(zoo.numbers(source), kept[0])
    assert torch.equal(zoo.numbers(target), kept[1])


# ---- sums, copies


@losses
def test_losses_add(entry, kind, d):
    loss, source, target = case(entry, kind, d)
    other = [e for e in zoo.LOSSES if kind in e.shapes][-1](target)
    for total in (loss + 0.5 * other, 0.5 * other + loss):
        expected = loss(source, target) + 0.5 * other(source, target)
        torch.testing.assert_close(total(source, target), expected)
        torch.testing.assert_close((2 * total)(source, target), 2 * expected)


def test_sums_of_losses_are_associative():
    source, target = zoo.CURVE(2, seed=1), zoo.CURVE(2, seed=2)
    terms = [LandmarkLoss(), CurrentLoss(zoo.WIDE), MMDLoss(zoo.WIDE)]
    for a, b, c in itertools.permutations(terms):
        torch.testing.assert_close(((a + b) + c)(source, target), (a + (b + c))(source, target), rtol=1e-13, atol=0)


@pytest.mark.parametrize("weight", [0, -1, torch.nan])
def test_weights_of_losses_are_positive(weight):
    with pytest.raises(ValueError, match="positive"):
        weight * LandmarkLoss()
    with pytest.raises(ValueError, match="positive"):
        WeightedLosses([])


@losses
def test_losses_can_be_copied(entry, kind, d):
    loss, source, target = case(entry, kind, d)
    expected = loss(source, target)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(other(source, target), expected, rtol=1e-14, atol=0)
    assert type(loss).__name__.removesuffix("Losses") in repr(loss) or "+" in repr(loss)
