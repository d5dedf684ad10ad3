"""Images on grids that hide nothing: rotated, flipped, with voxels of three sizes; and maps to carry them by."""

from __future__ import annotations

import nibabel
import numpy as np
import torch

from diffeo.core import Compose
from diffeo.flows import Affine, Warp
from diffeo.grid import Grid
from diffeo.io.raster import PICTURE
from tests.oracles import cloud, rotation

SPACING = (1.5, 2.0, 3.0)


def grid(shape, seed=0, flip=False, spacing=SPACING):
    """A grid in a random position, its center near 0; an odd number of axes turned round if asked."""
    d = len(shape)
    affine = torch.eye(d + 1, dtype=torch.float64)
    affine[:d, :d] = rotation(d, seed=seed) @ torch.diag(torch.tensor(spacing[:d], dtype=torch.float64))
    if flip:
        affine[:d, 0] *= -1
    center = affine[:d, :d] @ (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    affine[:d, d] = cloud(1, d, seed=seed, size=2.0)[0] - center
    return Grid(shape, affine)


def picture(rows, columns):
    """The grid of a picture."""
    return Grid((rows, columns), torch.from_numpy(PICTURE))


def bumps(on, seed=0, channels=1):
    """Smooth values in [0, 1], nearly 0 at the border, that no symmetry keeps; shape (channels, *on.shape)."""
    index = on.indices(torch.empty(0, dtype=torch.float64))
    size = _column(torch.tensor(on.shape, dtype=torch.float64))
    unit = (2 * index + 1) / size - 1  # from -1 to 1
    values = []
    for k in range(channels):
        centers = cloud(4, on.dim, seed=seed + k, size=0.25).clamp(-0.4, 0.4)
        radii = [0.12, 0.16, 0.2, 0.24]
        parts = [
            ((unit - c.reshape(-1, *[1] * on.dim)) / r).square().sum(0) for r, c in zip(radii, centers, strict=True)
        ]
        values.append(torch.stack(parts).neg().exp().sum(0))
    stacked = torch.stack(values)
    return stacked / stacked.max()


def _column(vector):
    """For arrays of shape (d, …)."""
    return vector.reshape(-1, *[1] * len(vector))


def warp(on, size=0.6, seed=1):
    """A smooth map without folds that moves by up to about ``size`` steps of the grid, not at all at its border."""
    index = on.indices(torch.empty(0, dtype=torch.float64))
    unit = 2 * index / _column(torch.tensor(on.shape, dtype=torch.float64) - 1) - 1  # from -1 to 1
    inside = (1 - unit**2).prod(0)
    phase = cloud(on.dim, on.dim, seed=seed, size=2.0)
    waves = torch.stack([torch.sin(2 * unit + _column(p)).prod(0) for p in phase])
    ahead = _column(torch.arange(on.dim, 0, -1, dtype=torch.float64)) / on.dim
    return Warp(on, size * inside * (ahead + 0.5 * waves))


def motion(d, seed=2, size=1.0):
    """An affine map near the identity, with a shift."""
    matrix = torch.eye(d, dtype=torch.float64) + cloud(d, d, seed=seed, size=0.06)
    return Affine(matrix, cloud(1, d, seed=seed + 1, size=size)[0])


def both(on, seed=2):
    """An affine map, then a warp: what a registration leaves."""
    return Compose([motion(on.dim, seed), warp(on)])


def nifti(path, values, affine, intent=0, **header):
    """A NIfTI file made with nibabel alone."""
    image = nibabel.Nifti1Image(np.asarray(values), np.asarray(affine))
    image.header["intent_code"] = intent
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return path
