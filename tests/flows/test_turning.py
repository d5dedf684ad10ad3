"""The way to an affine map never folds, turns as the map turns, and does not depend on the origin."""

import math

import pytest
import torch
from torch import Tensor

from diffeo import Affine, Inverse
from tests.oracles import cloud


def turn(angle: float, d: int = 2) -> Tensor:
    """In the first two coordinates."""
    matrix = torch.eye(d, dtype=torch.float64)
    matrix[0, 0] = matrix[1, 1] = math.cos(angle)
    matrix[1, 0] = math.sin(angle)
    matrix[0, 1] = -matrix[1, 0]
    return matrix


def anyhow(d: int, seed: int) -> Affine:
    """A matrix that keeps orientation."""
    matrix = cloud(d, d, seed=seed)
    return Affine(matrix * torch.linalg.det(matrix).sign() if d % 2 else _kept(matrix), cloud(1, d, seed=seed + 1)[0])


def _kept(matrix: Tensor) -> Tensor:
    return torch.cat([matrix[:1] * torch.linalg.det(matrix).sign(), matrix[1:]])


def linear_parts(phi: Affine, d: int) -> Tensor:
    """On the way, shape (steps + 1, d, d)."""
    corners = torch.cat([torch.zeros(1, d), torch.eye(d)]).double()
    return torch.stack([(y[1:] - y[0]).T for y in phi.path(corners)])


@pytest.mark.parametrize("angle", [0.3, 1.5, math.pi, -3.0, 1e-9])
def test_a_turn_keeps_distances_on_the_way(angle):
    phi = Affine(turn(angle), torch.tensor([3.0, -1.0]).double())
    parts = linear_parts(phi, 2)
    assert len(parts) == max(1, math.ceil(abs(angle) / (math.pi / 12) - 1e-9)) + 1
    if len(parts) > 2:
        torch.testing.assert_close(parts.mT @ parts, torch.eye(2).double().expand_as(parts))


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(8))
def test_it_never_folds_and_ends_with_the_map(d, seed):
    phi, x = anyhow(d, seed), cloud(6, d)
    parts = linear_parts(phi, d)
    assert torch.linalg.det(parts).min() > 0
    torch.testing.assert_close(phi.path(x)[-1], phi(x))
    moved, volumes = phi.with_volumes(x)
    assert volumes.shape == (len(parts) - 1, 6)
    torch.testing.assert_close(volumes.log().sum(0), phi.with_logdet(x)[1])
    torch.testing.assert_close(volumes.log().cumsum(0)[:, 0], torch.linalg.det(parts).log()[1:])
    assert torch.equal(moved, phi(x))


@pytest.mark.parametrize("d", [2, 3, 4])
def test_nothing_jumps(d):
    """The last step is no longer than the others: what is between leads to the map itself."""
    for seed in range(8):
        phi, x = anyhow(d, seed), cloud(20, d)
        lengths = torch.stack(phi.path(x)).diff(dim=0).norm(dim=2).amax(1)
        assert lengths[-1] < 4 * lengths.median()


@pytest.mark.parametrize("angle", [0.4, 2.0, -3.1])
@pytest.mark.parametrize("d", [2, 3])
def test_where_coordinates_begin_does_not_matter(angle, d):
    """Of rigid motions, in any dimension: what is not turned is not stretched. And of others that stretch enough."""
    shift = torch.tensor([1000.0, -300.0, 20.0]).double()[:d]
    frame = torch.linalg.qr(cloud(d, d)).Q
    for stretch in (1.0, 1.3):
        phi, x = Affine(stretch * frame @ turn(angle, d) @ frame.T, cloud(1, d)[0]), cloud(10, d)
        for here, there in zip(phi.path(x), phi.rescaled(1.0, shift).path(x + shift), strict=True):
            torch.testing.assert_close(here + shift, there, rtol=0, atol=1e-9)


def test_half_a_turn_about_an_axis_goes_about_that_axis():
    """Two eigenvalues −1 of three; the axis itself is shifted along, straight."""
    at = torch.tensor([5.0, 0.0, 0.0]).double()
    matrix = turn(math.pi, 3)
    phi = Affine(matrix, at - matrix @ at + torch.tensor([0.0, 0.0, 1.2]).double())
    path = torch.stack(phi.path(at[None]))[:, 0]
    torch.testing.assert_close(path[:, :2], at[:2].expand(13, 2))
    torch.testing.assert_close(path[:, 2], torch.linspace(0, 1.2, 13).double())


def test_the_way_back_is_the_inverse():
    phi, x = anyhow(2, 3), cloud(5, 2)
    there, back = phi.path(x), Inverse(phi).path(phi(x))
    assert len(there) > 2
    torch.testing.assert_close(torch.stack(there).flip(0), torch.stack(back))
