"""Images on the way of a map: what pulls them back at every moment, on the planes that are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import Diffeo
from diffeo.flows import Warp
from diffeo.grid import Grid
from diffeo.sampling import sample
from diffeo.shapes import Image, Linear, Nearest
from diffeo.viz.planes import FOREGROUND, Plane
from diffeo.viz.timeline import between, stops
from diffeo.viz.view import Array, array
from diffeo.viz.view import sample as some
from diffeo.viz.warps import Pulled, as_seen, derivatives, thick

NODES = 100_000
"""Points, at most, that are followed on their way, so that what is between them can be traced back."""
MARGIN = 0.08
"""How much larger than the part of space that is seen the part is that is followed."""
CLOCK = 2000
"""Points of the foreground, at most, by whose mean length the way is measured."""
STILL = 1e-6
"""Steps between nodes by which an affine map bends for its rounding errors alone."""
FEW = 17
"""Points along an axis at which it is found out where the picture comes from."""


@dataclass(frozen=True, eq=False)
class PlaneWay:
    """φ_t⁻¹ on a plane, at T moments.

    Attributes:
        plane: as it is drawn.
        grid: its points, one plane thick.
        displacement: u, shape (T, d, *grid.shape), in steps: φ_t⁻¹(Ai) = A(i + u(i)); float64.
        logdet: log det Dφ_t at φ_t⁻¹(y), shape (T, rows, columns); NaN where the map folds.
    """

    plane: Plane
    grid: Grid
    displacement: Tensor
    logdet: Array

    def carried(self, image: Image, k: int) -> Array:
        """φ_t · image at the moment k, shape (channels, rows, columns), rows upward."""
        how = image.interpolation if isinstance(image.interpolation, Nearest) else Linear()
        moved = Warp(self.grid, self.displacement[k]) @ replace(image, canvas=self.grid, interpolation=how, mask=None)
        return self.plane.laid_out(moved.values)

    def pulled(self, k: int) -> Pulled:
        """The map at the moment k, as grids and colors are drawn from it."""
        index = self.grid.indices(self.displacement) + self.displacement[k]
        factors = self.plane.factors
        origin = [
            side.at(self.plane.laid_out(index[side.axis, None] * factors[side.axis] + (factors[side.axis] - 1) / 2)[0])
            for side in (self.plane.right, self.plane.up)
        ]
        return Pulled(self.plane, np.stack(origin), self.logdet[k])


class ImageWay(NamedTuple):
    """The way of an image, and of points that go along."""

    times: Array
    """From 0 to 1, shape (T,): the part of the way that is done, by mean length in the foreground."""
    planes: list[PlaneWay]
    points: list[Array]
    """Where the points of each set are, shape (T, n, d)."""


@torch.no_grad()
def image_way(
    phi: Diffeo, source: Image, drawn: Sequence[Plane], moments: int, points: Sequence[Tensor] = ()
) -> ImageWay:
    """Follow an image along a map.

    φ_t is known where points go: between the layers of φ they go straight, as in `timeline`. What shows φ_t · image is
    φ_t⁻¹. So nodes of a grid are followed; φ_t is an affine map, the closest one, after a displacement between them,
    which is multilinear and can be inverted. At the end φ⁻¹ is known without all that. By how much the two differ there
    is made up for along the way, as the displacement grows: the last moment is φ · image, the first one the image.

    Where φ⁻¹ folds nobody can tell where points go; then its displacement grows in proportion to the time.

    Args:
        phi: the map.
        source: the moving image; where it is not background says how long the way is.
        drawn: planes of the grid that the map is seen on, as ``planes`` gives them.
        moments: T, at least 2.
        points: sets of positions in the source's space, each (n, d), that go along.

    Raises: ValueError for fewer moments.
    """
    ends = [phi.pullback(thick(plane)).cpu().double() for plane in drawn]
    last = [as_seen(plane, u) for plane, u in zip(drawn, ends, strict=True)]
    nodes = _nodes(phi, drawn[0].grid)
    like = like_of(phi)
    clock = _foreground(source)
    try:
        path = phi.path(torch.cat([x.to(like) for x in (clock, nodes.points(clock), *points)]))
    except ArithmeticError:
        return _straight(phi, drawn, ends, moments, [x.to(like) for x in points])
    path = np.stack([array(x) for x in path])
    times, at = stops(path, moments, len(clock))
    cuts = np.cumsum([len(clock), nodes.size, *(len(x) for x in points)])[:-1]
    _, followed, *along = np.split(between(path, at), cuts, axis=1)
    way = _Followed(nodes, times, followed)
    made = [_plane_way(way, plane, u, end) for plane, u, end in zip(drawn, ends, last, strict=True)]
    return ImageWay(times, made, along)


def like_of(phi: Diffeo) -> Tensor:
    """A tensor in the precision and on the device of a map."""
    return next((t for t in (*phi.parameters(), *phi.buffers()) if t.is_floating_point()), torch.empty(()))


def _plane_way(way: _Followed, plane: Plane, end: Tensor, last: Pulled) -> PlaneWay:
    grid, u = _middle(plane, end)
    y = grid.points(u)
    shape = (len(way.part), *u.shape)
    moves, logs = u.new_zeros(shape), np.zeros((shape[0], *last.logdet.shape))
    for k in range(1, shape[0]):
        x, logdet = way.back(y, k)
        moves[k] = (grid.to_index(x) - grid.to_index(y)).T.reshape(u.shape)
        logs[k] = plane.laid_out(logdet.reshape(1, *grid.shape))[0]
    moves += torch.as_tensor(way.part).reshape(-1, *[1] * u.ndim) * (u - moves[-1])
    logs += way.part[:, None, None] * np.nan_to_num(last.logdet - logs[-1])
    logs[-1] = last.logdet
    return PlaneWay(plane, grid, moves, logs)


class _Followed:
    """Nodes on their way, and from where points between them come.

    Attributes:
        part: of what is bent at the end, how much is bent at each moment, from 0 to 1, shape (T,).
    """

    def __init__(self, nodes: Grid, times: Array, positions: Array) -> None:
        self.nodes = nodes
        start = nodes.indices(torch.zeros((), dtype=torch.float64)).flatten(1).T
        self._steps = [self._step(start, nodes.to_index(torch.as_tensor(x))) for x in positions]
        sizes = np.array([float(bent.square().mean()) ** 0.5 for _, _, bent, _ in self._steps])
        self.part = np.clip((sizes - sizes[0]) / (sizes[-1] - sizes[0]), 0, 1) if sizes[-1] > STILL else times

    def _step(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The affine map, its offset, what is bent before, shape (d, *nodes.shape), and log det, (1, *nodes.shape)."""
        matrix, offset = _motion(start, end)
        bent = (torch.linalg.solve(matrix, (end - offset).T) - start.T).reshape(-1, *self.nodes.shape)
        determinants = torch.linalg.det(matrix) * torch.linalg.det(derivatives(bent))
        return matrix, offset, bent, torch.where(determinants > 0, determinants, torch.nan).log()[None]

    def back(self, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """φ_t⁻¹(y), shape (n, d), and log det Dφ_t there, shape (n,), at the moment k."""
        matrix, offset, bent, logs = self._steps[k]
        straight = torch.linalg.solve(matrix, (self.nodes.to_index(y) - offset).T).contiguous()
        index = loops_for(bent).invert(bent, straight)
        index = torch.where(index.isfinite(), index, straight).contiguous()
        return self.nodes.to_space(index.T), sample(logs, index)[0]


def _motion(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix and offset of the affine map closest to one that takes ``start`` to ``end``, both of shape (n, d)."""
    middle = start.mean(0), end.mean(0)
    a, b = start - middle[0], end - middle[1]
    still = torch.eye(a.shape[1]).to(a)
    flat = (a == 0).all(0).diag().to(a)  # an axis of one point stays what it is
    matrix = torch.linalg.solve(a.T @ a + flat, a.T @ b + flat).T
    if not float(torch.linalg.det(matrix)) > 0:
        matrix = still
    return matrix, middle[1] - matrix @ middle[0]


def _nodes(phi: Diffeo, grid: Grid) -> Grid:
    """A grid over the part of space that a picture on ``grid`` shows, and over that from which it comes."""
    few = grid.shrunk([max(1, n // FEW) for n in grid.shape])
    index = grid.to_index(few.displaced(phi.pullback(few).cpu().double()))
    index = index[index.isfinite().all(1)]
    corners = torch.stack([torch.zeros(grid.dim), torch.tensor(grid.shape) - 1]).double()
    both = torch.cat([index, corners])
    room = 1 + MARGIN * (both.amax(0) - both.amin(0))
    lower, upper = (both.amin(0) - room).floor().long().tolist(), (both.amax(0) + room).ceil().long().tolist()
    return _light(grid.box(lower, [n + 1 for n in upper]))


def _light(grid: Grid) -> Grid:
    """The grid with ``NODES`` points at most, about equally far apart along all axes."""
    step, factors = min(grid.spacing), [1] * grid.dim
    while math.prod(n // k for n, k in zip(grid.shape, factors, strict=True)) > NODES:
        step *= 1.1
        factors = [max(1, round(step / s)) for s in grid.spacing]
    return grid.shrunk(factors)


def _foreground(image: Image) -> Tensor:
    """Some positions where the image is not background, shape (n, d), float64."""
    away = image.above_background.detach().abs().amax(0).cpu()
    index = (away > FOREGROUND * away.max()).nonzero().double()
    if not len(index):
        index = torch.tensor([[n - 1.0 for n in image.grid.shape]], dtype=torch.float64) / 2
    return image.grid.to_space(index[torch.as_tensor(some(len(index), CLOCK))])


def _middle(plane: Plane, u: Tensor) -> tuple[Grid, Tensor]:
    """The points of a plane alone, and the displacement of `thick` there, shape (d, *grid.shape)."""
    grid = plane.slab().shrunk(plane.factors)
    if plane.across is None:
        return grid, u
    return grid, u.narrow(1 + plane.across.axis, min(1, plane.level), 1)


def _straight(
    phi: Diffeo, drawn: Sequence[Plane], ends: Sequence[Tensor], moments: int, points: Sequence[Tensor]
) -> ImageWay:
    """The way that needs no inverse: displacements of φ⁻¹ in proportion to the time."""
    times = np.linspace(0, 1, moments)
    made = []
    for plane, end in zip(drawn, ends, strict=True):
        grid, u = _middle(plane, end)
        moves = torch.as_tensor(times).reshape(-1, *[1] * u.ndim) * u
        logs = np.stack([as_seen(plane, t * end).logdet for t in times])
        made.append(PlaneWay(plane, grid, moves, logs))
    line = times[:, None, None]
    return ImageWay(times, made, [(1 - line) * array(x) + line * array(phi(x)) for x in points])
