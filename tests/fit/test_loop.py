"""Laws of the optimization loop."""

import functools
import itertools

import pytest
import torch

from diffeo import (
    Descent,
    GaussianKernel,
    Geodesic,
    Grid,
    History,
    Image,
    LandmarkLoss,
    MMDLoss,
    Points,
    SSDLoss,
    fit,
    objective,
)
from diffeo.core import Loss
from diffeo.flows import GridDescent
from diffeo.losses.images import NothingInCommonError
from diffeo.solvers import RK4
from tests.registration.shapes import bent, cloud

KERNEL = GaussianKernel(0.8)


def problem(n=25):
    source = cloud(n)
    return Geodesic(KERNEL, source.x, RK4(), 5), [(source, bent(source)[0])]


OPTIMIZERS = {
    "L-BFGS": None,
    "Adam": functools.partial(torch.optim.Adam, lr=0.02),
    "SGD": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.5),
}


def run(phi, pairs, optimizer=None, **options) -> History:
    options = {"weight": 1e-4, "max_iterations": 40, "tolerance": 0.0} | options
    return fit(phi, pairs, LandmarkLoss(), **({"optimizer": optimizer} if optimizer else {}), **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.slow
def test_every_optimizer_lowers_the_objective_and_leaves_the_best_point(optimizer):
    phi, pairs = problem()
    history = run(phi, pairs, optimizer)
    assert history[-1].data < 0.2 * history[0].data
    value = objective(phi, pairs, LandmarkLoss(), 1e-4)
    assert float(value.total.detach()) == pytest.approx(min(r.objective for r in history.records), rel=1e-12)
    for record in history.records:
        assert record.objective == pytest.approx(record.weight * record.energy + record.data, rel=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.parametrize("after", [1, 7])
@pytest.mark.slow
def test_resuming_is_exact(optimizer, after):
    phi, pairs = problem()
    whole = run(phi, pairs, optimizer, max_iterations=12)
    states = []
    first, pairs = problem()
    run(first, pairs, optimizer, max_iterations=after, save=states.append)
    second, pairs = problem()
    resumed = run(second, pairs, optimizer, max_iterations=12, state=states[-1])
    assert [r.objective for r in resumed.records] == [r.objective for r in whole.records]
    assert torch.equal(second.momenta, phi.momenta)


@pytest.mark.slow
def test_stopping_by_tolerance_floor_and_count():
    phi, pairs = problem()
    by_tolerance = run(phi, pairs, max_iterations=500, tolerance=0.05)
    assert by_tolerance.converged
    phi, pairs = problem()
    by_count = run(phi, pairs, max_iterations=3)
    assert not by_count.converged
    assert len(by_count) == 4
    phi, pairs = problem()
    by_floor = run(phi, pairs, max_iterations=500, floor=1e-3)
    assert by_floor.converged
    assert len(by_floor) < len(by_tolerance) * 3


class Cliff(Loss):
    """A loss that is not a number beyond a certain displacement: the first step of the optimizer falls off it."""

    def __init__(self, width: float, value: float) -> None:
        super().__init__()
        self.width, self.value = width, value

    def forward(self, moved, target):
        loss = (moved.x - target.x).square().sum()
        return loss * self.value if float(moved.x.detach().abs().max()) > self.width else loss

    def rescaled(self, factor):
        return self


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e12])
@pytest.mark.slow
def test_a_diverging_step_is_retried_smaller(value):
    source = Points(torch.zeros(1, 2).double() + torch.tensor([[0.1, 0.0]]).double())
    target = Points(torch.tensor([[1.0, 0.0]]).double())
    phi = Geodesic(KERNEL, source.x, RK4(), 5)
    step = functools.partial(torch.optim.SGD, lr=1.0)
    history = fit(phi, [(source, target)], Cliff(1.5, value), weight=1e-6, optimizer=step, max_iterations=60)
    assert history[-1].data < 1e-2 * history[0].data


def test_divergence_that_cannot_be_helped_is_told_and_the_best_point_kept():
    source, target = Points(torch.tensor([[0.1, 0.0]]).double()), Points(torch.tensor([[1.0, 0.0]]).double())
    phi = Geodesic(KERNEL, source.x, RK4(), 5)
    step = functools.partial(torch.optim.SGD, lr=1e9)
    history = fit(phi, [(source, target)], Cliff(0.2, float("nan")), weight=1e-6, optimizer=step)
    assert not history.converged
    assert "diverged" in history.reason
    assert float(phi.energy().detach()) == 0


