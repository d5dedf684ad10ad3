"""Determinants, folds and inverse consistency of maps for which they are known."""

import math

import pytest
import torch

from diffeo.core import Compose
from diffeo.diagnostics import corner_determinants, folds, inverse_consistency
from diffeo.flows import Affine, Warp
from diffeo.grid import Grid
from tests import zoo
from tests.oracles import distance, rotation
from tests.test_grid import placed, smooth

F64 = torch.float64


@pytest.mark.parametrize("d", [1, 2, 3])
def test_an_affine_map_has_one_determinant(d):
    phi, grid = zoo.affine(d, F64, 0), placed(*(6, 5, 4)[:d])
    found = corner_determinants(phi, grid)
    assert found.shape == grid.shape
    assert distance(found, torch.full(grid.shape, 1 / float(torch.linalg.det(phi.matrix)), dtype=F64)) < 1e-12
    assert folds(found) == 0


def test_determinants_of_a_smooth_map_converge_to_those_of_its_inverse():
    phi, errors = zoo.DIFFEOS[0](2), []
    for n in (20, 40):
        grid = Grid((n, n), torch.diag(torch.tensor([2 / n, 2 / n, 1], dtype=F64)))
        with torch.no_grad():
            expected = (-phi.with_logdet(phi.inverse(grid.points(torch.empty((), dtype=F64))))[1]).exp()
        errors.append(distance(corner_determinants(phi, grid).flatten(), expected))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.3)


def test_a_fold_that_alternates_is_seen():
    """Every other point of a line is pushed past its neighbor: central differences would say 1 everywhere."""
    grid = Grid((10, 4), torch.eye(3))
    u = torch.zeros(2, 10, 4, dtype=F64)
    u[0, 1::2] = 1.2
    found = corner_determinants(Warp(grid, u), grid)
    central = 1 + (u[0, 2:] - u[0, :-2]) / 2
    assert torch.equal(central, torch.ones(8, 4, dtype=F64))
    assert found.min() == pytest.approx(-0.2)
    assert folds(found) == 32  # at either end there are differences to one side only
    assert folds(torch.tensor([1.0, 0.0, torch.nan, -1, 0.1])) == 3


def test_samples_of_affine_maps_invert_each_other_exactly():
    """Linear interpolation of a linear map is exact, on any two grids."""
    motion = Affine(rotation(2), torch.tensor([0.1, 0.05], dtype=F64))
    found = inverse_consistency(motion, placed(12, 11), placed(30, 25, seed=4))
    assert found.max < 1e-12
    assert 0 < found.inside < 1


def test_the_consistency_of_samples_is_of_second_order():
    """And it is measured in space, not in steps: grids of other spacing give the same, to leading order."""
    errors = []
    for n in (20, 40):
        fine = Grid((n, n // 2), torch.tensor([[4 / n, 0, -2], [0, 8 / n, -2], [0, 0, 1]], dtype=F64))
        errors.append(inverse_consistency(zoo.DIFFEOS[0](2), fine, fine).mean)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.5)


def test_a_known_inconsistency():
    """φ(x) = x + h sin(πx) between points a step apart is interpolated with an error of at most hπ²/8."""
    n, h = 41, 0.1
    grid = Grid((n,), torch.tensor([[2 / (n - 1), -1], [0, 1]], dtype=F64))
    u = h * torch.sin(math.pi * grid.points(torch.empty((), dtype=F64))).T / (2 / (n - 1))
    phi = Warp(grid, u)
    found = inverse_consistency(phi, grid, grid)
    exact = phi(phi.inverse(grid.points(u)))
    assert distance(exact, grid.points(u)) < 1e-12  # the map itself is consistent: what is left is the sampling
    bound = h * math.pi**2 * (1 / (1 - h * math.pi)) ** 3 * (2 / (n - 1)) ** 2 / 8
    assert bound / 10 < found.max < bound
    assert found.inside == 1
    scaled = inverse_consistency(
        phi.rescaled(25.0, torch.zeros(1)), *[grid.moved(25 * torch.eye(1), torch.zeros(1))] * 2
    )
    assert scaled.max == pytest.approx(25 * found.max)


def test_points_that_leave_the_other_grid_are_left_out():
    shift = Affine(torch.eye(1, dtype=F64), torch.tensor([3.0], dtype=F64))
    line = Grid((11,), torch.eye(2))
    found = inverse_consistency(shift, line, line)
    assert found.inside == pytest.approx(8 / 11)
    assert found.max == 0
    with pytest.raises(ValueError, match="no point of the fixed grid into the moving grid"):
        inverse_consistency(Compose([shift] * 5), line, line)


def test_a_warp_in_space():
    grid = placed(14, 13, 12)
    found = inverse_consistency(Warp(grid, smooth(grid)), grid, grid)
    assert found.inside == 1
    assert 0 < found.mean < 0.01 < 0.05
