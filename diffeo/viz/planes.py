"""Planes through images: which way up, how far apart the points, what lies in them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffeo.grid import Grid
from diffeo.sampling import shrink
from diffeo.shapes import Image, Linear, Nearest
from diffeo.viz.view import Array, array

MOST_SIDE = 512
"""Points along a side of a picture; finer ones are shrunk."""
FOREGROUND = 0.1
"""Of the largest difference from the background: what differs by more belongs to the foreground."""


@dataclass(frozen=True)
class Space:
    """What the coordinates of an image mean.

    Attributes:
        unit: of lengths.
        ends: what the low and the high end of each coordinate are called.
        views: what the plane is called in which each coordinate is constant; none in two dimensions.
        downward: whether the last coordinate grows downward on the page.
    """

    unit: str
    ends: tuple[tuple[str, str], ...]
    views: tuple[str, ...] = ()
    downward: bool = False


PATIENT = Space("mm", (("L", "R"), ("P", "A"), ("I", "S")), ("sagittal", "coronal", "axial"))
"""RAS+ millimeters; the first two of them in a plane."""
PICTURE = Space("px", (("", ""), ("", "")), downward=True)
"""Columns and rows of pixels."""
UNKNOWN = Space("data units", (("−x", "+x"), ("−y", "+y"), ("−z", "+z")), ("yz", "xz", "xy"))
"""Nothing is known but the dimension."""


def space_of(image: Image) -> Space:
    """What the reader of the file noted: millimeters, or pixels.

    Without a note nothing is claimed of space: letters that name the wrong side are worse than none. Rows and columns
    (row, column) to (x, y) are those of a picture, and go downward; in other planes y goes up.
    """
    noted, linear = str(image.attributes.get("space", "")), image.grid.linear
    if noted.startswith("RAS"):
        return PATIENT
    rows = image.grid.dim == 2 and torch.equal(linear, float(linear[0, 1].abs()) * torch.eye(2).double().flip(0))
    if noted.startswith("pixels") or (rows and float(linear[0, 1]) == 1):
        return PICTURE
    return dataclasses.replace(UNKNOWN, downward=True) if rows else UNKNOWN


class Side(NamedTuple):
    """A side of a picture: a coordinate, and the axis of the grid that runs along it."""

    coordinate: int
    axis: int
    step: float
    """Length of a step of the axis; negative where the coordinate falls along it."""
    origin: float
    """The coordinate, measured along the axis, at index 0."""

    def at(self, index: Array) -> Array:
        """The coordinate at indices along the axis."""
        return self.origin + self.step * index


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of an image's grid, as it is drawn: both coordinates grow along their sides.

    Attributes:
        grid: of the whole image.
        space: what its coordinates mean.
        right, up: the sides; in a space that is drawn downward, ``up`` points down.
        across: the third axis, in three dimensions.
        level: index along it.
        most: points along a side; a longer side is shrunk.
    """

    grid: Grid
    space: Space
    right: Side
    up: Side
    across: Side | None = None
    level: int = 0
    most: int = MOST_SIDE

    @property
    def name(self) -> str:
        """Which plane, and where; empty in two dimensions."""
        if self.across is None:
            return ""
        where = float(self.across.at(np.array(self.level)))
        letter = "xyz"[self.across.coordinate]
        return f"{self.space.views[self.across.coordinate]}, {letter} = {where:.4g} {self.space.unit}".replace("-", "−")

    @property
    def axes(self) -> tuple[int, int]:
        """The axes of the grid along the two sides."""
        return self.right.axis, self.up.axis

    @property
    def factors(self) -> tuple[int, ...]:
        """Points of the grid per point of the picture, along each axis of the grid."""
        return tuple(math.ceil(n / self.most) if k in self.axes else 1 for k, n in enumerate(self.grid.shape))

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the picture, cells and all, as imshow takes them with ``origin="lower"``."""
        (left, right), (bottom, top) = (sorted((edges[0], edges[-1])) for edges in self._along(edges=True))
        return left, right, bottom, top

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, in length units."""
        left, right, bottom, top = self.extent
        return right - left, top - bottom

    @property
    def ticks(self) -> tuple[Array, Array]:
        """The coordinates of the columns and of the rows of the picture, ascending."""
        columns, rows = (np.sort(centers) for centers in self._along(edges=False))
        return columns, rows

    def _along(self, edges: bool) -> list[Array]:
        """Coordinates of what is at the centers, or at the edges, of the blocks of points, in the order of the axes."""
        found = []
        for side in (self.right, self.up):
            factor, n = self.factors[side.axis], self.grid.shape[side.axis]
            blocks = np.arange(max(1, n // factor) + edges)
            found.append(side.at(blocks * factor + (-0.5 if edges else (factor - 1) / 2)))
        return found

    def slab(self, reach: int = 0) -> Grid:
        """The grid of the plane, and of up to ``reach`` planes on either side of it."""
        lower, upper = [0] * self.grid.dim, list(self.grid.shape)
        if self.across is not None:
            axis = self.across.axis
            lower[axis], upper[axis] = max(0, self.level - reach), min(upper[axis], self.level + reach + 1)
        return self.grid.box(lower, upper)

    def of(self, image: Image) -> Array:
        """The image in the plane, shape (channels, rows, columns), rows upward; resampled if its grid is another.

        Labels are those of the nearest points; everything else is interpolated linearly (splines of whole volumes
        would take seconds) and averaged where the plane is shrunk.
        """
        assert image.background is not None
        labels = isinstance(image.interpolation, Nearest)
        grid = self.slab().shrunk(self.factors) if labels else self.slab()
        how = image.interpolation if labels else Linear()
        u = image.values.new_zeros(grid.dim, *grid.shape)
        found = how(image.above_background, *image.grid.from_index_of(grid), u).detach()
        if not labels:
            found = shrink(found, self.factors)
        return self.laid_out(found + image.background.reshape(-1, *[1] * grid.dim))

    def laid_out(self, values: Tensor, level: int = 0) -> Array:
        """Values on the (shrunk) slab, shape (c, *slab), in the plane ``level`` of it: shape (c, rows, columns)."""
        if self.across is not None:
            values = values.select(1 + self.across.axis, level)
        turned = self.right.axis < self.up.axis
        flips = [k for k, side in ((2, self.right), (1, self.up)) if side.step < 0]
        return array((values.transpose(1, 2) if turned else values).flip(flips))

    def seen(self, index: Tensor) -> Array:
        """Where indices of the grid, shape (n, d), are seen, shape (n, 2)."""
        return np.stack([side.at(array(index[:, side.axis])) for side in (self.right, self.up)], 1)

    def distance(self, index: Tensor) -> Array:
        """How far indices of the grid, shape (n, d), are from the plane, in length units, shape (n,)."""
        if self.across is None:
            return np.zeros(len(index))
        return np.abs(self.across.step * (array(index[:, self.across.axis]) - self.level))


def planes(image: Image, at: Tensor | None = None) -> list[Plane]:
    """How an image is drawn: as it is in two dimensions; in three as planes through one point.

    Every coordinate goes with the axis of the grid that is closest to it; it grows to the right and upward (rows of
    pictures: downward), so that an axial plane has the patient's left at the left.

    Args:
        image: in two or three dimensions.
        at: the point, shape (3,), in length units; by default the center of mass of the foreground.

    Returns: one plane, or the axial, the coronal and the sagittal one; those without area are left out.
    Raises: ValueError in other dimensions.
    """
    grid = image.grid
    if grid.dim not in (2, 3):
        raise ValueError(f"images are drawn in 2 and 3 dimensions, and this one has {grid.dim}.")
    space, sides = space_of(image), _sides(grid)
    if grid.dim == 2:
        return [Plane(grid, space, sides[0], sides[1])]
    index = foreground_center(image) if at is None else grid.to_index(at.double().cpu().reshape(1, 3))[0]
    levels = [int(min(max(round(float(i)), 0), n - 1)) for i, n in zip(index, grid.shape, strict=True)]
    x, y, z = sides
    triples = [(x, y, z), (x, z, y), (y, z, x)]
    drawn = [Plane(grid, space, right, up, across, levels[across.axis]) for right, up, across in triples]
    areas = [plane for plane in drawn if min(grid.shape[k] for k in plane.axes) > 1]
    return areas or drawn[:1]


def _sides(grid: Grid) -> list[Side]:
    """For each coordinate the axis closest to it, each axis once."""
    directions = grid.linear / grid.linear.norm(dim=0)
    cosines = directions.abs().tolist()
    orders = itertools.permutations(range(grid.dim))
    order = max(orders, key=lambda axes: sum(cosines[k][axis] for k, axis in enumerate(axes)))
    sides = []
    for coordinate, axis in enumerate(order):
        sign = 1.0 if directions[coordinate, axis] >= 0 else -1.0
        origin = sign * float(directions[:, axis] @ grid.origin)
        sides.append(Side(coordinate, axis, sign * grid.spacing[axis], origin))
    return sides


def foreground_center(image: Image) -> Tensor:
    """The mean index of what differs from the background (and is not masked out), shape (d,), float64."""
    away = image.above_background.detach().abs().amax(0)
    if image.mask is not None:
        away = away * (image.mask > 0)
    front = away > FOREGROUND * away.max()
    middle = torch.tensor([(n - 1) / 2 for n in image.grid.shape], dtype=torch.float64)
    if not bool(front.any()):
        return middle
    for axis, n in enumerate(image.grid.shape):
        others = [k for k in range(front.ndim) if k != axis]
        count = front.sum(others, dtype=torch.float64).cpu()
        middle[axis] = (count @ torch.arange(n, dtype=torch.float64)) / count.sum()
    return middle
