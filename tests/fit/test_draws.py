"""Batches drawn anew: repeatable from (seed, epoch), different in every epoch, and what flows learn from them."""

import copy
import math
from functools import partial

import pytest
import torch

from diffeo.core import Compose, Inverse
from diffeo.fields import KernelField
from diffeo.fit import Cosine, Draws, fit
from diffeo.flows import Descent, Flow, LearnedAffine
from diffeo.kernels import GaussianKernel
from diffeo.laws import Gaussian, Transported
from diffeo.losses import KLLoss
from diffeo.shapes import Points, Samples
from diffeo.solvers import Euler
from tests import zoo
from tests.oracles import distance

F64 = torch.float64
NORMAL = Gaussian.standard(2, F64)
ADAM = partial(torch.optim.Adam, lr=0.02)


def flat(batches):
    return torch.cat([x for x, _ in batches])


# ---- the batches


def test_epochs_are_repeatable_and_differ():
    draws = Draws(NORMAL, 50, 3, seed=4)
    epochs = [flat(draws.epoch(e)) for e in range(3)]
    assert all(x.shape == (150, 2) for x in epochs)
    assert draws.count() == len(list(draws.epoch(0))) == 3
    assert torch.equal(flat(Draws(NORMAL, 50, 3, seed=4).epoch(2)), epochs[2])
    everything = torch.cat([*epochs, flat(Draws(NORMAL, 50, 3, seed=5).epoch(0))])
    assert len(everything.unique(dim=0)) == len(everything) == 600
    assert distance(everything.mean(0), torch.zeros(2, dtype=F64)) < 0.2
    assert torch.equal(draws.whole()[0], epochs[0])
    assert not draws.whole()[1].any()
    assert "size=50, batches=3, seed=4" in repr(draws)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    flat(Draws(NORMAL, 5, 2).epoch(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_become_the_shape_asked_for():
    assert isinstance(Draws(NORMAL, 5).shape(NORMAL.sample(3)), Samples)
    assert isinstance(Draws(NORMAL, 5, shape=Points).shape(NORMAL.sample(3)), Points)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 2.5}, {"size": 5, "batches": 0}, {"size": 5, "seed": -1}])
def test_numbers_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match=r"Draws expects a .* that is a whole number"):
        Draws(NORMAL, **options)


# ---- fits


def start(scale=2.0):
    """An affine map, then a flow."""
    controls = 2 * NORMAL.sample(20, torch.Generator().manual_seed(0))
    flow = Flow(KernelField(GaussianKernel(scale), controls), Euler(), 3)
    return Compose([LearnedAffine(2, matrix=torch.zeros(2, 2, dtype=F64)), flow])


def draws(batches=4):
    return Draws(NORMAL, 60, batches, seed=1, shape=partial(Samples, floor=0.1))


def test_a_fit_goes_on_where_it_was_saved():
    """Nothing of the draws is kept, and they are the same, to the last bit."""
    options = {"weight": 1e-4, "optimizer": ADAM, "schedule": Cosine()}
    straight = start()
    fit(straight, draws(), KLLoss(zoo.banana), max_iterations=4, **options)
    states = []
    first = start()
    fit(first, draws(), KLLoss(zoo.banana), max_iterations=4, save=lambda s: states.append(copy.deepcopy(s)), **options)
    second = start()
    fit(second, draws(), KLLoss(zoo.banana), max_iterations=4, state=states[1], **options)
    x = NORMAL.sample(9, torch.Generator().manual_seed(3))
    assert torch.equal(second(x), straight(x))


def test_maps_that_grow_use_the_same_points_in_every_layer():
    phi = Descent(GaussianKernel(1.0))
    history = fit(phi, draws(1), KLLoss(zoo.banana), weight=0.0, max_iterations=5)
    assert len(phi.layers()) == 5
    assert history[-1].data < history[0].data
    assert torch.equal(phi.layer_fields()[0].controls, flat(draws(1).epoch(0)))


