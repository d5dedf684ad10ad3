"""Images: the group action, in physical space."""

import math

import pytest
import torch
from hypothesis import given

from diffeo.core import Inverse
from diffeo.flows import Affine, Geodesic, Warp
from diffeo.grid import Grid
from diffeo.shapes import Image
from tests import zoo
from tests.oracles import cloud, distance, rotation, seeds
from tests.shapes.images import box, bump, maps, sampled, still

F64 = torch.float64
images = pytest.mark.parametrize(("entry", "d"), zoo.each(zoo.IMAGES), ids=str)
IDENTITIES = {
    "Affine": lambda grid: still(grid.dim),
    "Geodesic": lambda grid: Geodesic(zoo.GAUSSIAN, cloud(4, grid.dim)),
    "Warp": lambda grid: Warp(grid, torch.zeros(grid.dim, *grid.shape, dtype=F64)),
}


@images
@pytest.mark.parametrize("identity", IDENTITIES)
def test_the_identity_gives_the_image_back(identity, entry, d):
    image = entry(d)
    moved = IDENTITIES[identity](image.grid) @ image
    assert distance(moved.values, image.values) < 1e-14
    assert moved.grid.same(image.grid)
    if image.mask is not None:
        assert distance(moved.mask, image.mask) < 1e-14


TURN = Affine(rotation(3, seed=2), torch.tensor([0.1, -0.2, 0.1], dtype=F64))


@torch.no_grad()
@pytest.mark.parametrize(("d", "phi", "n"), [(1, maps(1)[0], 129), (2, maps(2)[0], 65), (3, TURN, 25)], ids="123")
@pytest.mark.slow
def test_images_are_pulled_back_in_space(d, phi, n):
    """(φ·I)(y) = I(φ⁻¹(y)) at positions y, to the error of linear interpolation: of second order."""
    errors = []
    for grid in (box(n, d), box(2 * n - 1, d)):
        moved, y = phi @ sampled(grid), grid.points(torch.empty((), dtype=F64))
        assert distance(moved.values, sampled(grid).values) > 0.2
        expected = bump(phi.inverse(y)).reshape(moved.values.shape)
        errors.append(float((moved.values - expected).square().mean().sqrt()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.35)
    assert errors[1] < 0.01


@torch.no_grad()
@pytest.mark.parametrize(("d", "n"), [(1, 129), (2, 33)])
@pytest.mark.slow
def test_acting_twice_is_acting_with_the_composition(d, n):
    """(φ∘ψ)·I ≈ φ·(ψ·I), to the error of one more interpolation."""
    phi, psi = maps(d)
    errors = []
    for grid in (box(n, d), box(2 * n - 1, d)):
        image = sampled(grid)
        once, twice = (phi @ psi) @ image, phi @ (psi @ image)
        assert distance(once.values, (psi @ image).values) > 0.1
        errors.append(float((once.values - twice.values).square().mean().sqrt()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.35)
    assert errors[1] < 0.01


@pytest.mark.parametrize("d", [1, 2])
def test_a_map_and_its_inverse_undo_each_other(d):
    phi = maps(d)[0]
    image = sampled(box(49, d))
    back = Inverse(phi) @ (phi @ image)
    assert (back.values - image.values).abs().max() < 0.05 * image.values.max()


@images
@given(seed=seeds)
def test_affine_motions_move_the_grid_or_resample(entry, d, seed):
    """x ↦ Ax + b of the image is the image on the grid A, b: nothing is lost until it is sampled again."""
    image = entry(d)
    motion = Affine(rotation(d, seed=seed) * 1.2, 0.3 * cloud(1, d, seed=seed)[0])
    exact = image.moved(motion.matrix, motion.translation)
    assert exact.values is image.values
    assert distance(exact.grid.points(exact.values), motion(image.grid.points(exact.values))) < 1e-12
    resampled, moved = still(d) @ exact, motion @ image
    assert resampled.grid.same(image.grid)
    assert distance(resampled.values, moved.values) < 1e-12
    if image.mask is not None:
        assert distance(resampled.mask, moved.mask) < 1e-12


@pytest.mark.parametrize("d", [2, 3])
def test_the_order_of_axes_is_a_matter_of_storage(d):
    """Flipped and permuted arrays with headers that say so are the same image."""
    phi, image = maps(2)[0] if d == 2 else zoo.affine(d, F64, 0), zoo.IMAGE(d)
    n = image.grid.shape
    flip = torch.eye(d + 1, dtype=F64)
    flip[0, 0], flip[0, d] = -1, n[0] - 1
    swap = torch.eye(d + 1, dtype=F64)[[1, 0, *range(2, d + 1)]]
    expected = phi @ image
    for change, stored in (
        (flip, lambda f: f.flip(1)),
        (swap, lambda f: f.transpose(1, 2)),
        (flip @ swap, lambda f: f.flip(1).transpose(1, 2)),
    ):
        values = stored(image.values)
        other = Image(values, Grid(values.shape[1:], image.grid.affine @ change))
        moved = phi @ other
        assert distance(moved.values, stored(expected.values)) < 1e-12


def test_spacing_is_physical():
    """The same map of the same function, sampled anisotropically: the same values where both are known."""
    phi = maps(2)[0]
    fine = box(65)
    coarse = Grid((33, 65), fine.affine @ torch.diag(torch.tensor([2, 1, 1], dtype=F64)))
    a, b = phi @ sampled(fine), phi @ sampled(coarse)
    assert distance(a.values[:, ::2], b.values) < 0.02
