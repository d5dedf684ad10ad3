"""Laws of the end: validation, patience, time."""

import sys
import time
import types
from functools import partial

import pytest
import torch

from diffeo import Points, objective
from tests.fit.networks import batches, data, loss, network, run, train, unknowns, whole


def elsewhere(n=20):
    """Pairs that nothing is trained on."""
    x, y = data(n, seed=9)
    return [(Points(x), y)]


def overfitted(on, validation, **options):
    """Few points, wide layers, no price on energy: what is good for them is not for others."""
    phi, fitted = network(width=40), loss()
    options = {"optimizer": partial(torch.optim.Adam, lr=0.1), "weight": 0.0, "max_iterations": 40} | options
    return phi, fitted, train(phi, on, fitted, validation=validation, **options)


@pytest.mark.parametrize("on", [whole, batches])
def test_the_best_point_on_the_validation_set_is_left(on):
    phi, fitted, history = overfitted(on(8) if on is whole else on(8, 4), elsewhere())
    scores = [r.validation for r in history.records]
    best = scores.index(min(scores))
    assert 0 < best < 30
    assert scores[-1] > 1.2 * scores[best]
    assert float(objective(phi, elsewhere(), fitted, 0.0).data.detach()) == pytest.approx(scores[best], rel=1e-12)


def test_patience_ends_what_no_longer_helps():
    whole_way = overfitted(whole(8), elsewhere())
    scores = [r.validation for r in whole_way[2].records]
    phi, fitted, history = overfitted(whole(8), elsewhere(), patience=4)
    assert history.converged
    assert history.reason == "the validation did not improve in 4 iterations"
    assert [r.validation for r in history.records] == scores[: len(history)]
    assert scores.index(min(scores[: len(history)])) == len(history) - 5
    states = []
    overfitted(whole(8), elsewhere(), patience=4, max_iterations=5, save=states.append)
    again, its_loss, resumed = overfitted(whole(8), elsewhere(), patience=4, state=states[-1])
    assert len(resumed) == len(history)
    assert torch.equal(unknowns(again, its_loss), unknowns(phi, fitted))


def test_a_validation_set_may_come_in_batches_or_as_a_function():
    by_pairs = run(batches(), validation=elsewhere())[2]
    x, y = data(20, seed=9)
    halves = [(Points(x[:9]), y[:9]), (Points(x[9:]), y[9:])]  # of different size: a mean over points is not of batches
    by_batches = run(batches(), validation=type(batches())(x, y, 7))[2]
    phi, fitted = network(), loss()

    def score():
        with torch.no_grad():
            return float(sum(len(t) * fitted(phi @ s, t) for s, t in halves)) / 20

    by_function = train(phi, batches(), fitted, validation=score)
    for history in (by_batches, by_function):
        expected = [r.validation for r in by_pairs.records]
        assert [r.validation for r in history.records] == pytest.approx(expected, rel=1e-12)


def test_settings_of_the_end_that_are_none():
    for options, message in (
        ({"patience": 3}, "patient only with a validation set"),
        ({"patience": 0, "validation": elsewhere()}, "patience of 1"),
        ({"time_limit": 0.0}, "positive time limit"),
        ({"validation": []}, "at least one pair"),
        ({"validation": lambda: float("nan")}, "at the start .the score on the validation set is not a number"),
    ):
        with pytest.raises(ValueError, match=message):
            run(whole(), **options)


def slow(seconds):
    """A callback that takes its time."""
    return lambda record: time.sleep(seconds)


def test_time_ends_a_fit_between_iterations():
    history = run(whole(), max_iterations=1000, time_limit=0.3, callbacks=[slow(0.1)])[2]
    assert 2 <= len(history) <= 4
    assert history.reason == "the time limit of 0.3 seconds was reached"
    assert not history.converged
    again = run(whole(), max_iterations=1000, time_limit=0.3, state=history.state)[2]
    assert len(again) == len(history)  # the time before counts


def test_preparations_count_as_time():
    """In what is recorded, and in what is left."""
    history = run(whole(), max_iterations=2, spent=50.0)[2]
    assert 50 < history[0].seconds < history[-1].seconds < 60
    assert 100 < run(whole(), max_iterations=3, spent=50.0, state=history.state)[2][-1].seconds < 120
    none = run(whole(), max_iterations=2, time_limit=10.0, spent=50.0)[2]
    assert (len(none), none.reason) == (1, "the time limit of 10 seconds was reached")


def test_time_may_end_within_an_epoch_which_is_then_gone_on_with(monkeypatch):
    """The clock is that of the batches: one second each."""
    steps = []

    class Ticking(torch.optim.Adam):
        def step(self, closure=None):
            steps.append(1)
            return super().step(closure)

    clock = types.SimpleNamespace(perf_counter=lambda: float(len(steps)))
    monkeypatch.setattr(sys.modules["diffeo.fit.loop"], "time", clock)
    make = partial(Ticking, lr=0.02)
    phi, fitted, _ = run(batches(40, 8), optimizer=make, max_iterations=3)  # 15 steps
    steps.clear()
    _, _, first = run(batches(40, 8), optimizer=make, max_iterations=3, time_limit=7.0)
    assert len(steps) == 7
    assert len(first) == 3
    assert first.state["rounds"]["batch"] == 2
    again, its_loss, last = run(batches(40, 8), optimizer=make, max_iterations=3, state=first.state)
    assert len(steps) == 15
    assert len(last) == 5
    assert torch.equal(unknowns(again, its_loss), unknowns(phi, fitted))
