"""Flipped and turned faces: rigid motions and reflections have none that the Jacobian does not predict; folds do."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeo.diagnostics import carried_directions, flipped, turned
from diffeo.shapes import Curve, Mesh


def sheet(n=6):
    """A flat n × n grid of squares cut into triangles."""
    axis = torch.linspace(0, 1, n, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    x = torch.cat([x, torch.zeros(n * n, 1, dtype=torch.float64)], 1)
    corner = torch.tensor([i * n + j for i in range(n - 1) for j in range(n - 1)])
    lower = torch.stack([corner, corner + n, corner + 1], 1)
    upper = torch.stack([corner + n, corner + n + 1, corner + 1], 1)
    return Mesh(x, faces=torch.cat([lower, upper]))


def polyline(d, n=9):
    generator = torch.Generator().manual_seed(d)
    x = torch.rand(n, d, generator=generator, dtype=torch.float64)
    return Curve(x, edges=torch.stack([torch.arange(n - 1), torch.arange(1, n)], 1))


def count(shape):
    return len(shape.faces) if isinstance(shape, Mesh) else len(shape.edges)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from([sheet(), polyline(2), polyline(3)]))
def test_linear_maps_flip_nothing(seed, shape):
    """A linear map is its own Jacobian: whatever it does to normals (reflections too), the faces follow exactly."""
    d = shape.x.shape[1]
    a = torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    moved = shape.with_positions(shape.x @ a.T)
    assert not flipped(shape, moved, a.expand(count(shape), d, d)).any()


@pytest.mark.parametrize("shape", [sheet(), polyline(2), polyline(3)], ids=["mesh", "plane curve", "space curve"])
@pytest.mark.parametrize("degrees", [80, 100])
def test_turned_is_more_than_a_right_angle(shape, degrees):
    d, angle = shape.x.shape[1], math.radians(degrees)
    rotation = torch.eye(d, dtype=torch.float64)
    axes = torch.tensor([0, d - 1])
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    rotation[axes[:, None], axes] = turn
    result = turned(shape, shape.with_positions(shape.x @ rotation.T))
    if isinstance(shape, Mesh) or d == 2:
        assert result.all() == (degrees > 90)
        assert result.any() == (degrees > 90)
    assert not flipped(shape, shape.with_positions(shape.x @ rotation.T), rotation.expand(count(shape), d, d)).any()


def test_a_pulled_vertex_folds_the_faces_behind_it():
    """One vertex is dragged over its neighbors although the map is said to be the identity."""
    mesh = sheet(5)
    x = mesh.x.clone()
    x[12] += torch.tensor([0.4, 0.0, 0.0])  # the middle of the sheet, beyond its neighbor at +0.25
    identity = torch.eye(3, dtype=torch.float64).expand(count(mesh), 3, 3)
    result = flipped(mesh, mesh.with_positions(x), identity)
    area = lambda s: torch.linalg.cross(*(s.x[s.faces][:, k] - s.x[s.faces][:, 0] for k in (1, 2)))[:, 2]  # noqa: E731
    assert result.any()
    assert torch.equal(result, area(mesh.with_positions(x)) < 0)  # all z-components are positive before
    assert torch.equal(result, turned(mesh, mesh.with_positions(x)))


def test_a_swapped_segment_is_flipped():
    curve = Curve(torch.tensor([[0.0, 0], [1, 0], [2, 0], [3, 0]]), edges=torch.tensor([[0, 1], [1, 2], [2, 3]]))
    moved = curve.with_positions(curve.x[[0, 2, 1, 3]])
    expected = torch.tensor([False, True, False])
    assert torch.equal(flipped(curve, moved, torch.eye(2).expand(3, 2, 2)), expected)
    assert torch.equal(turned(curve, moved), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_faces_are_never_counted(dtype):
    """Three points on a line, far from the origin: the area is rounding noise, and its normal means nothing."""
    a, b = torch.tensor([100.0, 200, 300], dtype=dtype), torch.tensor([101.0, 200.3, 300.7], dtype=dtype)
    x = torch.stack([a, b, a + (b - a) * 0.3, a, a, b])
    mesh = Mesh(x, faces=torch.tensor([[0, 1, 2], [3, 4, 5]]))
    moved = mesh.with_positions(x + torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=dtype))
    reflected = torch.diag(torch.tensor([-1.0, -1, 1], dtype=dtype)).expand(2, 3, 3)
    for jacobian in (reflected, -reflected):
        assert not flipped(mesh, moved, jacobian).any()
    for sign in (1, -1):
        assert not turned(mesh, mesh.with_positions(sign * moved.x)).any()
    point = Curve(x[3:5], edges=torch.tensor([[0, 1]]))
    assert not turned(point, point.with_positions(moved.x[3:5])).any()


def test_small_faces_are_not_degenerate():
    x = torch.tensor([[0.0, 0, 0], [1e-5, 0, 0], [0, 1e-5, 0], [1, 1, 1]], dtype=torch.float64)
    mesh = Mesh(x, faces=torch.tensor([[0, 1, 2]]))
    assert turned(mesh, mesh.with_positions(x[[1, 0, 2, 3]])).all()


def test_bad_arguments():
    mesh, curve = sheet(3), polyline(3, 9)
    with pytest.raises(ValueError, match=r"one Jacobian per face, shape \(8, 3, 3\), and got \(9, 3, 3\)"):
        flipped(mesh, mesh, torch.eye(3).expand(9, 3, 3))
    with pytest.raises(ValueError, match=r"a Mesh .* and a Curve"):
        turned(mesh, curve)
    with pytest.raises(ValueError, match="connectivity"):
        turned(mesh, Mesh(mesh.x, faces=mesh.faces.flip(0)))


def test_carried_directions_are_those_of_a_linear_map():
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(9, 3, generator=generator, dtype=torch.float64)
    source = Mesh(x, faces=torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 0, 1]]))
    matrix = torch.eye(3, dtype=torch.float64) + 0.3 * torch.rand(3, 3, generator=generator, dtype=torch.float64)
    carried = carried_directions(source, matrix.expand(4, 3, 3))
    expected = source.with_positions(x @ matrix.T).measure().directions
    assert expected is not None
    torch.testing.assert_close(carried[:3], expected[:3])
    assert not carried[3].any()
