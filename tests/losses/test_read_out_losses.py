"""Laws of all losses with a read-out: means over points of how far scores are from labels or values."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings

from diffeo.io.transform import decode, encode
from diffeo.shapes import Image, Points
from tests import zoo
from tests import zoo_of_learning as learning
from tests.oracles import cloud, distance, like, relative, seeds, slope

F64 = torch.float64
few = settings(max_examples=2)


def over(cases):
    """Parameters for those among the losses of the zoo; dimensions other than 2 are for thorough runs."""
    marked = [pytest.param(*c, marks=[pytest.mark.slow] if c[2] != 2 else []) for c in cases]
    return pytest.mark.parametrize(("entry", "kind", "d"), marked, ids=str)


losses = over(learning.each_read_out_loss())
solved = over(c for c in learning.each_read_out_loss() if c[0].solved)
planar = over(c for c in learning.each_read_out_loss() if c[2] == 2)


def case(entry, kind, d, seed=0, dtype=F64, weighted=False):
    """A loss, points and targets."""
    seed %= 1000
    return entry(d, dtype, seed), learning.cloud_of(d, dtype, seed, weighted), entry.target(kind, dtype, seed)


# ---- values


@losses
@few
@given(seed=seeds)
def test_losses_are_not_negative(entry, kind, d, seed):
    loss, moved, target = case(entry, kind, d, seed)
    value = loss(moved, target)
    assert value.shape == ()
    assert bool(torch.isfinite(value))
    assert value > 0 or not entry.bounded


@over(c for c in learning.each_read_out_loss() if not c[0].ordered)
@few
@given(seed=seeds)
def test_the_order_of_points_does_not_matter(entry, kind, d, seed):
    loss, moved, target = case(entry, kind, d, seed, weighted=True)
    order = torch.randperm(len(target))
    shuffled = Points(moved.x[order], weights=moved.weights[order])
    torch.testing.assert_close(loss(shuffled, target[order]), loss(moved, target), rtol=1e-9, atol=1e-12)


@losses
@few
@given(seed=seeds)
def test_other_units_change_nothing(entry, kind, d, seed):
    """Neither the value nor, once there is a read-out, what it predicts."""
    loss, moved, target = case(entry, kind, d, seed)
    if entry.solved:
        loss.remember(moved, target)
    for factor in (0.01, 30.0):
        other, grown = loss.rescaled(factor), Points(factor * moved.x)
        torch.testing.assert_close(other(grown, target), loss(moved, target), rtol=1e-8, atol=1e-12)
        assert relative(other.predict(grown), loss.predict(moved)) < 1e-8


@planar
def test_equal_weights_are_none_and_their_unit_does_not_count(entry, kind, d):
    loss, moved, target = case(entry, kind, d)
    _, uneven, _ = case(entry, kind, d, weighted=True)
    for mass in (0.1, 7.0):
        even = Points(moved.x, weights=torch.full((learning.ROWS,), mass, dtype=F64))
        heavy = Points(moved.x, weights=mass * uneven.weights)
        torch.testing.assert_close(loss(even, target), loss(moved, target), rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(loss(heavy, target), loss(uneven, target), rtol=1e-10, atol=1e-13)


@planar
def test_points_without_weight_do_not_count(entry, kind, d):
    """Of a loss with a penalty the sum is the same, of which the loss is the mean."""
    if entry.ordered or not entry.bounded:
        return  # without this point, others are centers; its noise is a constant of the likelihood
    loss, moved, target = case(entry, kind, d)
    weights = torch.ones(learning.ROWS, dtype=F64)
    weights[-1] = 0
    weighted, short = Points(moved.x, weights=weights), Points(moved.x[:-1])
    without = loss
    if entry.solved:  # the penalty is shared among the points
        without = type(loss)(**{**loss.arguments(), "penalty": loss.penalty * (learning.ROWS - 1) / learning.ROWS})
    torch.testing.assert_close(loss(weighted, target), without(short, target[:-1]), rtol=1e-8, atol=1e-12)
    if entry.solved:
        loss.remember(weighted, target)
        without.remember(short, target[:-1])
        assert relative(loss.predict(moved), without.predict(moved)) < 1e-8


# ---- gradients


@losses
@few
@given(seed=seeds)
def test_gradients_by_finite_differences(entry, kind, d, seed):
    """In the positions, in the values, and in whatever of the loss is trained."""
    loss, moved, target = case(entry, kind, d, seed, weighted=True)
    x, y = moved.x.clone().requires_grad_(), target.clone()
    unknowns = [x, *(p for p in loss.parameters() if p.requires_grad)]
    if kind == "values":
        unknowns.append(y.requires_grad_())
    start = [p.detach().clone() for p in unknowns]
    directions = [like(p[None])[0] if p.ndim < 2 else like(p, seed=k) for k, p in enumerate(start)]

    def value():
        return loss(moved.with_positions(x), y)

    gradients = torch.autograd.grad(value(), unknowns)
    for p, p0, v, gradient in zip(unknowns, start, directions, gradients, strict=True):

        def along(s, p=p, p0=p0, v=v):
            with torch.no_grad():
                p.copy_(p0 + s * v)
                return float(value())

        expected = slope(along, 1e-4)
        along(0.0)
        assert float((gradient * v).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@planar
def test_second_derivatives(entry, kind, d):
    """The slope of the gradient along a line is what ``create_graph`` gives."""
    if not entry.twice:
        return
    loss, moved, target = case(entry, kind, d, weighted=True)
    direction = like(moved.x, seed=3)

    def gradient(s, graph=False):
        x = (moved.x + s * direction).requires_grad_()
        return x, torch.autograd.grad(loss(moved.with_positions(x), target), x, create_graph=graph)[0]

    x, g = gradient(0.0, graph=True)
    (found,) = torch.autograd.grad((g * direction).sum(), x)
    h = 1e-5
    assert relative(found, (gradient(h)[1] - gradient(-h)[1]) / (2 * h)) < 1e-5


@losses
def test_precision_follows_the_inputs(entry, kind, d):
    loss, moved, target = case(entry, kind, d, dtype=torch.float32)
    x = moved.x.clone().requires_grad_()
    value = loss(Points(x), target)
    value.backward()
    assert (value.dtype, x.grad.dtype) == (torch.float32, torch.float32)
    exact = entry(d)
    y = moved.x.double().requires_grad_()
    expected = exact(Points(y), target.double() if kind == "values" else target)
    expected.backward()
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert relative(x.grad, y.grad) < 1e-4


@losses
def test_inputs_are_left_alone(entry, kind, d):
    loss, moved, target = case(entry, kind, d)
    kept = moved.x.clone(), target.clone()
    first = loss(moved, target)
    assert torch.equal(loss(moved, target), first)
    assert torch.equal(moved.x, kept[0])
    assert torch.equal(target, kept[1])


# ---- read-outs, copies, files


@losses
def test_there_is_a_score_for_every_class_or_value(entry, kind, d):
    for dtype in zoo.DTYPES:
        loss, moved, target = case(entry, kind, d, dtype=dtype)
        if entry.solved:
            loss.remember(moved, target)
        scores = loss.predict(Points(cloud(5, d, dtype)))
        assert scores.shape == (5, learning.CLASSES if kind == "labels" else learning.VALUES)
        assert scores.dtype == dtype


@planar
def test_read_outs_come_back(entry, kind, d):
    """From copies, from a state, from a description; a state without a read-out takes it away."""
    loss, moved, target = case(entry, kind, d, seed=1)
    empty, bare = copy.deepcopy(loss), copy.deepcopy(loss.state_dict())
    if entry.solved:
        loss.remember(moved, target)
    scores, x = loss.predict(moved), moved
    copies = [copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))]
    for other in (empty, type(loss)(**loss.arguments()), decode(encode(loss)), entry(d, seed=2)):
        other.load_state_dict(loss.state_dict())
        copies.append(other)
    for other in copies:
        assert torch.equal(other.predict(x), scores)
        torch.testing.assert_close(other(moved, target), loss(moved, target), rtol=1e-12, atol=0)
    if entry.solved:
        copies[0].load_state_dict(bare)
        with pytest.raises(ValueError, match="has no read-out yet"):
            copies[0].predict(x)
        assert torch.equal(copies[1].predict(x), scores)


@solved
def test_nothing_is_predicted_before_something_is_remembered(entry, kind, d):
    loss, moved, target = case(entry, kind, d)
    loss(moved, target)
    with pytest.raises(ValueError, match=r"call remember\(moved, target\) before predict"):
        loss.predict(moved)


@losses
def test_losses_add(entry, kind, d):
    loss, moved, target = case(entry, kind, d)
    torch.testing.assert_close((loss + 0.5 * loss)(moved, target), 1.5 * loss(moved, target))
    assert type(loss).__name__ in repr(loss)


# ---- what is refused


@planar
def test_targets_that_do_not_fit_are_refused(entry, kind, d):
    """One sentence each, which says what to do."""
    loss, moved, target = case(entry, kind, d)
    image = Image(torch.rand(1, 3, 3), zoo.placed(2, points=3))
    for points, wrong, message in (
        (moved, target[:-1], r"pairs every point with a target: there are 12 points and a target of shape \(11"),
        (moved, target.tolist(), r"expects its target as a tensor .* got list: convert it with torch.as_tensor"),
        (moved, torch.tensor(1), "pairs every point with a target"),
        (image, target, "reads labels or values from points, and got Image"),
    ):
        with pytest.raises(ValueError, match=message):
            loss(points, wrong)
    if kind == "values":
        wrong = target.clone()
        wrong[3, 0], wrong[4, 1] = math.nan, math.inf
        with pytest.raises(ValueError, match="finite values: 2 of 12 rows have NaN or infinite ones"):
            loss(moved, wrong)
        with pytest.raises(ValueError, match="values of shape"):
            loss(moved, target[:, :, None])
    else:
        with pytest.raises(ValueError, match=r"labels 0.*, and got -1..2: number the classes with numpy.unique"):
            loss(moved, target - (target == 1).long() * 2)
        for wrong in (target[:, None], target.bool()):
            with pytest.raises(ValueError, match=r"expects (labels as integers|values as floating-point)"):
                loss(moved, wrong)


@over(c for c in learning.each_read_out_loss() if c[2] == 2 and c[1] == "labels" and not c[0].solved)
def test_values_are_no_labels(entry, kind, d):
    loss, moved, target = case(entry, kind, d)
    with pytest.raises(
        ValueError, match=r"expects labels as integers .*torch.float64.* convert labels with y.long\(\)"
    ):
        loss(moved, target.double())
    with pytest.raises(ValueError, match=r"expects labels 0..2, and got 0..3: number the classes"):
        loss(moved, target.clone().fill_(0).index_fill_(0, torch.tensor([5]), 3))


@over(c for c in learning.each_read_out_loss() if c[2] == 2 and c[1] == "values" and not c[0].solved)
def test_labels_are_no_values(entry, kind, d):
    loss, moved, _ = case(entry, kind, d)
    with pytest.raises(ValueError, match=r"expects values as floating-point numbers, and got torch.int64.*one_hot"):
        loss(moved, learning.labels(0))
    with pytest.raises(ValueError, match=r"expects values of shape \(n, 2\), and got \(12, 3\)"):
        loss(moved, cloud(12, 3))


@over(c for c in learning.each_read_out_loss() if c[2] == 2 and c[1] == "labels" and c[0].solved)
def test_one_class_is_none(entry, kind, d):
    loss, moved, target = case(entry, kind, d)
    with pytest.raises(ValueError, match=r"two classes or more, and all 12 are 0: say classes=…"):
        loss(moved, torch.zeros_like(target))
    known = type(loss)(**{**loss.arguments(), "classes": 3})
    with pytest.raises(ValueError, match=r"expects labels 0..2, and got 0..3"):
        known(moved, target.clone().index_fill_(0, torch.tensor([5]), 3))
    known.remember(moved, target.clamp(max=1))
    assert known.predict(moved).shape == (12, 3)
    assert distance(known.predict(moved)[:, 2], torch.zeros(12, dtype=F64)) < 1e-12
