"""Laws of ways to make a step."""

from functools import partial

import pytest
import torch

from diffeo import Cosine, Euclidean, InV, Method, PerceptronField, Points, objective
from diffeo.core import Compose
from diffeo.fit import LBFGS, Stepper
from diffeo.flows import Flow
from tests.fit.networks import F64, batches, data, loss, network, train, unknowns, whole
from tests.oracles import cloud


def gradients(phi, fitted, pairs):
    """Euclidean gradients at present."""
    total = objective(phi, pairs, fitted, 1e-3).total
    return torch.autograd.grad(total, [*phi.parameters(), *fitted.parameters()])


@pytest.mark.parametrize("depth", [1, 5])
def test_a_step_in_v_is_the_gradient_times_the_rates(depth):
    """And for a read-out, whose metric is the plain one, the gradient itself."""
    phi, fitted, pairs = network(depth), loss(), whole()
    start, g = unknowns(phi, fitted), gradients(phi, fitted, pairs)
    rates = [rate for _, rate in phi.rates()] + [1.0] * len(list(fitted.parameters()))
    train(phi, pairs, fitted, optimizer=InV(partial(torch.optim.SGD, lr=0.1)), max_iterations=1)
    expected = start - 0.1 * torch.cat([rate * part.flatten() for rate, part in zip(rates, g, strict=True)])
    assert (unknowns(phi, fitted) - expected).abs().max() < 1e-14
    assert rates[0] == depth


def test_the_gradient_in_v_is_that_in_v():
    """⟨∇_V E, w⟩_V = dE(w) for every direction w: the metric h Σ‖w_k‖² with h = 1/L, and a perceptron's own."""
    field = PerceptronField(2, 6, scale=2.0, outer=cloud(6, 2)).to(F64)
    for phi in (network(3), Flow(field, steps=3), Compose([network(2), network(3)])):
        fitted = loss()
        rates = {id(p): rate for p, rate in phi.rates()}
        for p, g in zip(phi.parameters(), gradients(phi, fitted, whole()), strict=False):
            step = g * rates[id(p)]
            assert rates[id(p)] > 1
            assert (step * g).sum() / rates[id(p)] == pytest.approx(g.square().sum())


def curves(depths, make, iterations):
    """The objective along training, for each depth, and the last iterate's: one learning rate for all."""
    step = InV(partial(torch.optim.SGD, lr=0.5))
    histories = [train(make(depth), whole(), fixed(), optimizer=step, max_iterations=iterations) for depth in depths]
    return torch.tensor([[r.data for r in h.records] for h in histories])


def fixed():
    """A loss that leaves the learning to the map."""
    return loss().requires_grad_(False)


@pytest.mark.slow
def test_one_learning_rate_serves_every_depth():
    shallow, deep = curves([10, 60], network, 12)
    assert shallow[-1] < 0.6 * shallow[0]
    assert ((deep - shallow).abs() / shallow).max() < 0.04
    plain = train(network(60), whole(), fixed(), optimizer=partial(torch.optim.SGD, lr=0.5), max_iterations=12)
    assert abs(plain[-1].data - float(shallow[-1])) > 0.1 * shallow[-1]  # without the rates it does not


@pytest.mark.slow
def test_depth_1000_trains_as_depth_10_does():
    shallow, deep = curves([10, 1000], partial(network, checkpoint=True), 12)
    assert shallow[-1] < 0.6 * shallow[0]
    assert ((deep - shallow).abs() / shallow).max() < 0.05


def test_gradients_in_v_and_line_searches_do_not_go_together():
    with pytest.raises(ValueError, match=r"the line search of LBFGS.* needs those of the objective"):
        train(network(), whole(), loss(), optimizer=InV(LBFGS))
    with pytest.raises(ValueError, match="compare values of one objective, which minibatches change"):
        train(network(), batches(), loss(), optimizer=LBFGS)


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(ValueError, match="got one that makes a list"):
        train(network(), whole(), loss(), optimizer=list)


class Halving(Method):
    """Goes half the way to where all unknowns are 0, or twice as far."""

    def __init__(self, factor=0.5):
        self.factor = factor

    def bind(self, problem):
        method = self

        class Bound(Stepper):
            count = 0

            @torch.no_grad()
            def step(self):
                for p in problem.parameters:
                    p.mul_(method.factor)
                self.count += 1
                self.finished = self.count == 4

            def state_dict(self):
                return {"count": self.count}

            def load_state_dict(self, state):
                self.count = state["count"]

        return Bound()


@pytest.mark.parametrize("on", [whole, batches])
def test_a_method_of_ones_own(on):
    """It need not ask for the objective; the loop does. It takes a step per batch, and ends when it says so."""
    fitted, states = loss(), []
    steps = 1 if on is whole else 3
    history = train(network(), on(), fitted, optimizer=Halving(), save=states.append, max_iterations=6)
    assert history[1].objective != history[0].objective
    assert len(history) == 5 if on is whole else 7
    assert history.reason == "no further decrease is possible" if on is whole else "all epochs are done"
    assert [state["optimizer"]["count"] for state in states[:2]] == [steps, 2 * steps]
    assert torch.equal(states[1]["others"][0]["head.weight"], loss().head.weight * 0.5 ** (2 * steps))


def test_a_method_that_cannot_take_shorter_steps_ends_where_it_diverges():
    phi, fitted = network(), loss()
    history = train(phi, whole(), fitted, optimizer=Halving(1e200))
    assert history.reason.startswith("diverged")
    assert not history.converged
    assert torch.equal(unknowns(fitted), unknowns(loss()))


class Leaping(Method):
    """A leap that leads nowhere, then one small step, and no more."""

    def bind(self, problem):
        class Bound(Stepper):
            length = 1e200

            @torch.no_grad()
            def step(self):
                for p in problem.parameters:
                    p.add_(self.length)
                self.finished = True

            def shorten(self, factor):
                self.length = 1e-6
                return True

            def state_dict(self):
                return {}

            def load_state_dict(self, state):
                pass

        return Bound()


def test_what_recovers_has_not_diverged():
    history = train(network(), whole(), loss(), optimizer=Leaping())
    assert len(history) == 2
    assert history.reason == "no further decrease is possible"


def test_a_schedule_needs_something_to_act_on():
    with pytest.raises(ValueError, match="this way to train has none"):
        train(network(), whole(), loss(), optimizer=Halving(), schedule=Cosine())


def test_methods_name_what_they_do():
    assert repr(InV(partial(torch.optim.SGD, lr=0.5))) == "InV(SGD, lr=0.5)"
    assert repr(Euclidean(torch.optim.Adam)) == "Euclidean(Adam)"


def test_a_plain_factory_and_its_method_are_the_same():
    ends = []
    for optimizer in (partial(torch.optim.Adam, lr=0.05), Euclidean(partial(torch.optim.Adam, lr=0.05))):
        phi, fitted = network(), loss()
        train(phi, [(Points(data()[0]), data()[1])], fitted, optimizer=optimizer)
        ends.append(unknowns(phi, fitted))
    assert torch.equal(*ends)
