"""The maps that images are registered by: where each starts, and how it goes on to the next level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from diffeo.core import Diffeo, Inverse
from diffeo.fields import GridField
from diffeo.flows import Flow, GridDescent, GridGeodesic
from diffeo.flows.grid_descent import pin
from diffeo.grid import Grid
from diffeo.kernels import GaussianKernel, Radial
from diffeo.registration.image_settings import ImageSettings
from diffeo.registration.pyramid import Level

WEIGHT = 0.25  # of the energy, in squares of the size of the grid, that a flow or a geodesic spends
RELAXATION = {2: 0.5, 3: 0.32}  # of a descent, in steps, for a weight of 1; as a diffusion, its square goes with it
SHOTS = 4  # time steps of a geodesic
GEODESIC_WIDTHS = {
    2: (0.16, 0.08, 0.04, 0.02),
    3: (0.044, 0.022, 0.011),
}  # of its kernel, relative to the size of the grid
NARROWEST = 1.5  # of these, in finest steps, at least
NODE_STEP = 2.0  # of its nodes, in the narrowest width
LAYERS = 6  # of a flow
WIDTHS = (32.0, 16.0, 8.0, 4.0)  # of a flow's kernel, in steps of the finest level
COARSENING = 2  # of a velocity's grid: the narrowest kernel is that many of its steps wide, or more


def start(settings: ImageSettings, level: Level, before: Diffeo | None = None) -> Diffeo:
    """The identity, as a map of the chosen kind; a descent may begin with another map."""
    like = torch.zeros((), dtype=settings.dtype, device=settings.device)
    if settings.model is GridDescent:
        u = like.new_zeros(level.grid.dim, *level.grid.shape)
        if before is not None:
            u = pin(before.to(like).pullback(level.grid).clone())
        relaxation = RELAXATION[level.grid.dim] * math.sqrt(1.0 if settings.weight is None else settings.weight)
        return GridDescent(level.grid, descent_kernel(settings, level), u, relaxation=relaxation)
    if settings.model is Flow:
        kernel = summed_kernel(settings, level.step / level.factor, WIDTHS)
        grid = velocity_grid(level.grid, kernel)
        field = GridField(kernel, grid).to(like)
        return Inverse(Flow(field, settings.solver, settings.steps or LAYERS))
    if settings.model is GridGeodesic:
        size = max(n * s for n, s in zip(level.grid.shape, level.grid.spacing, strict=True))
        widths, fine = GEODESIC_WIDTHS[level.grid.dim], level.step / level.factor
        kernel = summed_kernel(settings, max(size, NARROWEST * fine / widths[-1]), widths)
        nodes = node_grid(level.grid, kernel.scales[-1] * NODE_STEP)
        return GridGeodesic(kernel, nodes, steps=settings.steps or SHOTS).to(like)
    raise ValueError(f"register knows the models Geodesic, Flow and Descent, and got {settings.model.__name__}.")


def transferred(phi: Diffeo, settings: ImageSettings, level: Level) -> Diffeo:
    """The same map, to go on at a finer level."""
    if isinstance(phi, GridDescent):
        return phi.on(level.grid, descent_kernel(settings, level))
    return phi  # velocities live on a grid of their own


def descent_kernel(settings: ImageSettings, level: Level) -> Radial:
    """As wide as a step of the level: wide motions are found at coarse levels, narrow ones at the finest."""
    width = settings.widths[-1] * level.factor if settings.widths else level.step
    return GaussianKernel(width)


def summed_kernel(settings: ImageSettings, step: float, default: Sequence[float]) -> Radial:
    """A sum of Gaussians, each weighted by its width: fine motions are possible, and dearer than wide ones."""
    widths = settings.widths or [w * step for w in default]
    kernel: Radial = GaussianKernel(widths[0])
    for width in widths[1:]:
        kernel = kernel + (width / widths[0]) * GaussianKernel(width)
    return kernel


def node_grid(grid: Grid, step: float) -> Grid:
    """A grid over the same part of space with steps of about a length."""
    counts = [max(2, math.ceil((n - 1) * s / step)) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    ratio = torch.tensor([n / m for n, m in zip(grid.shape, counts, strict=True)], dtype=torch.float64)
    affine = grid.affine.clone()
    affine[: grid.dim, : grid.dim] = grid.linear * ratio
    affine[: grid.dim, grid.dim] = grid.origin + grid.linear @ ((ratio - 1) / 2)
    return Grid(tuple(counts), affine)


def velocity_grid(grid: Grid, kernel: Radial) -> Grid:
    """A grid over the same part of space, as coarse as the kernel allows."""
    step = kernel.scales[-1] / COARSENING
    corners = grid.to_space(torch.tensor([[0.0] * grid.dim, [n - 1.0 for n in grid.shape]], dtype=torch.float64))
    counts = [max(4, round((n - 1) * s / step) + 1) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    ratio = torch.tensor([(n - 1) / (m - 1) for n, m in zip(grid.shape, counts, strict=True)], dtype=torch.float64)
    affine = grid.affine.clone()
    affine[: grid.dim, : grid.dim] = grid.linear * ratio
    affine[: grid.dim, grid.dim] = corners[0]
    return Grid(tuple(counts), affine)
