"""Descents on grids, and what they grow for."""

import dataclasses

import torch

from diffeo.flows import GridDescent
from diffeo.grid import Grid
from diffeo.kernels import GaussianKernel
from diffeo.shapes import Image
from tests.oracles import rotation
from tests.shapes.images import sampled

F64 = torch.float64
KERNEL = GaussianKernel(0.3)


def still(grid, kernel=KERNEL, dtype=F64, **options):
    """The identity, ready to grow."""
    return GridDescent(grid, kernel, torch.zeros(grid.dim, *grid.shape, dtype=dtype), **options)


def oblique(*shape, seed=0, size=3.0):
    """A turned grid over a box of a size, with different steps along its axes."""
    d = len(shape)
    steps = size / (torch.tensor(shape, dtype=F64) - 1).clamp(min=4)
    affine = torch.eye(d + 1, dtype=F64)
    affine[:d, :d] = rotation(d, seed=seed) * steps
    affine[:d, d] = -affine[:d, :d] @ (torch.tensor(shape, dtype=F64) - 1) / 2
    return Grid(shape, affine)


def pair_on(grid, shift=0.15):
    """Two images of one bump, the second moved: 0 on the border of a box of size 3 or so."""
    fixed = sampled(grid.moved(torch.eye(grid.dim), torch.full((grid.dim,), -shift)))
    return sampled(grid), dataclasses.replace(fixed, grid=grid)


def in_space(grid, u):
    """Displacements in steps as displacements in space, shape (n, d)."""
    return u.flatten(1).T @ grid.linear.T.to(u)


def images(shape):
    """Whether a shape is an image."""
    return isinstance(shape, Image)
