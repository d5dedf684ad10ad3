"""Made-up images of which the map between them is known: one scene in space, seen on any grid, before and after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffeo import Grid, Image

F64 = torch.float64
SIDE = 40.0
"""What the images are about: a cube around the origin, or around another middle, with sides of this length."""


def grid(
    shape: Sequence[int], spacing: Sequence[float], turn: Tensor | None = None, middle: Sequence[float] | None = None
) -> Grid:
    """A grid with its middle at the origin, or elsewhere; its axes those of space, or the columns of a matrix."""
    d = len(shape)
    linear = torch.diag(torch.tensor(spacing, dtype=F64))
    affine = torch.eye(d + 1, dtype=F64)
    affine[:d, :d] = linear if turn is None else turn @ linear
    center = torch.zeros(d, dtype=F64) if middle is None else torch.tensor(middle, dtype=F64)
    affine[:d, d] = center - affine[:d, :d] @ ((torch.tensor(shape, dtype=F64) - 1) / 2)
    return Grid(tuple(shape), affine)


def square(n: int = 48) -> Grid:
    """n × n points that see the whole scene."""
    return grid((n, n), (SIDE / (n - 1),) * 2)


def cube(n: int = 24) -> Grid:
    """The same in space."""
    return grid((n, n, n), (SIDE / (n - 1),) * 3)


def scene(x: Tensor) -> Tensor:
    """Soft blobs without symmetries as a function of positions (n, d); exactly 0 far from the middle."""
    d = x.shape[1]
    centers = [[-12, -3, 2], [6, 11, -6], [9, -10, 5], [2, 2, 9], [-5, 9, 6], [0, 0, 0]]
    widths = torch.tensor([2.8, 2.2, 2.0, 3.4, 1.7, 8.4], dtype=F64)
    heights = torch.tensor([1.0, 0.7, 0.5, -0.4, 0.9, 0.5], dtype=F64)
    distances = torch.cdist(x, torch.tensor(centers, dtype=F64)[:, :d]).square()
    return (torch.exp(-distances / (2 * widths**2)) @ heights - 0.1).clamp(min=0)


def texture(x: Tensor) -> Tensor:
    """Waves that do not end at any border, from 0 to 1."""
    waves = torch.sin(0.55 * x[:, 0] + 0.2 * x[:, 1]) + torch.cos(0.45 * x[:, 1] - 0.1 * x[:, 0])
    return 0.5 + 0.2 * (waves + 0.5 * torch.sin(0.015 * x[:, 0] * x[:, 1]))


def bend(x: Tensor, size: float = 2.4) -> Tensor:
    """The map: waves of an amplitude, in length units."""
    d, y = x.shape[1], 2 * math.pi / SIDE * x
    waves = [torch.sin(1.3 * y[:, (k + 1) % d] + k) * torch.cos(0.8 * y[:, k]) for k in range(d)]
    return x + size * torch.stack(waves, 1)


def picture(
    where: Grid,
    before: Callable[[Tensor], Tensor] | None = None,
    of: Callable[[Tensor], Tensor] = scene,
    dtype: torch.dtype = torch.float32,
) -> Image:
    """The scene on a grid; ``before`` a map has been there, so that the map carries this image onto the scene."""
    x = where.points(torch.zeros((), dtype=F64))
    return Image(of(x if before is None else before(x)).reshape(1, *where.shape).to(dtype), where)


def pair(where: Grid, other: Grid | None = None, **options) -> tuple[Image, Image]:
    """What `bend` carries onto the scene, and the scene, which may be on another grid."""
    return picture(where, bend, **options), picture(other or where, **options)


def places(d: int, brightest: float = 0.2) -> Tensor:
    """Positions where the scene is seen before the bend, float64, shape (n, d)."""
    x = (square(24) if d == 2 else cube(14)).points(torch.zeros((), dtype=F64))
    return x[scene(bend(x)) > brightest]


def error(phi, d: int, truth: Callable[[Tensor], Tensor] = bend) -> Tensor:
    """How far a map is from the true one where something is seen, in length units, shape (n,)."""
    x = places(d)
    like = next(t for t in (*phi.parameters(), *phi.buffers()) if t.is_floating_point())
    return (phi(x.to(like)).double() - truth(x)).norm(dim=1)
