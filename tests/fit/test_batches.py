"""Laws of minibatches."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffeo import Batches, Encoded, LinearReadIn, Points, objective
from tests.fit.networks import ADAM, F64, SGD, batches, data, loss, network, run, train, unknowns, whole
from tests.oracles import cloud, seeds


@given(n=st.integers(1, 50), size=st.integers(1, 50), seed=seeds, epoch=st.integers(0, 1000))
def test_an_epoch_meets_every_point_once(n, size, seed, epoch):
    size = min(size, n)
    x = torch.arange(n, dtype=F64)[:, None]
    on = Batches(x, 2 * x, size, seed)
    met = list(on.epoch(epoch))
    assert torch.equal(torch.cat([x for x, _ in met]).sort(0).values, x)
    assert all(torch.equal(y, 2 * x) for x, y in met)
    sizes = [len(x) for x, _ in met]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(met) == on.count()
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(met, on.epoch(epoch), strict=True))


def test_epochs_and_seeds_differ():
    x = torch.arange(100, dtype=F64)[:, None]
    orders = [next(Batches(x, x, 100, seed).epoch(e))[0].flatten() for seed in (0, 1) for e in (0, 1, 2)]
    assert all(not torch.equal(a, b) for k, a in enumerate(orders) for b in orders[:k])
    assert torch.equal(next(Batches(x, x, 100, shuffle=False).epoch(3))[0], x)


def test_one_batch_of_all_points_is_all_pairs_at_once():
    """To the last bit: the same steps from the same start."""
    history, exact = (run(on)[2] for on in (Batches(*data(), 40, shuffle=False), whole()))
    assert [r.objective for r in history.records[1:]] == [r.objective for r in exact.records[:-1]]  # an epoch's mean
    for ended, other in ((history.state, exact.state), (history.state["others"][0], exact.state["others"][0])):
        values = ended.get("phi", ended), other.get("phi", other)
        assert all(torch.equal(values[0][name], values[1][name]) for name in values[0])


def test_records_are_means_over_the_points_of_an_epoch():
    """At the parameters that each batch met: with steps of no length, the objective itself."""
    still = partial(torch.optim.SGD, lr=1e-300)
    phi, fitted, history = run(batches(41, 16), optimizer=still)
    expected = objective(phi, whole(41), fitted, 1e-3)
    assert history[1].objective == pytest.approx(float(expected.total.detach()), rel=1e-12)
    first = next(batches(41, 16).epoch(0))
    start = objective(network(), [(Points(first[0]), first[1])], loss(), 1e-3)
    assert history[0].objective == pytest.approx(float(start.total.detach()), rel=1e-12)


def test_batches_train():
    phi, fitted, history = run(batches(200, 20), max_iterations=15)
    value = float(objective(phi, whole(200), fitted, 1e-3).data.detach())
    start = float(objective(network(), whole(200), loss(), 1e-3).data.detach())
    assert value < 0.5 * start
    assert history[-1].data == pytest.approx(value, rel=0.3)
    assert history.reason == "all epochs are done"


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["SGD in V", "Adam"])
def test_resuming_is_exact(optimizer):
    phi, fitted, history = run(batches(), optimizer=optimizer)
    states = []
    run(batches(), optimizer=optimizer, max_iterations=2, save=states.append)
    again, its_loss, resumed = run(batches(), optimizer=optimizer, state=states[-1])
    assert [r.objective for r in resumed.records] == [r.objective for r in history.records]
    assert torch.equal(unknowns(again, its_loss), unknowns(phi, fitted))


def test_without_a_validation_set_the_last_point_is_left():
    """The mean over an epoch says nothing about the point at its end, so that no earlier one is preferred."""
    seen = []
    phi, fitted = network(), loss()
    history = train(
        phi,
        batches(40, 8),
        fitted,
        optimizer=partial(torch.optim.Adam, lr=2.0),  # far too large
        callbacks=[lambda r: seen.append(unknowns(phi, fitted))],
        max_iterations=8,
    )
    assert torch.equal(unknowns(phi, fitted), seen[-1])
    assert min(range(9), key=lambda k: history[k].objective) != 8


def test_noise_does_not_end_a_fit():
    """Epochs after which the mean has risen are no sign of the end."""
    _, _, history = run(batches(40, 8), optimizer=partial(torch.optim.Adam, lr=0.5), max_iterations=12, tolerance=0.1)
    assert len(history) == 13


def test_an_epoch_that_diverges_is_run_again_with_shorter_steps():
    phi, fitted, history = run(batches(), optimizer=partial(torch.optim.SGD, lr=100.0), max_iterations=4)
    assert len(history) == 5
    assert history[-1].data < history[0].data
    phi, fitted, history = run(batches(), optimizer=partial(torch.optim.SGD, lr=1e30))
    assert history.reason.startswith("diverged")
    assert torch.equal(unknowns(phi, fitted), unknowns(network(), loss()))


def test_inputs_are_whatever_the_shape_takes():
    """Pictures go through a read-in that is trained along."""
    x = cloud(30, 12).reshape(30, 1, 3, 4)
    read_in = LinearReadIn(12, 2).to(F64)
    on = Batches(x, torch.sin(x.flatten(1)[:, :2]), 10, shape=lambda x: Encoded(x.flatten(1), read_in))
    phi, fitted, before = network(), loss(), unknowns(read_in)
    history = train(phi, on, fitted, modules=[read_in], max_iterations=10)
    assert history[-1].data < history[0].data
    assert not torch.equal(unknowns(read_in), before)


X, Y = data(10)
NAN = torch.where(torch.arange(10)[:, None] == 3, torch.nan, Y)
BAD = {
    "no points in a batch": (lambda: Batches(X, Y, 0), "a size from 1 to the number of points, 10, and got 0"),
    "more than there are": (lambda: Batches(X, Y, 11), "a size from 1 to the number of points, 10, and got 11"),
    "a share of a point": (lambda: Batches(X, Y, 2.5), "a size from 1 to .* and got 2.5"),
    "a seed below 0": (lambda: Batches(X, Y, 5, seed=-1), "a seed that is a whole number"),
    "other targets": (lambda: Batches(X, Y[:9], 5), r"as many targets as points.*\(10, 2\) and y of shape \(9, 2\)"),
    "no points": (lambda: Batches(X[:0], Y[:0], 1), "as many targets as points, at least one"),
    "NaN in targets": (lambda: Batches(X, NAN, 5), "finite targets: 1 of 10"),
    "NaN in positions": (lambda: Batches(NAN, Y, 5), "finite numbers in x: 1 of 10"),
    "labels in int32": (lambda: Batches(X, Y[:, 0].int(), 5), "labels in int64 .* got torch.int32"),
    "arrays": (lambda: Batches(X.numpy(), Y, 5), "tensors x and y, and got ndarray and Tensor"),
    "another precision": (lambda: run(Batches(X.float(), Y, 5)), "x in the dtype of the map, torch.float64, and got"),
    "targets of another": (lambda: run(Batches(X, Y.float(), 5)), "values in the dtype of the map, torch.float64"),
    "NaN in a pair": (lambda: run([(Points(X), NAN)]), "finite targets: 1 of 10"),
    "a pair of another": (lambda: run([(Points(X), Y.float())]), "values in the dtype of the map"),
    "no pairs": (lambda: run([]), "at least one pair"),
    "a pair alone": (lambda: run((Points(X), Y)), "a list of pairs"),
    "a tensor": (lambda: run(X[:, 0]), "a list of pairs"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused_in_a_sentence(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_batches_say_what_they_are():
    assert repr(batches()) == "Batches(40 points, size=16, seed=0, shuffle=True)"
