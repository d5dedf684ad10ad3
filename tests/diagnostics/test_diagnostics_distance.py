"""Distances are exact: compared with brute force by another method."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from diffeo.diagnostics import Distance, distances, symmetric_distance
from diffeo.shapes import Curve, Mesh, Points

seeds = st.integers(0, 2**32 - 1)


def triangles(rng, count, spread):
    """A soup of triangles of very different sizes, a few of them degenerate."""
    corners = rng.normal(size=(count, 1, 3)) + rng.normal(size=(count, 3, 3)) * spread ** rng.normal(size=(count, 1, 1))
    corners[0, 1] = corners[0, 0]  # no area: a segment
    corners[1, 1:] = corners[1, 0]  # no extent: a point
    corners[2, 2] = (corners[2, 0] + corners[2, 1]) / 2  # no area: three points in a line
    return Mesh(torch.from_numpy(corners.reshape(-1, 3)), faces=torch.arange(3 * count).reshape(-1, 3))


def brute_to_mesh(x, mesh):
    """The foot in the plane by least squares where it is inside, and the three sides."""
    best = brute_to_curve(x, Curve(mesh.x, edges=mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)))
    for a, b, c in mesh.x.numpy()[mesh.faces.numpy()]:
        plane = np.stack([b - a, c - a], 1)
        if np.linalg.matrix_rank(plane) == 2:
            weights = np.linalg.lstsq(plane, (x - a).T)[0]
            inside = (weights >= 0).all(0) & (weights.sum(0) <= 1)
            foot = np.linalg.norm(x - a - (plane @ weights).T, axis=1)
            best = np.where(inside, np.minimum(best, foot), best)
    return best


def brute_to_curve(x, curve):
    """A segment's nearest point is one of its ends or the foot of the perpendicular; one segment at a time."""
    best = np.full(len(x), np.inf)
    for a, b in curve.x.numpy()[curve.edges.numpy()]:
        best = np.minimum(best, np.minimum(np.linalg.norm(x - a, axis=1), np.linalg.norm(x - b, axis=1)))
        if (a != b).any():
            t = (x - a) @ (b - a) / ((b - a) @ (b - a))
            foot = np.linalg.norm(x - a - t[:, None] * (b - a), axis=1)
            best = np.where((t > 0) & (t < 1), np.minimum(best, foot), best)
    return best


@settings(deadline=None, max_examples=25)
@given(seed=seeds, spread=st.sampled_from([1.1, 5.0, 100.0]))
def test_points_to_triangles(seed, spread):
    rng = np.random.default_rng(seed)
    mesh = triangles(rng, 40, spread)
    inside = mesh.x[mesh.faces].mean(1)[:20].numpy()
    x = np.concatenate([rng.normal(size=(30, 3)) * 10 ** rng.uniform(-2, 2), inside, mesh.x.numpy()[:5]])
    expected = brute_to_mesh(x, mesh)
    assert distances(Points(torch.from_numpy(x)), mesh).numpy() == pytest.approx(
        expected, rel=1e-11, abs=1e-11 * np.abs(x).max()
    )


@settings(deadline=None, max_examples=15)
@given(seed=seeds, d=st.sampled_from([2, 3]))
def test_points_to_segments(seed, d):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(25, d))
    edges = np.concatenate([rng.integers(0, 25, (30, 2)), [[3, 3]]])
    curve = Curve(torch.from_numpy(x), edges=torch.from_numpy(edges))
    points = rng.normal(size=(20, d)) * 3
    expected = brute_to_curve(points, curve)
    assert distances(Points(torch.from_numpy(points)), curve).numpy() == pytest.approx(expected, abs=1e-12)


def test_far_points_and_batches(monkeypatch):
    """Every face is a candidate for the center of a sphere; small batches change nothing."""
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(300, 1, 3))
    corners = corners / np.linalg.norm(corners, axis=2, keepdims=True) + 0.05 * rng.normal(size=(300, 3, 3))
    mesh = Mesh(torch.from_numpy(corners.reshape(-1, 3)), faces=torch.arange(900).reshape(-1, 3))
    x = Points(torch.from_numpy(np.concatenate([np.zeros((3, 3)), rng.normal(size=(50, 3)) * 20])))
    expected = distances(x, mesh)
    assert expected.numpy() == pytest.approx(brute_to_mesh(x.x.numpy(), mesh), rel=1e-12)
    monkeypatch.setattr("diffeo.diagnostics.distance._PAIRS", 7)
    assert torch.equal(distances(x, mesh), expected)


def test_points_to_points_and_pooling():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 2)), rng.normal(size=(10, 2))
    a, b = Points(torch.from_numpy(x)), Points(torch.from_numpy(y))
    both = np.concatenate([cKDTree(y).query(x)[0], cKDTree(x).query(y)[0]])
    expected = Distance(both.mean(), np.percentile(both, 95), both.max())
    assert symmetric_distance(a, b) == pytest.approx(expected)
    assert symmetric_distance(a, a) == Distance(0.0, 0.0, 0.0)


def test_unused_vertices_are_no_part_of_a_surface():
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], dtype=torch.float64)
    mesh = Mesh(x, faces=torch.tensor([[0, 1, 2]]))
    far = distances(Points(x[3:]), mesh)
    assert far.item() == pytest.approx(torch.linalg.norm(x[3] - torch.tensor([0.5, 0.5, 0.0])).item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_is_double_and_detached(dtype):
    x = torch.rand(5, 3, dtype=dtype, requires_grad=True)
    d = distances(Points(x), Points(x))
    assert d.dtype == torch.float64
    assert not d.requires_grad


def test_dimensions_must_agree():
    with pytest.raises(ValueError, match="same dimension, and got 2 and 3"):
        distances(Points(torch.rand(4, 2)), Points(torch.rand(4, 3)))


def test_symmetry_under_rigid_motion():
    """The distance does not depend on the frame."""
    rng = np.random.default_rng(2)
    a, b = triangles(rng, 20, 2.0), triangles(rng, 20, 2.0)
    q = torch.from_numpy(np.linalg.qr(rng.normal(size=(3, 3)))[0])
    move = lambda shape: shape.with_positions(shape.x @ q.T + 3.0)  # noqa: E731
    for first, second in itertools.permutations((a, b)):
        assert distances(move(first), move(second)).numpy() == pytest.approx(
            distances(first, second).numpy(), abs=1e-12
        )