def test_an_impossible_start_is_refused():
    phi, pairs = problem()
    with pytest.raises(ValueError, match="at the start"):
        fit(phi, pairs, Cliff(-1.0, float("nan")))
    with pytest.raises(ValueError, match="weight"):
        fit(phi, pairs, LandmarkLoss(), weight=-1.0)


def test_an_interrupt_keeps_the_best_point():
    phi, pairs = problem()
    seen = []

    def stop(record):
        seen.append(record)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(phi, pairs, callbacks=[stop])
    value = objective(phi, pairs, LandmarkLoss(), 1e-4)
    assert float(value.total.detach()) == pytest.approx(min(r.objective for r in seen), rel=1e-12)


def test_growth_is_a_descent():
    source = cloud(40)
    pairs = [(source, bent(source)[0])]
    phi = Descent(KERNEL)
    history = fit(phi, pairs, MMDLoss(KERNEL), weight=0.0, max_iterations=15)
    values = [r.data for r in history.records]
    assert all(b < a for a, b in itertools.pairwise(values))
    assert len(phi.fields) >= 10


class Apart(Cliff):
    """Beyond the cliff, nothing is in common."""

    def forward(self, moved, target):
        if float(moved.x.detach().abs().max()) > self.width:
            raise NothingInCommonError("they are apart.")
        return super().forward(moved, target)


@pytest.mark.slow
def test_a_step_after_which_nothing_is_in_common_is_a_step_too_far():
    """Shorter ones are tried; where there is nothing in common from the start, it is said as it is."""
    source = Points(torch.tensor([[0.1, 0.0]]).double())
    target = Points(torch.tensor([[1.0, 0.0]]).double())
    phi = Geodesic(KERNEL, source.x, RK4(), 5)
    step = functools.partial(torch.optim.SGD, lr=10.0)
    history = fit(phi, [(source, target)], Apart(1.5, 0.0), weight=1e-6, optimizer=step, max_iterations=60)
    assert history[-1].data < 1e-2 * history[0].data
    with pytest.raises(ValueError, match=r"^they are apart"):
        fit(phi, [(source, target)], Apart(-1.0, 0.0))


def test_what_grew_too_far_goes_back_to_the_best_point():
    """A step that is too long for the last bit of the way makes things worse before the fit ends."""
    grid = Grid((24, 24), torch.eye(3))
    y, x = grid.indices(torch.zeros(()).double())
    source, target = (Image(torch.exp(-((x - a) ** 2 + (y - 12) ** 2) / 18)[None], grid) for a in (11.0, 13.5))
    grown = GridDescent(grid, GaussianKernel(1.5), torch.zeros(2, 24, 24).double(), step=1.5, relaxation=0.6)
    history = fit(grown, [(source, target)], SSDLoss(), weight=0.0, tolerance=0.0)
    values = [r.objective for r in history.records]
    assert min(values) < 0.9 * min(values[0], values[-1])
    assert float(objective(grown, [(source, target)], SSDLoss(), 0.0).total) == min(values)
    again = GridDescent(grid, GaussianKernel(1.5), torch.zeros(2, 24, 24).double(), step=1.5, relaxation=0.6)
    fit(again, [(source, target)], SSDLoss(), weight=0.0, tolerance=0.0, state=history.state)
    assert torch.equal(again.u, grown.u)


def test_accepted_points_are_not_computed_twice():
    phi, pairs = problem()
    calls = []

    class Counting(LandmarkLoss):
        def forward(self, moved, target):
            calls.append(1)
            return super().forward(moved, target)

    history = fit(phi, pairs, Counting(), weight=1e-4, max_iterations=20, tolerance=0.0)
    assert len(calls) < 1.6 * len(history)


def test_an_objective_that_rises_is_no_convergence():
    """A step that goes uphill is taken for what it is, and the best point, the start, is kept."""
    phi, pairs = problem()
    uphill = functools.partial(torch.optim.SGD, lr=0.01, maximize=True)
    history = fit(phi, pairs, LandmarkLoss(), optimizer=uphill, max_iterations=30)
    assert history[-1].objective > history[0].objective
    assert not history.converged
    assert history.reason == "the objective rises"
    assert float(phi.energy().detach()) == 0
