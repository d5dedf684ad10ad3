"""Laws of what is trained: the map, the read-out in the loss, read-ins."""

from functools import partial

import pytest
import torch

from diffeo import Descent, Encoded, GaussianKernel, LinearReadIn, LinearReadOut, Points, SquaredLoss, objective
from diffeo.fit import LBFGS
from tests.fit.networks import ADAM, F64, SGD, batches, data, loss, network, train, unknowns
from tests.oracles import cloud

METHODS = {"L-BFGS": LBFGS, "Adam": ADAM, "SGD in V": SGD}
methods = pytest.mark.parametrize("optimizer", METHODS.values(), ids=METHODS.keys())


def everything():
    """A network, a loss with a read-out, a trained read-in, and pairs that go through it."""
    x = cloud(30, 3, seed=1)
    read_in = LinearReadIn(3, 2).to(F64)
    return network(), loss(), read_in, [(Encoded(x, read_in), torch.sin(x[:, :2]))]


@methods
def test_all_is_trained_and_left_at_the_best_point(optimizer):
    phi, fitted, read_in, pairs = everything()
    before = [unknowns(m) for m in (phi, fitted, read_in)]
    # a learning rate that does not fit all the time: the last point is not always the best
    history = train(phi, pairs, fitted, modules=[read_in], optimizer=optimizer, max_iterations=15)
    assert all((unknowns(m) - b).abs().max() > 1e-3 for m, b in zip((phi, fitted, read_in), before, strict=True))
    total = objective(phi, pairs, fitted, 1e-3).total
    assert float(total.detach()) == pytest.approx(min(r.objective for r in history.records), rel=1e-12)


@methods
def test_resuming_is_exact_for_all_of_it(optimizer):
    phi, fitted, read_in, pairs = everything()
    whole = train(phi, pairs, fitted, modules=[read_in], optimizer=optimizer, max_iterations=8)
    first, its_loss, its_read_in, pairs = everything()
    states = []
    train(first, pairs, its_loss, modules=[its_read_in], optimizer=optimizer, max_iterations=3, save=states.append)
    second, again, another, pairs = everything()
    options = {"modules": [another], "optimizer": optimizer, "max_iterations": 8, "state": states[-1]}
    resumed = train(second, pairs, again, **options)
    assert [r.objective for r in resumed.records] == [r.objective for r in whole.records]
    assert torch.equal(unknowns(second, again, another), unknowns(phi, fitted, read_in))


def test_a_state_serves_twice():
    """What was saved is not written to by who goes on from it."""
    phi, fitted, read_in, pairs = everything()
    state = train(phi, pairs, fitted, modules=[read_in], optimizer=ADAM, max_iterations=3).state
    ends = []
    for _ in range(2):
        phi, fitted, read_in, pairs = everything()
        train(phi, pairs, fitted, modules=[read_in], optimizer=ADAM, max_iterations=6, state=state)
        ends.append(unknowns(phi, fitted, read_in))
    assert torch.equal(*ends)


def test_the_state_of_something_else_is_refused():
    phi, fitted, read_in, pairs = everything()
    state = train(phi, pairs, fitted, modules=[read_in], optimizer=ADAM, max_iterations=2).state
    for phi, optimizer, on in ((network(7), ADAM, pairs), (network(), ADAM, batches()), (network(), LBFGS, pairs)):
        with pytest.raises(ValueError, match="is that of another map, loss, optimizer or kind of data"):
            train(phi, on, loss(), optimizer=optimizer, state=state, max_iterations=4)


def test_what_is_fixed_stays():
    phi, fitted, read_in, pairs = everything()
    fixed = [phi.fields[0].requires_grad_(False), fitted.requires_grad_(False)]
    before = unknowns(*fixed)
    train(phi, pairs, fitted, modules=[read_in])
    assert torch.equal(unknowns(*fixed), before)
    assert unknowns(phi.fields[1]).abs().max() > 0


def test_a_parameter_that_two_modules_share_is_trained_once():
    """A head given twice, in the loss and as a module, makes the steps of one that is given once."""
    x, y = data(20)
    ends = []
    for twice in (False, True):
        phi, fitted = network(), loss()
        modules = [fitted.head] if twice else []
        train(phi, [(Points(x), y)], fitted, modules=modules, optimizer=partial(torch.optim.SGD, lr=0.1))
        ends.append(unknowns(phi, fitted))
    assert torch.equal(*ends)


def test_a_read_in_is_not_trained_below_layers_that_grow_on_it():
    read_in = LinearReadIn(3, 2)
    with pytest.raises(ValueError, match="Descent grows on what its sources are"):
        train(Descent(GaussianKernel(1.0)), [], SquaredLoss(LinearReadOut(2, 2)), modules=[read_in])


def test_nothing_to_train_is_said_to_be_so():
    phi, fitted, _, pairs = everything()
    phi.requires_grad_(False)
    fitted.requires_grad_(False)
    history = train(phi, pairs, fitted)
    assert history.reason == "no further decrease is possible"
    assert history[-1].objective == history[0].objective
