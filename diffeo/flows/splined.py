"""Maps whose inverse is a smooth spline: what is between the points of a grid is not seen in their derivatives."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from diffeo.backends.rounding import unit
from diffeo.core import CHUNK
from diffeo.flows.gridded import Gridded, Warp
from diffeo.flows.layers import identities, places
from diffeo.flows.newton import newton
from diffeo.grid import Grid
from diffeo.sampling import index_rows
from diffeo.sampling.splines import bumps, read, read_with_jacobian


class Splined(Gridded):
    """φ⁻¹ = id + u with u a quadratic spline on a grid, 0 beyond it: φ⁻¹ has a continuous derivative."""

    @abstractmethod
    def coefficients(self) -> Tensor:
        """Those of the spline u, shape (d, *grid.shape), in steps of the grid."""

    def pullback(self, grid: Grid) -> Tensor:
        """The spline at the points of a grid: where its axes are those of the map's, by one matrix per axis."""
        c = self.coefficients()
        matrix, offset = self.grid.from_index_of(grid)
        steps = torch.linalg.inv(matrix).to(c)
        if float((matrix - torch.diag(matrix.diagonal())).abs().max()) > 1e-9 * float(matrix.abs().max()):
            index = matrix.to(c) @ grid.indices(c).flatten(1) + offset.to(c)[:, None]
            return (steps @ read(c, index)).reshape(len(c), *grid.shape)
        c = c * steps.diagonal().reshape(-1, *[1] * grid.dim)
        for axis, (n, size) in enumerate(zip(grid.shape, self.grid.shape, strict=True)):
            x = matrix[axis, axis] * torch.arange(n, dtype=torch.float64) + offset[axis]
            c = along(bumps(x, size).to(c), c, axis + 1)
        return c

    def inverse(self, y: Tensor) -> Tensor:
        """φ⁻¹(y), shape (n, d)."""
        c = self.coefficients()
        return y + read(c, index_rows(self.grid, y, c)).T @ self.grid.linear.T.to(c)

    def inverse_with_jacobian(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """φ⁻¹(y) and Dφ⁻¹(y), shape (n, d, d)."""
        return inverse_with_jacobian(self.grid, self.coefficients(), y)

    def forward(self, x: Tensor) -> Tensor:
        """φ(x): the y with φ⁻¹(y) = x; differentiable by the implicit function theorem.

        Raises: ArithmeticError where φ⁻¹ folds and Newton's method finds no y.
        """
        return inverted(self.grid, self.coefficients(), x)

    @torch.no_grad()
    def refined(self, grid: Grid) -> Warp:
        """The map by its displacement on another grid, usually a finer one: the spline is sampled there."""
        return Warp(grid, self.pullback(grid), float(self.energy()))


def inverse_with_jacobian(grid: Grid, c: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """φ⁻¹(y), shape (n, d), and Dφ⁻¹(y), shape (n, d, d), for the spline with coefficients c on a grid."""
    moved, slope = read_with_jacobian(c, index_rows(grid, y, c))
    linear, inverse = grid.linear.to(c), torch.linalg.inv(grid.linear).to(c)
    return y + moved.T @ linear.T, identities(y) + linear @ slope.permute(2, 0, 1) @ inverse


def inverted(grid: Grid, c: Tensor, x: Tensor) -> Tensor:
    """φ(x), shape (n, d), for the same spline: by Newton's method; differentiable by the implicit function theorem."""

    def back(y: Tensor) -> tuple[Tensor, Tensor]:
        return inverse_with_jacobian(grid, c, y)

    with torch.no_grad():
        size = unit(x, *places(grid))
        y = torch.cat([newton(back, part, guess=2 * part - back(part)[0], unit=size) for part in x.split(CHUNK)])
    if not torch.is_grad_enabled():
        return y
    image, jacobian = back(y)
    return y - torch.linalg.solve(jacobian.detach(), (image - x)[..., None])[..., 0]


def along(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    """A matrix (m, n) applied along an axis of n entries."""
    if axis == values.ndim - 1:
        return values @ matrix.T
    shape = (*values.shape[:axis], len(matrix), *values.shape[axis + 1 :])
    return (matrix @ values.flatten(axis + 1)).reshape(shape)
