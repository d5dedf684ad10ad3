"""L-BFGS with few evaluations: it minimizes, whatever the units, and notices what it cannot compute."""

import copy
import math

import pytest
import torch

from diffeo.fit import fit
from diffeo.flows import Geodesic
from diffeo.kernels import GaussianKernel
from diffeo.losses import LandmarkLoss
from diffeo.registration.lbfgs import FrugalLBFGS
from diffeo.shapes import Points
from tests.oracles import cloud, distance

F64 = torch.float64


class Counted:
    """A closure that counts its calls."""

    def __init__(self, function, parameters):
        self.function, self.parameters, self.calls = function, parameters, 0

    def __call__(self):
        self.calls += 1
        for p in self.parameters:
            p.grad = None
        value = self.function(*self.parameters)
        value.backward()
        return value


def minimized(function, start, iterations, **options):
    """Parameters after some iterations, and the closure."""
    parameters = [p.clone().requires_grad_() for p in start]
    optimizer, closure = FrugalLBFGS(parameters, **options), Counted(function, parameters)
    for _ in range(iterations):
        optimizer.step(closure)
    return [p.detach() for p in parameters], closure


def bowl(n=50, condition=1e2):
    """A quadratic with eigenvalues from 1 to the condition, in two tensors."""
    eigenvalues = torch.logspace(0, math.log10(condition), n, dtype=F64)
    target = cloud(n, 1, seed=3)[:, 0]
    return lambda a, b: 1 + 0.5 * (eigenvalues * (torch.cat([a.flatten(), b]) - target).square()).sum(), target


def test_a_quadratic_is_minimized():
    function, target = bowl()
    (a, b), _ = minimized(function, [torch.zeros(4, 5, dtype=F64), torch.zeros(30, dtype=F64)], 100)
    assert distance(torch.cat([a.flatten(), b]), target) < 1e-6


def test_a_bent_valley_is_followed():
    def rosenbrock(x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    (x,), _ = minimized(rosenbrock, [torch.tensor([-1.2, 1.0], dtype=F64)], 60)
    assert distance(x, torch.ones(2, dtype=F64)) < 1e-6


def test_it_takes_hardly_more_than_one_evaluation_per_iteration():
    function, _ = bowl()
    _, closure = minimized(function, [torch.zeros(4, 5, dtype=F64), torch.zeros(30, dtype=F64)], 50)
    assert closure.calls - 50 < 1.3 * 50  # the first of every iteration was asked for before: `fit` remembers it


@pytest.mark.parametrize("unit", [1e-5, 1e5])
@pytest.mark.parametrize("worth", [1e-6, 1e6])
def test_units_do_not_matter(unit, worth):
    function, _ = bowl()
    start = [cloud(4, 5), cloud(30, 1, seed=1)[:, 0]]
    (a, _), _ = minimized(function, start, 10)
    (c, _), _ = minimized(lambda x, y: worth * function(x / unit, y / unit), [unit * p for p in start], 10)
    assert distance(c / unit, a) < 1e-8
    assert distance(a, start[0]) > 0.1


def test_what_cannot_be_computed_is_kept_away_from():
    def wall(x):
        if float(x.detach()) < 0.5:
            raise ArithmeticError("no")
        return x.square()

    (x,), _ = minimized(lambda x: wall(x).sum(), [torch.tensor([4.0], dtype=F64)], 40, first=10.0)
    assert 0.5 <= float(x) < 1.0


def test_at_a_minimum_nothing_moves():
    start = torch.zeros(3, dtype=F64)
    (x,), _ = minimized(lambda x: 1 + x.square().sum(), [start], 3)
    assert torch.equal(x, start)


def test_a_misleading_memory_is_forgotten():
    function, _ = bowl(condition=10)
    a, b = torch.zeros(4, 5, dtype=F64, requires_grad=True), torch.zeros(30, dtype=F64, requires_grad=True)
    optimizer, closure = FrugalLBFGS([a, b]), Counted(function, [a, b])
    optimizer.step(closure)
    memory = optimizer.state[a]
    memory["y"] = [-1e-9 * y for y in memory["y"]]
    before = float(function(a, b).detach())
    optimizer.step(closure)
    assert float(function(a, b).detach()) < before
    assert len(memory["s"]) == 1


def test_it_goes_on_exactly_from_a_saved_state():
    function, _ = bowl()
    a, b = torch.zeros(4, 5, dtype=F64, requires_grad=True), torch.zeros(30, dtype=F64, requires_grad=True)
    optimizer, closure = FrugalLBFGS([a, b]), Counted(function, [a, b])
    for _ in range(5):
        optimizer.step(closure)
    c, d = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    other = FrugalLBFGS([c, d])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(5):
        optimizer.step(closure)
        other.step(Counted(function, [c, d]))
    assert torch.equal(a, c)
    assert torch.equal(b, d)


@pytest.mark.slow
def test_a_registration_is_as_good_with_fewer_evaluations():
    x, y = cloud(20, 2), cloud(20, 2) + 0.3 * cloud(20, 2, seed=1)
    found = {}
    for optimizer in ("default", FrugalLBFGS):
        phi = Geodesic(GaussianKernel(0.5), x)
        options = {} if optimizer == "default" else {"optimizer": optimizer}
        found[optimizer] = fit(phi, [(Points(x), Points(y))], LandmarkLoss(), weight=1e-2, **options)[-1].objective
    assert found[FrugalLBFGS] == pytest.approx(found["default"], rel=1e-3)


def test_where_all_is_well_nothing_moves():
    still = Geodesic(GaussianKernel(1), cloud(3, 2))
    history = fit(still, [(Points(cloud(3, 2)), Points(cloud(3, 2)))], LandmarkLoss(), optimizer=FrugalLBFGS)
    assert history.converged
    assert float(still.energy().detach()) == 0
