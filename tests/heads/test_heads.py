"""Heads: they map rows to rows in any precision, and are built again from what they say of themselves."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given

from diffeo.heads import Chain, ConvReadIn, Identity, LinearReadIn, LinearReadOut, ZeroPadding
from diffeo.heads.linear import isometry
from diffeo.io.transform import decode, encode
from tests import zoo
from tests import zoo_of_learning as learning
from tests.oracles import cloud, distance, relative, seeds, slope

F64 = torch.float64
heads = pytest.mark.parametrize(("entry", "d"), zoo.each(learning.HEADS), ids=str)


# ---- laws of all heads


@heads
def test_every_row_is_mapped_alone(entry, d):
    head, x = entry(d), cloud(7, d)
    moved = head(x)
    assert len(moved) == 7
    assert moved.ndim == 2
    assert distance(head(x[2:4]), moved[2:4]) < 1e-14
    assert head(x[:0]).shape == (0, moved.shape[1])


@heads
def test_precision_follows_the_inputs(entry, d):
    """Whatever the head's own is, so that it need not be converted along with data."""
    x = cloud(7, d)
    for own in zoo.DTYPES:
        head = entry(d, own)
        assert {t.dtype for t in (*head.parameters(), *head.buffers())} <= {own}
        assert head(x.float()).dtype == torch.float32
        assert head(x).dtype == F64
        assert distance(head(x.float()), entry(d)(x)) < 1e-5


@heads
def test_heads_come_back(entry, d):
    head, x = entry(d, seed=1), cloud(7, d)
    others = [copy.deepcopy(head), pickle.loads(pickle.dumps(head)), type(head)(**head.arguments())]
    others += [decode(encode(head)), entry(d, seed=2)]
    others[-1].load_state_dict(head.state_dict())
    for other in others:
        assert type(other) is type(head)
        assert torch.equal(other(x), head(x))
        assert [p.shape for p in other.parameters()] == [p.shape for p in head.parameters()]
    assert not any(isinstance(v, torch.Tensor) and v.requires_grad for v in head.arguments().values())


@heads
def test_gradients_by_finite_differences(entry, d):
    """In the inputs and in all that is trained."""
    head, x = entry(d), cloud(7, d).requires_grad_()
    unknowns = [x, *head.parameters()]
    weights = cloud(7, head(x).shape[1], seed=3)
    gradients = torch.autograd.grad((weights * head(x)).sum(), unknowns)
    for k, (p, gradient) in enumerate(zip(unknowns, gradients, strict=True)):
        start, v = p.detach().clone(), cloud(1, p.numel(), seed=4 + k).reshape(p.shape)

        def along(s, p=p, start=start, v=v):
            with torch.no_grad():
                p.copy_(start + s * v)
                return float((weights * head(x)).sum())

        expected = slope(along)
        along(0.0)
        assert float((gradient * v).sum()) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("entry", learning.HEADS, ids=str)
def test_only_what_is_trained_is_a_parameter(entry):
    assert bool(list(entry(2).parameters())) == (
        entry.name in ("ConvReadIn", "LinearReadIn(more dimensions)", "Chain", "LinearReadOut")
    )


# ---- read-outs


@pytest.mark.parametrize(("entry", "d"), zoo.each(learning.READ_OUTS), ids=str)
@given(seed=seeds)
def test_read_outs_know_other_units(entry, d, seed):
    head, x, shift = entry(d, seed=seed % 100), cloud(7, d, seed=seed), 3 + cloud(1, d, seed=seed)[0]
    for factor in (0.01, 30.0):
        assert distance(head.rescaled(factor)(factor * x), head(x)) < 1e-12
        moved = head.rescaled(factor, shift)
        assert distance(moved(factor * x + shift), head(x)) < 1e-9
        assert moved.outputs == head.outputs
        assert moved.trained == head.trained


# ---- random draws


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1)], ids=str)
@given(seed=seeds)
def test_random_matrices_are_isometries(shape, seed):
    matrix = isometry(*shape, seed)
    assert matrix.shape == shape
    gram = matrix.T @ matrix if shape[0] >= shape[1] else matrix @ matrix.T
    assert distance(gram, torch.eye(len(gram), dtype=F64)) < 1e-13
    assert torch.equal(isometry(*shape, seed), matrix)
    assert not torch.equal(isometry(*shape, seed + 1), matrix)


