"""Flows that are stopped on their way: points go straight between steps, and densities are theirs at any place."""

import math

import numpy as np
import pytest
import torch

from diffeo.flows import Flow
from diffeo.laws import Gaussian
from diffeo.solvers import Midpoint
from diffeo.viz.partway import Partway, partial, steps_of, undone
from tests import zoo
from tests.oracles import cloud

F64 = torch.float64
PLACES = np.array([0.0, 0.4, 1.0, 1.7, 3.0])


def flow(d, **options):
    return zoo.flow(zoo.GAUSSIAN, 3, **options)(d, F64, 0)


WAYS = {
    "one column": (lambda: [flow(1)], 1),
    "the plane": (lambda: [flow(2)], 2),
    "in space": (lambda: [flow(3)], 3),
    "steps of the midpoint rule": (lambda: [flow(2, solver=Midpoint())], 2),
    "a map in one step between others": (lambda: [flow(2), zoo.affine(2, F64, 0)], 2),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_density_on_its_way_is_that_of_the_points(name):
    parts, d = WAYS[name][0](), WAYS[name][1]
    way, x, base = Partway(parts), cloud(40, d), Gaussian.standard(d, F64)
    steps = len(way.steps)
    places = np.append(PLACES * steps / 3, steps - 0.3)
    positions, logdet = way.at(x, places), way.logdet(x, places)
    start = way.log_density(base, 0.0, x).numpy()
    assert np.allclose(positions[-2], parts[-1](parts[0](x) if len(parts) > 1 else x).detach())
    for place, y, grown in zip(places, positions, logdet, strict=True):
        there = way.log_density(base, float(place), torch.from_numpy(y)).numpy()
        assert np.allclose(there, start - grown, atol=1e-9)
    assert np.allclose(way.log_density(base, steps, x).numpy(), base(x).numpy())


@pytest.mark.parametrize("place", [0.5, 2.25])
def test_a_density_on_its_way_has_mass_one(place):
    way = Partway([flow(1)])
    x = torch.linspace(-12, 12, 4001, dtype=F64)[:, None]
    p = way.log_density(Gaussian.standard(1, F64), place, x).exp()
    assert float(torch.trapezoid(p, x[:, 0])) == pytest.approx(1, abs=1e-6)


def test_a_part_of_a_step_is_a_shorter_one():
    x = cloud(20, 2)
    for step in (*steps_of(flow(2)), *steps_of(flow(2, solver=Midpoint()))):
        part = partial(step, 0.3)
        y, jacobian = part.with_jacobian(x)
        assert torch.allclose(y, 0.7 * x + 0.3 * step(x))
        assert torch.allclose(jacobian, 0.7 * torch.eye(2, dtype=F64) + 0.3 * step.with_jacobian(x)[1])
        assert torch.allclose(part.inverse(y), x)


def test_stops_are_evenly_spread_over_the_way():
    way, x = Partway([flow(2)]), cloud(30, 2)
    stops = way.at(x, way.places(x, 6))
    far = np.linalg.norm(np.diff(way.at(x, np.linspace(0, 3, 3001)), axis=0), axis=2).mean(1).cumsum()
    reached = np.interp(way.places(x, 6), np.linspace(0, 3, 3001), np.append(0, far))
    assert np.allclose(reached, np.linspace(0, far[-1], 6), atol=1e-3 * far[-1])
    assert np.allclose(stops[0], x)


def test_nothing_moves_where_there_is_no_part():
    way, x = Partway([]), cloud(10, 2)
    assert (way.places(x, 4) == 0).all()
    assert np.allclose(way.at(x, way.places(x, 4)), x)
    assert not way.logdet(x, way.places(x, 4)).any()


def test_where_a_step_folds_there_is_no_density():
    folding = Flow([zoo.field(zoo.GAUSSIAN)(2, F64, k) for k in range(3)])
    with torch.no_grad():
        for p in folding.parameters():
            p.mul_(60)
    way, x = Partway([folding]), cloud(300, 2)
    p = way.log_density(Gaussian.standard(2, F64), 0.5, x)
    assert 0 < int(p.isnan().sum()) < 300
    back = undone(partial(way.steps[0], 1.0), x)
    found = ~back.isnan().any(1)
    assert bool(found.any())
    assert torch.allclose(way.steps[0](back[found]), x[found], atol=1e-8)
    assert math.isnan(float(way.log_density(Gaussian.standard(2, F64), 0.5, x[p.isnan()]).sum()))
