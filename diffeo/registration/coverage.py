"""What images cover of space: whether two have a part of it in common, and what is known beyond their borders."""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor

from diffeo.grid import Grid
from diffeo.shapes import Image

LOOKED_AT = 40  # points along an axis, to see whether grids overlap
BORDER = 0.05  # of an image's mean square: with more at its border, what lies beyond is not background but unknown


def bounded(image: Image) -> Image:
    """An image that is not background at its border gets a mask, because what lies beyond is unknown."""
    if image.mask is not None:
        return image
    values = image.above_background
    faces = [values.select(axis, k).flatten() for axis in range(1, values.ndim) for k in (0, -1)]
    if mean_square(torch.cat(faces)) <= BORDER * mean_square(values):
        return image
    return dataclasses.replace(image, mask=torch.ones_like(values[0]))


def mean_square(values: Tensor) -> float:
    """The mean of the squares, in float64."""
    return float(values.norm().double()) ** 2 / values.numel()


def check_overlap(source: Image, target: Image) -> None:
    """Raise ValueError unless the grids of the two images have a part of space in common."""
    if overlap(source, target):
        return
    a, b = source.grid, target.grid
    raise ValueError(
        f"source and target do not overlap in space: the source lies in {box(a)}, the target in {box(b)}. Correct the "
        "affine in the header of one of them, or allow an alignment: it starts from equal centers too."
    )


def overlap(source: Image, target: Image) -> bool:
    """Whether the grids of the two images have a part of space in common."""
    return meet(source.grid, target.grid) or meet(target.grid, source.grid)


def meet(a: Grid, b: Grid) -> bool:
    """Whether some of a's points, evenly chosen, lie in the box of b, whose cells reach half a step outward."""
    points = a.shrunk([max(1, n // LOOKED_AT) for n in a.shape]).points(torch.zeros((), dtype=torch.float64))
    index = b.to_index(points)
    ends = torch.tensor(b.shape, dtype=torch.float64) - 0.5
    return bool(((index >= -0.5) & (index <= ends)).all(1).any())


def box(grid: Grid) -> str:
    """The range of positions along every axis of space, in words."""
    corners = torch.tensor(list(itertools.product(*((-0.5, n - 0.5) for n in grid.shape))), dtype=torch.float64)
    x = grid.to_space(corners)
    return " × ".join(f"[{low:.4g}, {high:.4g}]" for low, high in zip(x.amin(0), x.amax(0), strict=True))
