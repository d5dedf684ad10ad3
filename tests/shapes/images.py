"""Grids, images and maps for tests of images."""

from __future__ import annotations

import torch

from diffeo.flows import Affine, Geodesic
from diffeo.grid import Grid
from diffeo.kernels import GaussianKernel
from diffeo.shapes import Image
from tests.oracles import cloud, rotation

F64 = torch.float64


def grid_of(*shape: int, affine: torch.Tensor | None = None) -> Grid:
    """A grid with steps of length 1 from the origin, or with an affine of its own."""
    return Grid(shape, torch.eye(len(shape) + 1, dtype=torch.float64) if affine is None else affine)


def box(n: int, d: int = 2, size: float = 4.0) -> Grid:
    """n points per axis from −size/2 to size/2, oblique, with one axis the other way round."""
    turn = rotation(d, seed=1)
    turn[:, 0] *= -1
    affine = torch.eye(d + 1, dtype=F64)
    affine[:d, :d] = turn * size / (n - 1)
    affine[:d, d] = -affine[:d, :d] @ torch.full((d,), (n - 1) / 2, dtype=F64)
    return Grid((n,) * d, affine)


def bump(x: torch.Tensor) -> torch.Tensor:
    """A smooth function of positions (n, d), nearly 0 at distance 2."""
    center = torch.tensor([0.2, -0.1, 0.15], dtype=F64)[: x.shape[1]]
    return torch.exp(-(x - center).square().sum(1) / (2 * 0.35**2)) * (1 + 0.5 * x[:, 0])


def sampled(grid: Grid, **options) -> Image:
    """The function on a grid."""
    values = bump(grid.points(torch.empty((), dtype=F64)))
    return Image(values.reshape(1, *grid.shape), grid, background=torch.zeros(1, dtype=F64), **options)


def maps(d: int) -> list[Geodesic]:
    """Two maps that are not small, inverted exactly enough."""
    return [
        Geodesic(GaussianKernel(0.8), 0.4 * cloud(5, d, seed=k), momenta=0.25 * cloud(5, d, seed=k + 5), steps=8)
        for k in (1, 2)
    ]


def still(d: int) -> Affine:
    """The identity."""
    return Affine(torch.eye(d, dtype=F64), torch.zeros(d, dtype=F64))
