"""Diffeomorphisms given on a grid, by the displacement of φ⁻¹: what images are pulled back by."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import Diffeo
from diffeo.flows.layers import identities
from diffeo.grid import Grid
from diffeo.sampling import index_rows, sample, sample_with_jacobian, warp


class Gridded(Diffeo):
    """φ⁻¹(Ai) = A(i + u(i)) on a grid with the affine map A, u multilinear between its points and 0 beyond them.

    Images need φ⁻¹, at grid points, and get it for nothing; points need φ, and get it by Newton's method, to rounding.
    """

    grid: Grid

    @abstractmethod
    def displacement(self) -> Tensor:
        """u, shape (d, *grid.shape), in steps of the grid."""

    def pullback(self, grid: Grid) -> Tensor:
        """u itself on the map's own grid; interpolated on another one."""
        if self.grid.same(grid):
            return self.displacement()
        u = self.displacement()
        sampled = warp(u, *self.grid.from_index_of(grid), u.new_zeros(grid.dim, *grid.shape))
        steps = (torch.linalg.inv(grid.linear) @ self.grid.linear).to(u)
        return torch.einsum("ab,b...->a...", steps, sampled)

    def inverse(self, y: Tensor) -> Tensor:
        """φ⁻¹(y), shape (n, d)."""
        u = self.displacement()
        return y + sample(u, index_rows(self.grid, y, u)).T @ self.grid.linear.T.to(u)

    def inverse_with_jacobian(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """φ⁻¹(y) and Dφ⁻¹(y), shape (n, d, d)."""
        u = self.displacement()
        moved, slope = sample_with_jacobian(u, index_rows(self.grid, y, u))
        linear, inverse = self.grid.linear.to(u), torch.linalg.inv(self.grid.linear).to(u)
        return y + moved.T @ linear.T, identities(y) + linear @ slope.permute(2, 0, 1) @ inverse

    def forward(self, x: Tensor) -> Tensor:
        """φ(x): the y with φ⁻¹(y) = x; differentiable by the implicit function theorem.

        Raises: ArithmeticError where φ⁻¹ folds and Newton's method finds no y.
        """
        with torch.no_grad():
            u = self.displacement()
            index = loops_for(u).invert(u, index_rows(self.grid, x, u))
            lost = int(index.isnan().any(0).sum())
            if lost:
                raise ArithmeticError(
                    f"the map is not known at {lost} of {len(x)} points: its inverse folds there, or they are not "
                    "finite."
                )
            y = self.grid.to_space(index.T)
        if not torch.is_grad_enabled():
            return y
        image, jacobian = self.inverse_with_jacobian(y)
        return y - torch.linalg.solve(jacobian.detach(), (image - x)[..., None])[..., 0]

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and Dφ(x)."""
        y = self(x)
        return y, torch.linalg.inv(self.inverse_with_jacobian(y)[1])

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and log det Dφ(x); NaN where φ⁻¹ folds."""
        y = self(x)
        return y, -torch.linalg.det(self.inverse_with_jacobian(y)[1]).log()

    def path(self, x: Tensor) -> list[Tensor]:
        """Start and end."""
        return [x, self(x)]


class Warp(Gridded):
    """A map that is known only by its displacement: what a registration on grids leaves, or another program's warp.

    Args:
        grid: where φ⁻¹ is known.
        displacement: u, shape (d, *grid.shape), in steps of the grid.
        energy: ½∫‖v_t‖²_V dt of the path that led there, if it is known.
    """

    u: Tensor

    def __init__(self, grid: Grid, displacement: Tensor, energy: float = 0.0) -> None:
        super().__init__()
        if displacement.shape != (grid.dim, *grid.shape):
            raise ValueError(
                f"Warp expects a displacement of shape {(grid.dim, *grid.shape)}, and got {tuple(displacement.shape)}."
            )
        self.grid, self.spent = grid, float(energy)
        self.register_buffer("u", displacement.detach().clone())

    def displacement(self) -> Tensor:
        """As given."""
        return self.u

    def energy(self) -> Tensor:
        """As given."""
        return self.u.new_tensor(self.spent)

    def arguments(self) -> dict[str, Any]:
        """Grid, displacement, energy."""
        return {"grid": self.grid, "displacement": self.u, "energy": self.spent}

    def rescaled(self, factor: float, shift: Tensor) -> Warp:
        """The grid in the other units; steps stay steps."""
        linear = factor * torch.eye(self.grid.dim, dtype=torch.float64)
        return Warp(self.grid.moved(linear, shift), self.u, factor**2 * self.spent)

    def extra_repr(self) -> str:
        """The shape of the grid."""
        return " × ".join(map(str, self.grid.shape))