def test_random_matrices_have_no_preferred_direction():
    """On average over draws, the entries are 0 and their squares 1/n."""
    draws = torch.stack([isometry(3, 3, seed) for seed in range(2000)])
    assert draws.mean(0).abs().max() < 5 * math.sqrt(1 / 3 / 2000)
    assert (draws.square().mean(0) - 1 / 3).abs().max() < 0.04


@given(seed=seeds)
def test_a_fixed_read_out_has_singular_values_1(seed):
    head = LinearReadOut(6, 3, trained=False, seed=seed)
    assert relative(torch.linalg.svdvals(head.weight), torch.ones(3)) < 1e-5
    assert not head.offset.any()


def test_a_random_read_in_keeps_lengths():
    """Exactly into more dimensions, and on average over draws into fewer."""
    x = cloud(20, 6)
    lengths = x.square().sum(1)
    assert relative(LinearReadIn(6, 9).to(F64)(x).square().sum(1), lengths) < 1e-6
    squares = [LinearReadIn(6, 2, seed=seed)(x).square().sum(1) for seed in range(1000)]
    assert relative(torch.stack(squares).mean(0), lengths) < 0.15


# ---- read-ins


def test_padding_adds_zeros():
    x = cloud(5, 2)
    assert torch.equal(ZeroPadding(3)(x), torch.cat([x, torch.zeros(5, 3, dtype=F64)], 1))
    assert ZeroPadding(0)(x).equal(x)


def test_chains_act_in_order():
    x, first, second = cloud(5, 2), learning.read_in(4)(2, F64, 0), learning.read_in(3)(4, F64, 1)
    assert distance(Chain([first, second])(x), second(first(x))) < 1e-14
    assert Chain([Identity()])(x) is x


# ---- what is refused


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearReadOut(0, 3), "LinearReadOut expects sizes that are 1 or more, and got dim = 0, outputs = 3"),
        (lambda: LinearReadIn(3, -1), "LinearReadIn expects sizes that are 1 or more, and got inputs = 3, dim = -1"),
        (lambda: LinearReadOut(2, 3, weight=torch.eye(2)), r"finite weight of shape \(3, 2\), and got .* \(2, 2\)"),
        (lambda: LinearReadIn(2, 2, weight=torch.eye(2) / 0), r"expects a finite weight"),
        (lambda: LinearReadOut(2, 3, offset=torch.ones(2)), r"an offset of shape \(3,\) with bias=True .*got \(2,\)"),
        (lambda: LinearReadOut(2, 3, bias=False, offset=torch.ones(3)), "none without, and got .3,. with bias=False"),
        (lambda: LinearReadIn(2, 3, offset=torch.ones(2)), r"expects an offset of shape \(3,\), and got \(2,\)"),
        (lambda: ZeroPadding(-1), "extra dimensions that is 0 or more, and got -1"),
        (lambda: Chain([]), "Chain expects at least one read-in"),
        (lambda: LinearReadOut(2, 3)(torch.ones(5, 3)), r"LinearReadOut expects .* shape \(n, 2\), and got \(5, 3\)"),
        (lambda: LinearReadIn(2, 3)(torch.ones(2)), r"LinearReadIn expects .* shape \(n, 2\), and got \(2,\)"),
    ],
    ids=range(11),
)
def test_what_does_not_fit_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_read_in_of_a_paper_is_one_of_convolutions():
    """28 × 28 points to 32 × 5 × 5 numbers (arXiv 2112.05531)."""
    head, x = ConvReadIn((1, 28, 28), 32), cloud(3, 784, torch.float32)
    assert head(x).shape == (3, head.dim) == (3, 800)
    assert torch.equal(head(x.reshape(3, 1, 28, 28)), head(x))
    assert head.size == (5, 5)
    for bad, message in (((1, 7, 28), "leaves nothing"), ((1, 28), "images of shape")):
        with pytest.raises(ValueError, match=message):
            ConvReadIn(bad)
    with pytest.raises(ValueError, match="flat or not"):
        head(x[:, :700])
