"""Pairs to register, small enough for tests."""

import math

import torch

from diffeo import Curve, GaussianKernel, Geodesic, Mesh, Points
from diffeo.solvers import RK4


def blob(n: int = 40, bend: float = 0.3, turn: float = 0.0) -> Curve:
    """A closed plane curve with bumps."""
    t = torch.linspace(0, 2 * math.pi, n + 1, dtype=torch.float64)[:-1]
    r = 1 + bend * torch.cos(3 * t + turn)
    x = torch.stack([1.5 * r * torch.cos(t), r * torch.sin(t)], 1)
    edges = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n], 1)
    return Curve(x, edges=edges)


def ball(rings: int = 7, squash: float = 0.0) -> Mesh:
    """A triangulated ellipsoid, flattened and bent by ``squash``."""
    points, faces, sectors = [torch.tensor([0.0, 0.0, 1.0])], [], 2 * rings
    for k in range(1, rings):
        a = math.pi * k / rings
        for j in range(sectors):
            b = 2 * math.pi * j / sectors
            points.append(torch.tensor([math.sin(a) * math.cos(b), math.sin(a) * math.sin(b), math.cos(a)]))
    points.append(torch.tensor([0.0, 0.0, -1.0]))
    ring = lambda k, j: 1 + (k - 1) * sectors + j % sectors  # noqa: E731
    last = len(points) - 1
    for j in range(sectors):
        faces += [[0, ring(1, j), ring(1, j + 1)], [last, ring(rings - 1, j + 1), ring(rings - 1, j)]]
        for k in range(1, rings - 1):
            faces += [
                [ring(k, j), ring(k + 1, j), ring(k + 1, j + 1)],
                [ring(k, j), ring(k + 1, j + 1), ring(k, j + 1)],
            ]
    x = torch.stack(points).double() * torch.tensor([1.0, 1.3, 2.0]).double()
    x = x * (1 - squash * torch.tensor([0.3, 0.0, 0.2]).double())
    x[:, 0] += 0.25 * squash * x[:, 2] ** 2
    return Mesh(x, faces=torch.tensor(faces))


def cloud(n: int = 60, d: int = 2, seed: int = 0) -> Points:
    """Points in a box with sides 1, 2, 3, so that its axes can be told apart."""
    x = torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Points(x * torch.arange(1, d + 1).double())


def bent(points: Points, strength: float = 0.1) -> tuple[Points, Geodesic]:
    """The cloud moved by a known geodesic."""
    generator = torch.Generator().manual_seed(1)
    momenta = strength * torch.randn(points.x.shape, generator=generator, dtype=torch.float64)
    phi = Geodesic(GaussianKernel(0.8), points.x, RK4(), 10, momenta=momenta)
    return Points(phi(points.x).detach()), phi


def rotation(d: int, angle: float = 0.6) -> torch.Tensor:
    """A rotation in the plane of the first and the last axis."""
    matrix = torch.eye(d, dtype=torch.float64)
    c, s = math.cos(angle), math.sin(angle)
    matrix[0, 0], matrix[0, -1], matrix[-1, 0], matrix[-1, -1] = c, -s, s, c
    return matrix
