"""Made-up images whose sides can be told, and maps that move them."""

from __future__ import annotations

import dataclasses
import math

import torch

from diffeo.flows import Affine, Warp
from diffeo.grid import Grid
from diffeo.shapes import Image, Nearest
from tests.viz.bumps import Bumps

SPOT = (12.0, -9.0, 15.0)
"""Where the phantom is bright: millimeters right of, in front of and above the middle of space."""
RAS = {"space": "RAS+ millimeters"}
PIXELS = {"space": "pixels (x = column, y = row)"}

HEADERS = {
    "RAS": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "LAS": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "LPI": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "PIR": [[0, 0, 1], [-1, 0, 0], [0, -1, 0]],
    "ASL": [[0, 0, -1], [1, 0, 0], [0, 1, 0]],
}
"""Which way the axes of the index go, as columns."""


def header(name, spacing=(1.5, 2.0, 3.0), shape=(40, 33, 26), degrees=0.0, about=2):
    """A grid around the origin, with steps of different lengths, turned about one coordinate."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.eye(3, dtype=torch.float64)
    i, j = [k for k in range(3) if k != about]
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = turn @ torch.tensor(HEADERS[name], dtype=torch.float64) * torch.tensor(spacing)
    affine[:3, 3] = -affine[:3, :3] @ (torch.tensor(shape) // 2).double()
    return Grid(shape, affine)


def phantom(grid, at=SPOT, attributes=RAS, width=3.0):
    """A wide faint ball around the origin, and a small bright spot."""
    x = grid.points(torch.zeros((), dtype=torch.float64))
    ball = (1 - (x / 30).square().sum(1)).clamp(min=0).mul(0.15)
    spot = torch.exp(-(x - torch.tensor(at, dtype=torch.float64)[: grid.dim]).square().sum(1) / (2 * width**2))
    return Image((ball + spot).reshape(1, *grid.shape).float(), grid, attributes=attributes)


def picture_grid(rows=40, columns=60, pixel=1.0):
    """Row and column to x = column and y = row."""
    return Grid((rows, columns), torch.tensor([[0, pixel, 0], [pixel, 0, 0], [0, 0, 1.0]]))


def picture(rows=40, columns=60, channels=1, at=(0.3, 0.4), attributes=PIXELS):
    """A Gaussian spot at a part of the width and of the height, in values up to 255."""
    grid = picture_grid(rows, columns)
    y, x = grid.indices(torch.zeros(()))
    size = max(rows, columns)
    spot = torch.exp(-((x - at[0] * columns) ** 2 + (y - at[1] * rows) ** 2) / (0.02 * size**2))
    shades = torch.linspace(1, 0.3, channels)[:, None, None] if channels > 1 else 1.0
    return Image((255 * spot * shades).expand(channels, rows, columns).clone(), grid, attributes=attributes)


def pictures(**kind):
    """A picture and another one, whose spot is elsewhere."""
    return picture(at=(0.3, 0.4), **kind), picture(at=(0.45, 0.5), **kind)


def labels():
    """The same with whole numbers that are names."""
    found = []
    for image in pictures():
        values = (image.values / 80).round()
        found.append(dataclasses.replace(image, values=values, background=None, interpolation=Nearest()))
    return tuple(found)


def volumes(name="LPI", spacing=(1.5, 2.0, 3.0), shape=(40, 33, 26), attributes=RAS, **turned):
    """A volume and another one, whose spot is elsewhere."""
    grid = header(name, spacing, shape, **turned)
    return tuple(phantom(grid, at, attributes, width=8.0) for at in ((0.0, 4.0, -5.0), (12.0, -9.0, 5.0)))


def small_volumes():
    """Such volumes of few points."""
    return volumes(spacing=(3.0, 3.5, 4.0), shape=(22, 18, 15))


def bumps(image, strength=0.06):
    """A smooth map of the space around an image."""
    grid = image.grid
    x = grid.points(torch.zeros((), dtype=torch.float64))
    lo, hi = x.amin(0), x.amax(0)
    generator = torch.Generator().manual_seed(3)
    size = float((hi - lo).max())
    centers = lo + (hi - lo) * torch.rand(4, grid.dim, generator=generator, dtype=torch.float64)
    pushes = strength * size * torch.randn(4, grid.dim, generator=generator, dtype=torch.float64)
    phi = Bumps(centers, pushes, size / 4, steps=2)
    phi.register_buffer("unit", torch.ones((), dtype=torch.float64))  # says in which dtype the map computes
    return phi


def motion(d, dtype=torch.float64):
    """A map whose log-determinant is known."""
    matrix = torch.eye(d, dtype=dtype) + 0.1 * torch.arange(d * d, dtype=dtype).reshape(d, d) / d
    return Affine(matrix, torch.linspace(1, 2, d, dtype=dtype))


def waves(image, amplitude=0.05, lengths=2.0):
    """A map that is known on the grid of an image: each coordinate waves along the next axis.

    Args:
        amplitude: of the displacement, in parts of the grid's sides.
        lengths: waves along each side.
    """
    shape = torch.tensor(image.grid.shape, dtype=torch.float64).reshape(-1, *[1] * image.grid.dim)
    index = image.grid.indices(torch.zeros((), dtype=torch.float64))
    u = amplitude * shape * torch.sin(2 * math.pi * lengths * index / shape).roll(1, 0)
    return Warp(image.grid, u)
