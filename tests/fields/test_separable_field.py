"""Fields that move every coordinate on its own, and flows along them."""

import pytest
import torch

from diffeo.fields import SeparableField
from diffeo.flows import Flow
from diffeo.solvers import RK4, Midpoint
from tests.oracles import cloud, relative


def moving(d: int, seed: int = 0, size: float = 0.2) -> SeparableField:
    return SeparableField(cloud(6, d, seed=seed, size=2.0), 0.7, cloud(8, d, seed=seed + 1, size=size))


def test_coordinates_are_moved_on_their_own():
    field, x = moving(3), cloud(20, 3)
    for i in range(3):
        alone = SeparableField(field.centers[:, [i]], 0.7, field.coefficients[:, [i]])
        torch.testing.assert_close(alone(x[:, [i]]), field(x)[:, [i]])


def test_far_out_it_is_linear():
    """At distance r, slopes are those at infinity up to (σ/r)²."""
    field = moving(2)
    slopes = [field.with_slopes(torch.full((1, 2), r, dtype=torch.float64))[1] for r in (1e3, 1e6)]
    assert relative(slopes[0], slopes[1]) < 1e-4
    outer = (field.coefficients[:-2].sum(0) + field.coefficients[-1]) / 0.7
    torch.testing.assert_close(slopes[1][0], outer, rtol=1e-9, atol=1e-9)


def test_values_do_not_depend_on_whether_gradients_are_recorded():
    field, x = moving(5), 3 * cloud(40, 5)
    recorded = field.with_slopes(x)
    with torch.no_grad():
        for found, expected in zip(field.with_slopes(x), recorded, strict=True):
            torch.testing.assert_close(found, expected.detach(), rtol=1e-13, atol=1e-13)


def test_centers_cover_the_data():
    x = cloud(50, 2)
    field = SeparableField.over(x, count=5)
    torch.testing.assert_close(field.centers[[0, -1]], torch.stack([x.amin(0), x.amax(0)]))
    assert not field(x).any()


@pytest.mark.parametrize("solver", [None, Midpoint(), RK4()], ids=["Euler", "Midpoint", "RK4"])
def test_many_columns_are_inverted_number_by_number(solver):
    phi, x = Flow([moving(30, k) for k in range(4)], solver), 3 * cloud(500, 30)
    with torch.no_grad():
        assert float((phi.inverse(phi(x)) - x).abs().max()) < 1e-11
        moved, jacobian = phi.with_jacobian(x)
        torch.testing.assert_close(phi.with_logdet(x)[1], torch.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)
        assert relative(moved, phi(x)) < 1e-12


def test_every_coordinate_has_its_volumes_and_two_folds_do_not_cancel():
    theta = torch.zeros(3, 2, dtype=torch.float64)
    theta[-1] = -1.5
    phi = Flow([SeparableField(cloud(1, 2), 1.0, theta)])
    x = cloud(4, 2)
    torch.testing.assert_close(phi.with_volumes(x)[1], torch.full((2, 4), -0.5, dtype=torch.float64))
    assert phi.with_logdet(x)[1].isnan().all()
    assert (phi.layers()[0].with_volume(x)[1] < 0).all()
    with pytest.raises(ArithmeticError, match="folds"):
        phi.inverse(x)


@pytest.mark.parametrize(
    ("centers", "options"),
    [
        (torch.zeros(3), {"scale": 1.0}),
        (torch.zeros(3, 2), {"scale": 0.0}),
        (torch.zeros(3, 2), {"scale": 1.0, "coefficients": torch.zeros(3, 2)}),
        (torch.zeros(3, 2), {"scale": 1.0, "origin": torch.zeros(3)}),
    ],
    ids=["flat", "no scale", "coefficients", "origin"],
)
def test_what_does_not_fit_is_refused(centers, options):
    with pytest.raises(ValueError, match="SeparableField"):
        SeparableField(centers, **options)


@pytest.mark.parametrize("size", [0.05, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_slopes_lie_between_their_bounds_everywhere(seed, size):
    """And these are hardly farther apart than slopes get."""
    field = moving(2, seed, size)
    low, high = field.slope_bounds()
    x = torch.cat([torch.linspace(-8, 8, 4001, dtype=torch.float64), torch.tensor([-1e9, -1e3, 1e3, 1e9]).double()])
    slopes = field.with_slopes(x[:, None].expand(-1, 2))[1].detach()
    assert bool((slopes >= low - 1e-12).all())
    assert bool((slopes <= high + 1e-12).all())
    room = 0.02 * field.coefficients.abs().sum(0) / 0.7
    assert bool((slopes.amin(0) - low < room).all())
    assert bool((high - slopes.amax(0) < room).all())
