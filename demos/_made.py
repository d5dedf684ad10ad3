"""Surfaces made in code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from skimage.measure import marching_cubes
from torch import Tensor

from diffeo import Mesh

RELAXATIONS, PROJECTIONS = 6, 3


def organ(centers: Tensor, radii: Tensor, cell: float) -> Mesh:
    """A smooth closed surface around balls that melt into each other, normals outward.

    Args:
        centers: of the balls, shape (k, 3), float64.
        radii: shape (k,); where many balls overlap, the surface lies outside them.
        cell: about the length of the edges, in the units of the centers.
    """

    def level(x: Tensor) -> Tensor:
        return 2 - np.log(4) + torch.logsumexp(-2 * (torch.cdist(x, centers) / radii).square(), dim=1)

    lo, hi = centers.amin(0) - 2 * radii.max(), centers.amax(0) + 2 * radii.max()
    axes = [torch.arange(float(a), float(b), cell, dtype=torch.float64) for a, b in zip(lo, hi, strict=True)]
    values = level(torch.cartesian_prod(*axes)).reshape([len(axis) for axis in axes])
    vertices, triangles, _, _ = marching_cubes(values.numpy(), 0.0, gradient_direction="ascent")
    faces = torch.from_numpy(triangles.astype(np.int64))
    x = lo + cell * torch.from_numpy(vertices.astype(np.float64))
    return Mesh(relaxed(x, faces, level), faces=faces)


def relaxed(x: Tensor, faces: Tensor, level: Callable[[Tensor], Tensor]) -> Tensor:
    """Vertices moved to the middle of their neighbors and back onto the level set: marching cubes leaves slivers."""
    a, b = torch.cat([faces, faces.roll(1, 1)]).reshape(-1), torch.cat([faces.roll(1, 1), faces]).reshape(-1)
    for _ in range(RELAXATIONS):
        x = torch.zeros_like(x).index_add_(0, a, x[b]) / torch.bincount(a)[:, None]
        for _ in range(PROJECTIONS):
            x.requires_grad_()
            value = level(x)
            (slope,) = torch.autograd.grad(value.sum(), x)
            x = (x - value[:, None] * slope / slope.square().sum(1, keepdim=True)).detach()
    return x
