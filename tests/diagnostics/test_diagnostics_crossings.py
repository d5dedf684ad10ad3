"""Crossing faces: compared with brute force in exact rational arithmetic."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeo.diagnostics import crossing_faces, crossing_pairs
from diffeo.shapes import Mesh


def soup(corners):
    corners = torch.as_tensor(np.asarray(corners, float)).reshape(-1, 3)
    return Mesh(corners, faces=torch.arange(len(corners)).reshape(-1, 3))


def cross(u, v):
    return (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])


def minus(u, v):
    return tuple(a - b for a, b in zip(u, v, strict=True))


def dot(u, v):
    return sum(a * b for a, b in zip(u, v, strict=True))


def interval(triangle, heights, line):
    """Where the triangle meets the other plane, along the line."""
    ends = []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        if heights[i] == 0:
            ends.append(Fraction(dot(triangle[i], line)))
        if heights[i] * heights[j] < 0:
            t = Fraction(heights[i], heights[i] - heights[j])
            ends.append((1 - t) * dot(triangle[i], line) + t * dot(triangle[j], line))
    return min(ends), max(ends)


def cross_exactly(a, b):
    """Möller's criterion in integers and fractions."""
    heights, normals = [], []
    for one, other in ((a, b), (b, a)):
        normal = cross(minus(other[1], other[0]), minus(other[2], other[0]))
        normals.append(normal)
        heights.append([dot(minus(p, other[0]), normal) for p in one])
    if any(min(h) >= 0 or max(h) <= 0 for h in heights):
        return False
    line = cross(*normals)
    (a0, a1), (b0, b1) = interval(a, heights[0], line), interval(b, heights[1], line)
    return max(a0, b0) < min(a1, b1)


def brute(corners):
    triangles = [[tuple(int(c) for c in p) for p in t] for t in corners]
    pairs = itertools.combinations(range(len(triangles)), 2)
    return [[i, j] for i, j in pairs if cross_exactly(triangles[i], triangles[j])]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2, 4, 50]))
def test_as_in_exact_arithmetic(seed, size):
    """On a small grid nearly every pair touches, lies in one plane or is degenerate in some other way."""
    corners = np.random.default_rng(seed).integers(0, size + 1, (14, 3, 3))
    expected = brute(corners)
    for scale, shift in ((1, 0), (0.1, 0), (1e-3, 7)):
        assert crossing_pairs(soup(corners * scale + shift)).tolist() == expected


def test_batches_and_sizes(monkeypatch):
    """Many small triangles and a large one; the sweep gives the same pairs in small batches."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 40, (60, 1, 3)) + rng.integers(-6, 7, (60, 3, 3))
    corners[7] = [[-100, -100, 20], [200, -90, 21], [50, 200, 19]]
    expected = brute(corners)
    assert len(expected) > 10
    assert crossing_pairs(soup(corners)).tolist() == expected
    monkeypatch.setattr("diffeo.diagnostics.crossings._PAIRS", 5)
    assert crossing_pairs(soup(corners)).tolist() == expected


def tetrahedron():
    return torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64), torch.tensor(
        [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    )


def test_closed_surfaces_do_not_cross_themselves():
    x, faces = tetrahedron()
    assert crossing_faces(Mesh(x, faces=faces)).tolist() == []


def test_a_spike_through_a_surface():
    """The tip of a tetrahedron pushed through the opposite face of another one."""
    x, faces = tetrahedron()
    other = x * torch.tensor([0.1, 0.1, 2.0], dtype=x.dtype) + torch.tensor([0.2, 0.2, -0.5], dtype=x.dtype)
    mesh = Mesh(torch.cat([x, other]), faces=torch.cat([faces, faces + 4]))
    assert crossing_faces(mesh).tolist() == [0, 3, 5, 6, 7]  # floor and slope; the three long sides of the spike


def test_faces_that_share_a_vertex_are_left_out():
    x = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [1, 0.5, -1], [1, 0.5, 1]], dtype=torch.float64)
    sharing = Mesh(x, faces=torch.tensor([[0, 1, 2], [0, 3, 4]]))
    assert crossing_faces(sharing).tolist() == []
    apart = Mesh(torch.cat([x, x[:1]]), faces=torch.tensor([[0, 1, 2], [5, 3, 4]]))  # the same place, another vertex
    assert crossing_faces(apart).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_sheet_far_away_does_not_cross_itself(dtype):
    axis = torch.linspace(0, 1, 8, dtype=dtype)
    x = torch.cartesian_prod(axis, axis)
    x = torch.cat([x + 1000, (0.3 * x[:, :1] + 0.7 * x[:, 1:]) + 1000], 1)
    corner = torch.tensor([i * 8 + j for i in range(7) for j in range(7)])
    faces = torch.cat(
        [torch.stack([corner, corner + 8, corner + 1], 1), torch.stack([corner + 8, corner + 9, corner + 1], 1)]
    )
    assert crossing_pairs(Mesh(x, faces=faces)).shape == (0, 2)
