"""Laws of averages along a training."""

import copy
from functools import partial

import pytest
import torch

from diffeo import Averaged
from diffeo.fit import LBFGS
from tests.fit.networks import ADAM, batches, loss, network, run, train, unknowns, whole

SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.5)


def steps(number):
    """Where plain steps lead, one after the other."""
    for k in range(1, number + 1):
        phi, fitted, _ = run(batches(size=40), optimizer=SGD, max_iterations=k)
        yield unknowns(phi, fitted)


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.95])
def test_it_is_the_average_of_steps_that_it_does_not_change(decay):
    mean = torch.zeros(())
    for k, point in enumerate(steps(5), 1):
        mean = mean + (1 - min(decay, 1 - 1 / k)) * (point - mean)
    phi, fitted, _ = run(batches(size=40), optimizer=Averaged(SGD, decay), max_iterations=5)
    assert (unknowns(phi, fitted) - mean).abs().max() < 1e-13


def test_what_is_validated_and_kept_is_the_average():
    """Validation sees the parameters that a shorter training ends with."""
    phi, fitted = network(), loss()
    seen = []

    def score():
        seen.append(unknowns(phi, fitted))
        return float(len(seen))

    train(phi, batches(), fitted, optimizer=Averaged(ADAM, 0.8), max_iterations=3, validation=score)
    for k in range(1, 4):
        shorter, its_loss, _ = run(batches(), optimizer=Averaged(ADAM, 0.8), max_iterations=k)
        assert torch.equal(seen[k], unknowns(shorter, its_loss))
    assert torch.equal(unknowns(phi, fitted), seen[0])


def test_resuming_is_exact():
    states = []
    options = {"optimizer": Averaged(ADAM, 0.8), "save": lambda state: states.append(copy.deepcopy(state))}
    phi, fitted, history = run(batches(), **options)
    again, its_loss, resumed = run(batches(), optimizer=Averaged(ADAM, 0.8), state=states[1])
    assert [r.objective for r in resumed.records] == [r.objective for r in history.records]
    assert torch.equal(unknowns(again, its_loss), unknowns(phi, fitted))


def test_it_descends_on_all_pairs_at_once():
    _, _, history = run(whole(), optimizer=Averaged(ADAM, 0.5), max_iterations=20)
    assert history[-1].objective < 0.5 * history[0].objective


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_bad_decays_are_refused(decay):
    with pytest.raises(ValueError, match="Averaged expects a decay"):
        Averaged(ADAM, decay)


def test_line_searches_are_refused():
    with pytest.raises(ValueError, match="without a line search"):
        run(whole(), optimizer=Averaged(LBFGS))
