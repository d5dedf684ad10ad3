"""Points on the way of a map: where it begins, where it ends, and evenly in between."""

import numpy as np
import pytest
import torch

from diffeo.core import Compose
from diffeo.viz.timeline import Timeline, between, timeline
from tests import zoo
from tests.marks import cases
from tests.oracles import cloud
from tests.viz.bumps import Bumps

FAST = {"Geodesic", "Flow(Euler)", "Descent", "Affine", "Compose", "Warp", "GridDescent", "Flow(SeparableField)"}
DIFFEOS = {str(entry): entry for entry in zoo.DIFFEOS if 2 in entry.dimensions}
diffeos = pytest.mark.parametrize("entry", cases(DIFFEOS, slow=[name for name in DIFFEOS if name not in FAST]))


@diffeos
def test_the_way_begins_with_the_points_and_ends_with_the_map(entry):
    phi, x = entry(2), cloud(15, 2)
    way = timeline(phi, x, 7)
    with torch.no_grad():
        y, logdet = phi.with_logdet(x)
    tolerance = entry.inexact or 1e-9
    assert way.positions.shape == (7, 15, 2)
    assert np.array_equal(way.positions[0], x.numpy())
    assert way.positions[-1] == pytest.approx(y.numpy(), abs=tolerance)
    assert np.array_equal(way.logdet[0], np.zeros(15))
    assert way.logdet[-1] == pytest.approx(logdet.numpy(), abs=10 * tolerance)


@diffeos
def test_moments_are_even_in_length(entry):
    """Of the broken line through the layers; between moments a corner may be cut, which only makes a step shorter."""
    phi, x = entry(2), cloud(15, 2)
    way = timeline(phi, x, 9)
    with torch.no_grad():
        path = torch.stack(phi.path(x))
    whole = float((path[1:] - path[:-1]).norm(dim=2).mean(1).sum())
    steps = np.linalg.norm(np.diff(way.positions, axis=0), axis=2).mean(1)
    assert (steps <= whole / 8 * (1 + 1e-9)).all()
    assert np.array_equal(way.times, np.linspace(0, 1, 9))
    assert (np.diff(way.times) > 0).all()


def test_moments_of_a_straight_way_are_even_however_layers_are():
    """Three translations of different lengths: every moment is an eighth of the way on."""

    class Straight(Bumps):
        def path(self, x):
            return [x, x + 0.1, x + 0.7, x + 1.0]

    x = cloud(4, 2)
    phi = Straight(x[:1], 0 * x[:1], 1.0, steps=3)
    way = timeline(phi, x, 9)
    assert way.positions - way.positions[0] == pytest.approx(np.broadcast_to(way.times[:, None, None], (9, 4, 2)))
    assert way.displacement == pytest.approx(np.broadcast_to(np.sqrt(2) * way.times[:, None], (9, 4)))


def test_what_goes_along_does_not_change_the_moments():
    phi, x, grid = zoo.DIFFEOS[0](2), cloud(10, 2), 3 * cloud(50, 2, seed=1)
    alone = timeline(phi, x, 6)
    shape, others = timeline(phi, torch.cat([x, grid]), 6, measured=10).split(10)
    assert isinstance(shape, Timeline)
    assert shape.positions == pytest.approx(alone.positions, abs=1e-12)
    assert shape.logdet == pytest.approx(alone.logdet, abs=1e-12)
    assert others.positions.shape == (6, 50, 2)
    assert np.array_equal(others.positions[0], grid.numpy())


def test_maps_one_after_the_other_are_passed_through_in_turn():
    first, second, x = zoo.DIFFEOS[0](2), zoo.DIFFEOS[8](2, seed=3), cloud(6, 2)
    way = timeline(Compose([first, second]), x, 201)
    with torch.no_grad():
        halfway, logdet = first.with_logdet(x)
    nearest = np.abs(way.positions - halfway.numpy()).max((1, 2)).argmin()
    assert 0 < nearest < 200
    assert way.positions[nearest] == pytest.approx(halfway.numpy(), abs=0.02)
    assert way.logdet[nearest] == pytest.approx(logdet.numpy(), abs=0.05)


def test_where_nothing_moves_every_moment_is_the_start():
    x = cloud(5, 3)
    way = timeline(Bumps(x[:2], 0 * x[:2], 1.0), x, 4)
    assert (way.positions == x.numpy()).all()
    assert (way.logdet == 0).all()
    assert (way.displacement == 0).all()


def test_a_fold_is_no_number_from_where_it_is_on():
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    phi = Bumps(torch.zeros(1, 1).double(), torch.full((1, 1), 9.0).double(), 0.3, steps=1)
    with torch.no_grad():
        folded = phi.with_jacobian(x)[1][:, 0, 0].numpy() <= 0
    assert folded.any()

    class Volumes(Bumps):
        def with_volumes(self, x):
            y, jacobian = self.with_jacobian(x)
            return y, torch.linalg.det(jacobian)[None]

    way = timeline(Volumes(phi.centers, phi.amplitudes, 0.3, steps=1), x, 5)
    assert np.array_equal(np.isnan(way.logdet[-1]), folded)


@pytest.mark.parametrize("moments", [1, 0, -3])
def test_fewer_than_two_moments_are_refused(moments):
    with pytest.raises(ValueError, match="2 moments or more"):
        timeline(zoo.DIFFEOS[0](2), cloud(3, 2), moments)


def test_between_is_linear_and_keeps_within():
    values = np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 5.0]])
    at = np.array([0.0, 0.25, 1.0, 1.5, 2.0])
    assert between(values, at).tolist() == [[0, 1], [0.5, 1], [2, 1], [2, 3], [2, 5]]
    assert between(values[:1], np.array([0.0, 0.0])).tolist() == [[0, 1], [0, 1]]
