"""Images on their way: they begin as they are, end as φ carries them, and are where points are in between."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from diffeo.core import Compose, Inverse
from diffeo.fields import GridField
from diffeo.flows import Affine, Exponential, Flow, GridGeodesic, Warp
from diffeo.grid import Grid
from diffeo.kernels import GaussianKernel
from diffeo.sampling import sample
from diffeo.shapes import Image, Nearest
from diffeo.solvers import Midpoint
from diffeo.viz.planes import planes
from diffeo.viz.warps import as_seen, pulled, thick
from diffeo.viz.way import image_way
from tests.viz.phantoms import RAS, bumps, header, phantom, picture, waves

MOMENTS = 4


def volume():
    return phantom(header("LPI", (2.4, 3.2, 4.0), (20, 17, 14)), width=8.0)


def still():
    return torch.zeros((), dtype=torch.float64)


def velocity(image, size=0.5, seed=5):
    """A smooth field over an image, as fast as a part ``size`` of a tenth of its longer side."""
    grid = image.grid.shrunk([max(1, n // 8) for n in image.grid.shape])
    side = max(n * s for n, s in zip(image.grid.shape, image.grid.spacing, strict=True))
    field = GridField(GaussianKernel(side / 4), grid).double().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for p in field.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64)
    x = image.grid.points(still())[:: max(1, image.grid.size // 200)]
    largest = float(field(x).norm(dim=1).max())
    for p in field.parameters():
        p.data *= 0.1 * size * side / largest
    return field


def geodesic(image, steps=4):
    nodes = image.grid.shrunk([max(1, n // 10) for n in image.grid.shape])
    side = max(n * s for n, s in zip(image.grid.shape, image.grid.spacing, strict=True))
    z = torch.randn(image.grid.dim, *nodes.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return GridGeodesic(GaussianKernel(side / 4), nodes, 0.02 * side * z, steps=steps).requires_grad_(False)


def turned(image, degrees=30.0):
    """A turn about the middle of an image, with a shift and a little growth."""
    d = image.grid.dim
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = torch.eye(d, dtype=torch.float64)
    matrix[:2, :2] = 1.1 * torch.tensor([[c, -s], [s, c]])
    middle = image.grid.points(still()).mean(0)
    return Affine(matrix, middle - matrix @ middle + 3)


MAPS = {
    "affine": turned,
    "warp": waves,
    "bumps": bumps,
    "flow": lambda image: Inverse(Flow([velocity(image, seed=k) for k in range(3)], Midpoint())),
    "exponential": lambda image: Exponential(velocity(image)),
    "geodesic": geodesic,
    "affine, then a warp": lambda image: Compose([turned(image), waves(image, 0.02)]),
}
IMAGES = {"picture": picture, "volume": volume}
FAST = {("affine", "picture"), ("bumps", "picture"), ("affine, then a warp", "volume")}
CASES = [pytest.param(m, i, marks=[] if (m, i) in FAST else [pytest.mark.slow]) for m in MAPS for i in IMAGES]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_way_leads_from_the_image_to_where_it_is_carried(name, kind):
    image = IMAGES[kind]()
    phi = MAPS[name](image)
    way = image_way(phi, image, planes(image), MOMENTS)
    moved = phi @ image
    assert (way.times[0], way.times[-1]) == (0, 1)
    for part in way.planes:
        assert np.array_equal(part.carried(image, 0), part.plane.of(image))
        np.testing.assert_allclose(part.carried(image, -1), part.plane.of(moved), atol=1e-4 * float(image.values.max()))
        found = pulled(phi, part.plane)
        np.testing.assert_allclose(part.pulled(-1).origin, found.origin, atol=1e-6)
        np.testing.assert_array_equal(part.logdet[-1], found.logdet)
        assert not part.logdet[0].any()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_is_carried_along_stays_on_the_picture(name, kind):
    """φ_t⁻¹ of a point that is on its way is where it came from."""
    image = IMAGES[kind]()
    phi, grid = MAPS[name](image), image.grid
    lo, hi = torch.zeros(grid.dim), torch.tensor(grid.shape) - 1
    index = lo + (hi - lo) * (0.3 + 0.4 * torch.rand(40, grid.dim, generator=torch.Generator().manual_seed(0)))
    x = grid.to_space(index.double())
    way = image_way(phi, image, planes(image), MOMENTS, [x])
    (positions,) = way.points
    np.testing.assert_allclose(positions[-1], phi(x).detach().numpy(), atol=1e-6)
    step, size = min(grid.spacing), float(np.linalg.norm(positions[-1] - positions[0], axis=1).max())
    for k in range(1, MOMENTS):
        if kind == "volume":  # most points are off the planes: look where the map is known everywhere
            break
        part = way.planes[0]
        at = grid.to_index(torch.as_tensor(positions[k])).T.contiguous()
        back = grid.to_space((at + sample(part.displacement[k], at)).T)
        inside = ((at > 1) & (at < torch.tensor(grid.shape)[:, None] - 2)).all(0)
        assert inside.sum() > 10
        assert float((back - x)[inside].abs().max()) < max(0.15 * step, 0.02 * size)


@pytest.mark.parametrize("kind", ["picture", pytest.param("volume", marks=pytest.mark.slow)])
def test_on_its_way_a_geodesic_is_the_shorter_geodesic(kind):
    """Shooting with a part t of the momentum ends where shooting with all of it is at time t.

    Moments are spread over the length of the way, and a geodesic's foreground is not equally fast at all times: so each
    shorter geodesic is looked for among many moments.
    """
    image = IMAGES[kind]()
    steps, found = 4, [0]
    phi = geodesic(image, steps)
    way = image_way(phi, image, planes(image), 41)
    arguments = phi.arguments()
    for k in range(1, steps):
        shorter = GridGeodesic(**{**arguments, "coordinates": k / steps * arguments["coordinates"], "steps": k})
        expected = [shorter.pullback(part.grid).detach() for part in way.planes]
        errors = torch.stack(
            [(part.displacement - u).flatten(1).abs().amax(1) for part, u in zip(way.planes, expected, strict=True)]
        ).amax(0)
        moment = int(errors.argmin())
        size = max(float(u.abs().max()) for u in expected)
        assert size > 0.3
        assert float(errors[moment]) < 0.05 * size
        found.append(moment)
        for part in way.planes:
            change = pulled(shorter, part.plane).logdet
            assert np.abs(part.logdet[moment] - change).max() < 0.2 * np.abs(change).max()
    assert found == sorted(set(found))


def test_colors_are_those_of_the_map_that_is_seen():
    image = picture()
    phi = bumps(image)
    (plane,) = planes(image)
    (part,) = image_way(phi, image, [plane], MOMENTS).planes
    for k in range(1, MOMENTS):
        seen = as_seen(plane, part.displacement[k])
        assert np.abs(seen.logdet - part.logdet[k])[2:-2, 2:-2].max() < 0.03


def test_far_apart_and_turned_fields_of_view_are_bridged():
    """The moving image lies beside the fixed one, and is turned by a right angle."""
    target = picture(50, 50)
    matrix = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    phi = Affine(matrix, torch.tensor([300.0, -20.0], dtype=torch.float64))
    motion = torch.linalg.inv(matrix)
    source = dataclasses.replace(target, grid=target.grid.moved(motion, -motion @ phi.translation))
    way = image_way(phi, source, planes(target), 5)
    np.testing.assert_allclose(way.planes[0].carried(source, -1), target.values.numpy(), atol=1e-3)
    middle = way.planes[0].pulled(2).origin
    assert np.isfinite(middle).all()


@pytest.mark.parametrize("kind", ["picture", pytest.param("volume", marks=pytest.mark.slow)])
def test_a_map_that_folds_is_shown_all_the_same(kind):
    image = IMAGES[kind]()
    phi = waves(image, 0.2, 4.0)
    x = image.grid.points(still())
    with pytest.raises(ArithmeticError):
        phi(x)
    way = image_way(phi, image, planes(image), MOMENTS)
    for part in way.planes:
        expected = part.plane.of(phi @ image)
        np.testing.assert_allclose(part.carried(image, -1), expected, atol=1e-4 * float(image.values.max()))
        assert np.isnan(part.logdet[-1]).any()
        assert not np.isnan(part.logdet[0]).any()
        assert part.logdet.shape == (MOMENTS, *expected.shape[1:])


def test_labels_stay_labels():
    image = picture()
    labels = dataclasses.replace(image, values=(image.values / 60).round(), background=None, interpolation=Nearest())
    (part,) = image_way(waves(image), labels, planes(image), MOMENTS).planes
    for k in range(MOMENTS):
        assert set(np.unique(part.carried(labels, k))) <= set(np.unique(labels.values.numpy()))


def test_a_map_of_nothing_moves_nothing():
    image = picture()
    phi = Warp(image.grid, torch.zeros(2, *image.grid.shape, dtype=torch.float64))
    (part,) = image_way(phi, image, planes(image), 3).planes
    assert not part.displacement.any()
    assert not part.logdet.any()


def test_an_image_of_one_value_has_a_way():
    grid = Grid((9, 12), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    image = Image(torch.ones(1, 9, 12, dtype=torch.float64), grid)
    (part,) = image_way(waves(image), image, planes(image), 3).planes
    assert (part.carried(image, 1) == 1).all()


def test_one_slice_of_a_volume_has_a_way():
    image = phantom(header("RAS", shape=(30, 24, 1)), (0.0, 0.0, 0.0), RAS, width=8.0)
    phi = waves(image)
    way = image_way(phi, image, planes(image), 3)
    assert len(way.planes) == 1
    np.testing.assert_allclose(way.planes[0].carried(image, -1), way.planes[0].plane.of(phi @ image), atol=1e-5)
    assert thick(way.planes[0].plane).shape == (30, 24, 1)


def test_a_way_has_two_moments_or_more():
    image = picture()
    with pytest.raises(ValueError, match="2 moments"):
        image_way(waves(image), image, planes(image), 1)
