"""The flow of a stationary velocity, by scaling and squaring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.core import Solver
from diffeo.fields.grid_field import GridField
from diffeo.flows.gridded import Gridded
from diffeo.sampling import warp
from diffeo.solvers import Midpoint, check_steps


class Exponential(Gridded):
    r"""φ⁻¹ = exp(−v) for a field on a grid: a step of length $2^{-s}$, composed with itself s times.

    It costs s compositions where a `Flow` with one shared field takes $2^s$ steps. But all displacements in between are
    interpolated from the grid of the samples: the end is as far from that of the flow as multilinear interpolation is
    exact, $O(h^2)$ for steps of h, and a little more compressible. As every `Gridded` map, it is exactly what its
    displacement says, and that is what is inverted and differentiated.

    Args:
        field: v.
        squarings: s.
        solver: of the first step.

    Source: Arsigny, Commowick, Pennec & Ayache, "A log-Euclidean framework for statistics on diffeomorphisms", MICCAI
    2006.
    """

    def __init__(self, field: GridField, squarings: int = 6, solver: Solver | None = None) -> None:
        super().__init__()
        if not isinstance(field, GridField):
            raise ValueError(f"Exponential expects a GridField, and got a {type(field).__name__}: take a shared Flow.")
        self.field, self.squarings = field, check_steps(squarings)
        self.solver, self.grid = solver or Midpoint(), field.sampling_grid

    def displacement(self) -> Tensor:
        """u, by squaring: id + u ← (id + u)∘(id + u)."""
        velocity = self.field.frozen().along(self.grid)
        u = self.field.coordinates.new_zeros(self.grid.dim, *self.grid.shape)
        u = self.solver.step(lambda _, w: -velocity(w), 0.0, 0.5**self.squarings, u)
        eye, zero = torch.eye(self.grid.dim), torch.zeros(self.grid.dim)
        for _ in range(self.squarings):
            u = u + warp(u, eye, zero, u)
        return u

    def energy(self) -> Tensor:
        """½‖v‖²."""
        return 0.5 * self.field.sqnorm()

    def arguments(self) -> dict[str, Any]:
        """Field, squarings, solver of the first step."""
        return {"field": self.field, "squarings": self.squarings, "solver": self.solver}

    def rescaled(self, factor: float, shift: Tensor) -> Exponential:
        """The field in the other units."""
        return Exponential(self.field.rescaled(factor, shift), self.squarings, self.solver)

    def extra_repr(self) -> str:
        """How often it is squared."""
        return f"squarings={self.squarings}"