def test_draws_validate():
    """A validation set that is drawn, too."""
    history = fit(
        start(),
        draws(2),
        KLLoss(zoo.banana),
        optimizer=ADAM,
        validation=Draws(NORMAL, 200, seed=9, shape=partial(Samples, floor=0.1)),
        max_iterations=3,
    )
    assert all(record.validation is not None for record in history.records)


# ---- reverse KL to a density that is known up to its constant


def bent(x):
    """log of a banana without its constant: x₁ ~ N(0, 9/4), x₂ | x₁ ~ N(x₁²/4, ¼); Z = 3π/2."""
    return -x[:, 0].square() / 4.5 - 2 * (x[:, 1] - x[:, 0].square() / 4).square()


def quadrature(function):
    """∫ f(x) exp(bent(x)) dx on a grid."""
    x, y = torch.linspace(-12, 12, 500, dtype=F64), torch.linspace(-4, 40, 900, dtype=F64)
    grid = torch.cartesian_prod(x, y)
    return float((function(grid) * bent(grid).exp()).sum() * (x[1] - x[0]) * (y[1] - y[0]))


@pytest.mark.slow
def test_a_flow_finds_mean_variance_and_constant_of_a_banana():
    """−KLLoss + H(z) is a bound of log Z from below; importance weights of the flow's density give the rest."""
    Z = quadrature(lambda x: torch.ones(len(x), dtype=F64))
    mean = [quadrature(lambda x, k=k: x[:, k]) / Z for k in range(2)]
    variance = [quadrature(lambda x, k=k: x[:, k] ** 2) / Z - mean[k] ** 2 for k in range(2)]
    assert pytest.approx(1.5 * math.pi, rel=1e-6) == Z
    assert mean == pytest.approx([0, 9 / 16], abs=1e-6)
    assert variance == pytest.approx([9 / 4, 1 / 4 + 2 * (9 / 16) ** 2], rel=1e-6)

    z = NORMAL.sample(1000, torch.Generator().manual_seed(0))
    phi = start(3.0)
    fit(phi, [(Samples(z, floor=0.1), None)], KLLoss(bent), weight=1e-6, max_iterations=80)
    law = Transported(Inverse(phi), NORMAL)
    with torch.no_grad():
        x = law.sample(4000, torch.Generator().manual_seed(1))
        log_weights = bent(x) - law.log_prob(x)
    bound = float(log_weights.mean())
    assert math.log(Z) - 0.1 < bound < math.log(Z) + 0.02
    assert float(log_weights.logsumexp(0)) - math.log(4000) == pytest.approx(math.log(Z), abs=0.02)
    weights = log_weights.softmax(0)
    for k in range(2):
        found = float(weights @ x[:, k])
        assert found == pytest.approx(mean[k], abs=0.1)
        assert float(weights @ (x[:, k] - found) ** 2) == pytest.approx(variance[k], rel=0.1)


@pytest.mark.slow
def test_fresh_draws_are_not_overfitted():
    """Ten points learned by heart, or as many steps on fresh ones: on new points the latter fit better."""
    bounds = {}
    few = NORMAL.sample(10, torch.Generator().manual_seed(0))
    test = NORMAL.sample(2000, torch.Generator().manual_seed(7))
    shape = partial(Samples, floor=0.1)
    for name, law in (("few", None), ("fresh", NORMAL)):
        phi = start()
        data = [(shape(few), None)] if law is None else Draws(law, 100, 5, shape=shape)
        count = 100 if law is None else 20
        fit(
            phi,
            data,
            KLLoss(bent),
            weight=1e-5,
            optimizer=ADAM,
            schedule=Cosine(),
            max_iterations=count,
            tolerance=None,
        )
        with torch.no_grad():
            bounds[name] = float(KLLoss(bent)(phi @ shape(test)))
    assert bounds["fresh"] < bounds["few"] - 0.3
    best = float(-NORMAL.log_prob(test).mean()) - math.log(1.5 * math.pi)
    assert best - 0.05 < bounds["fresh"] < best + 0.3
