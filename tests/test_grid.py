"""Grids: boxes, slabs, displaced points; and how maps pull them back."""

import pytest
import torch

from diffeo import core
from diffeo.core import Compose, Inverse
from diffeo.flows import Affine, Warp
from diffeo.grid import Grid
from tests import zoo
from tests.oracles import cloud, distance, rotation

F64 = torch.float64


def placed(*shape, seed=0):
    """A rotated, sheared, anisotropic grid whose points are of the size of the zoo's maps."""
    d = len(shape)
    affine = torch.eye(d + 1, dtype=F64)
    affine[:d, :d] = rotation(d, seed=seed) @ torch.diag(torch.tensor([0.11, 0.17, 0.23], dtype=F64)[:d])
    affine[:d, :d] += 0.02 * cloud(d, d, seed=seed + 1)
    affine[:d, d] = -0.6
    return Grid(shape, affine)


def smooth(grid, seed=0, size=0.3):
    """A displacement in steps that folds nowhere, and is 0 at the border."""
    i = grid.indices(torch.empty((), dtype=F64))
    n = torch.tensor(grid.shape, dtype=F64).reshape(-1, *[1] * grid.dim)
    bump = torch.sin(torch.pi * i / (n - 1)).prod(0)
    return size * bump * cloud(grid.dim, grid.dim, seed=seed).sum(0).reshape(-1, *[1] * grid.dim)


@pytest.mark.parametrize("shape", [(7,), (7, 5), (7, 5, 3), (1, 5, 3)])
@pytest.mark.parametrize("points", [1, 40, 10_000])
def test_slabs_are_the_grid(shape, points):
    grid, like = placed(*shape), torch.empty((), dtype=F64)
    slabs = grid.slabs(points)
    joined = torch.cat([slab.points(like) for slab in slabs])
    assert distance(joined, grid.points(like)) < 1e-14
    assert max(slab.size for slab in slabs) <= max(points, grid.size // shape[0])


def test_displaced_points_are_those_of_the_affine_map():
    grid = placed(4, 3)
    u = cloud(2, 12).reshape(2, 4, 3)
    expected = (grid.indices(u) + u).flatten(1).T @ grid.linear.T + grid.origin
    assert distance(grid.displaced(u), expected) < 1e-15
    assert distance(grid.displaced(0 * u), grid.points(u)) == 0


@pytest.mark.parametrize("entry", zoo.basic_first(zoo.DIFFEOS), ids=str)
@pytest.mark.slow
def test_a_grid_is_pulled_back_point_by_point(entry, monkeypatch):
    """φ⁻¹(Ai) = A(i + u(i)), in whatever portions the points go through the map."""
    monkeypatch.setattr(core, "CHUNK", 20)
    phi, grid = entry(2), placed(9, 8)
    with torch.no_grad():
        u = phi.pullback(grid)
        assert u.shape == (2, 9, 8)
        assert distance(grid.displaced(u), phi.inverse(grid.points(u))) < max(1e-10, entry.inexact)


@pytest.mark.slow
def test_compositions_with_warps_are_pulled_back_as_their_points_are(monkeypatch):
    """The last part is known at the points of the grid, or between them; the others follow; the inverse too."""
    grid, other = placed(12, 10), placed(9, 8, seed=3)
    warp, affine, geodesic = Warp(grid, smooth(grid)), zoo.affine(2, F64, 0), zoo.DIFFEOS[0](2)
    for phi in (warp, affine @ warp, warp @ affine, warp @ geodesic @ affine, Inverse(warp @ affine)):
        for where in (grid, other):
            with torch.no_grad():
                whole = phi.pullback(where)
                assert distance(where.displaced(whole), phi.inverse(where.points(whole))) < 1e-10
                with monkeypatch.context() as patch:
                    patch.setattr(core, "CHUNK", 20)
                    assert distance(phi.pullback(where), whole) < 1e-10
    assert torch.equal(Compose([warp]).pullback(grid), warp.u)


def test_portions_are_small_unless_a_gradient_keeps_everything(monkeypatch):
    """However large the grid: no more points at a time than said, or than one row of it has."""
    monkeypatch.setattr(core, "CHUNK", 20)
    sizes = []

    class Spy(Affine):
        def inverse(self, y):
            sizes.append(len(y))
            return super().inverse(y)

    spy = Spy(torch.eye(2, dtype=F64), torch.zeros(2, dtype=F64))
    with torch.no_grad():
        spy.pullback(placed(30, 8))
        (zoo.affine(2, F64, 0) @ spy).pullback(placed(30, 8))
        (spy @ zoo.affine(2, F64, 0)).pullback(placed(30, 31))
    assert sizes == [16] * 15 + [16] * 15 + [31] * 30
    geodesic, sizes[:] = zoo.DIFFEOS[0](2), []
    (geodesic @ spy).pullback(placed(30, 8))
    assert sizes == [240]


def test_portions_do_not_change_gradients(monkeypatch):
    monkeypatch.setattr(core, "CHUNK", 20)
    phi = zoo.compose(2, F64, 0)
    parameters = [p.requires_grad_() for p in phi.parameters()]
    grid, weights = placed(9, 8), cloud(2, 72, seed=5).reshape(2, 9, 8)
    found = torch.autograd.grad((weights * phi.pullback(grid)).sum(), parameters)
    steps = (phi.inverse(grid.points(weights)) - grid.points(weights)) @ torch.linalg.inv(grid.linear).T
    expected = torch.autograd.grad((weights.flatten(1).T * steps).sum(), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
