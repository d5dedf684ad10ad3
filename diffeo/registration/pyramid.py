"""Images from coarse to fine: the part of space that is worked in, and copies of the images for every level."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from diffeo.core import Shape
from diffeo.grid import Grid
from diffeo.shapes import Compound, Image, PointShape

CONTENT = 0.02  # of the largest deviation from the background: what is less is background
FEWEST = 8  # points that are left along an axis
LOOKED_AT = 64  # points along an axis, to see where the content is
SIZES = {1: 64, 2: 40, 3: 16}  # points along the shortest axis of the coarsest level, at least, in so many dimensions


@dataclass(frozen=True)
class Level:
    """One resolution.

    Attributes:
        factor: how much coarser than the target's finest step.
        step: the mean step of its grid, in length units.
        grid: where the map is known, and the images are compared.
        source, target: the shapes, their images as coarse as the grid and sampled on it.
    """

    factor: int
    step: float
    grid: Grid
    source: Shape
    target: Shape


def images(shape: Shape) -> list[Image]:
    """The images in a shape."""
    if isinstance(shape, Compound):
        return [image for part in shape.parts for image in images(part)]
    return [shape] if isinstance(shape, Image) else []


def points(shape: Shape) -> list[PointShape]:
    """The points, curves and meshes in a shape."""
    if isinstance(shape, Compound):
        return [p for part in shape.parts for p in points(part)]
    return [shape] if isinstance(shape, PointShape) else []


def default_levels(grid: Grid) -> tuple[int, ...]:
    """Powers of two, coarse to fine: at most three levels, fewer for small images."""
    along = [n * s / min(grid.spacing) for n, s in zip(grid.shape, grid.spacing, strict=True) if n > 1]
    room = min(along, default=1.0) / SIZES[grid.dim]
    most = 4 if grid.dim == 3 else 8
    count = max(0, min(int(math.log2(most)), math.floor(math.log2(max(room, 1.0)))))
    return tuple(2**k for k in range(count, -1, -1))


def levels(source: Shape, target: Shape, factors: Sequence[int]) -> list[Level]:
    """The pyramid, coarsest first."""
    fixed, moving = images(target)[0], images(source)[0]
    per_axis = [steps_of(fixed.grid, factor) for factor in factors]
    work = working_grid(fixed, moving, [max(f[axis] for f in per_axis) for axis in range(fixed.grid.dim)])
    found = []
    for factor, shrink in zip(factors, per_axis, strict=True):
        grid = work.shrunk(shrink)
        step = grid.cell ** (1 / grid.dim)
        coarse = coarse_source(source, work, shrink), coarse_target(target, work, shrink)
        found.append(Level(factor, step, grid, *coarse))
    return found


def steps_of(grid: Grid, factor: int) -> tuple[int, ...]:
    """How many points of the grid make a step of ``factor`` of its shortest ones, along each axis."""
    shortest = min(grid.spacing)
    return tuple(
        max(1, min(round(factor * shortest / s), n // FEWEST)) for s, n in zip(grid.spacing, grid.shape, strict=True)
    )


def coarse_target(shape: Shape, work: Grid, factors: tuple[int, ...]) -> Shape:
    """The shape with its images on the working grid, shrunk."""
    if isinstance(shape, Compound):
        return Compound([coarse_target(part, work, factors) for part in shape.parts])
    return shape.resampled(work).shrunk(factors) if isinstance(shape, Image) else shape


def coarse_source(shape: Shape, work: Grid, factors: tuple[int, ...]) -> Shape:
    """The shape with its images about as coarse as the working grid shrunk, and to be sampled there."""
    if isinstance(shape, Compound):
        return Compound([coarse_source(part, work, factors) for part in shape.parts])
    if not isinstance(shape, Image):
        return shape
    grid = work.shrunk(factors)
    if max(factors) > 1 and aligned(shape.grid, work):
        return shape.resampled(covering(work, shape.grid, factors)).shrunk(factors).on(grid)
    across = torch.linalg.inv(grid.linear) @ shape.grid.linear  # the source's steps, in steps of the grid
    axes = zip(across.norm(dim=0).tolist(), shape.grid.shape, strict=True)
    own = tuple(max(1, min(round(1 / step), n // FEWEST)) for step, n in axes)
    return shape.shrunk(own).on(grid)


def aligned(grid: Grid, other: Grid) -> bool:
    """Whether the points of two grids coincide, as far as both reach, up to a thousandth of a step.

    Their blocks then do so too if they begin alike: images that are equal stay equal when they are shrunk.
    """
    matrix, offset = grid.from_index_of(other)
    reach = torch.tensor(other.shape, dtype=torch.float64)
    error = (matrix - torch.eye(grid.dim)).abs() @ reach + (offset - offset.round()).abs()
    return float(error.max()) < 1e-3


def covering(work: Grid, other: Grid, factors: Sequence[int]) -> Grid:
    """The working grid, extended by whole blocks of ``factors`` points until it covers another, aligned grid."""
    first = work.to_index(other.origin[None])[0].round().long().tolist()
    lower = [min(0, i // k * k) for i, k in zip(first, factors, strict=True)]
    ends = zip(first, other.shape, work.shape, factors, strict=True)
    upper = [max(m, -(-(i + n) // k) * k) for i, n, m, k in ends]
    return work.box(lower, upper)


def working_grid(target: Image, source: Image, multiple: Sequence[int]) -> Grid:
    """The target's grid around what is seen in both images, with a margin; every axis a multiple of that many points.

    The map is the identity on its border: the margin is room to move, and may lie outside of the image.
    """
    grid = target.grid
    look = [max(1, n // LOOKED_AT) for n in grid.shape]
    seen = content(target.shrunk(tuple(look)))
    seen |= content(source.resampled(grid.shrunk(look)))
    lower, upper = [], []
    for axis, (n, k, m) in enumerate(zip(grid.shape, look, multiple, strict=True)):
        if n == 1:
            lower, upper = [*lower, 0], [*upper, 1]
            continue
        where = seen.movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0]
        first, last = (int(where[0]) * k, (int(where[-1]) + 1) * k) if len(where) else (0, n)
        last = n if last > n - k else last  # what does not fill a block was not looked at
        margin = max(4, m)
        first, last = first - margin, last + margin
        last = first + math.ceil((last - first) / m) * m
        lower, upper = [*lower, first], [*upper, last]
    return grid.box(lower, upper)


def content(image: Image) -> torch.Tensor:
    """Where an image is not background, boolean, shape grid.shape."""
    deviation = image.above_background.abs().amax(0)
    return deviation > CONTENT * deviation.max()


def gray(image: Image) -> Image:
    """The mean of the channels."""
    assert image.background is not None
    return dataclasses.replace(
        image, values=image.values.mean(0, keepdim=True), background=image.background.mean()[None]
    )
