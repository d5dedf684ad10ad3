"""Descent on a grid: layers are grown one at a time, and composed into one displacement as they grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import Grown, Loss, Shape
from diffeo.flows.gridded import Gridded
from diffeo.flows.repair import unfolded
from diffeo.grid import Grid
from diffeo.kernels.algebra import Radial
from diffeo.kernels.smoothing import orthogonal, summed
from diffeo.sampling.smoothing import gaussian_taps

REMEMBERED = 4  # shapes, and where they have been taken


class GridDescent(Gridded, Grown):
    r"""φ = (id − ε K∇D) ∘ … ∘ (id − ε K∇D) on a grid, grown by `grow`: the greedy registration of images.

    Every layer follows the steepest descent of D in V, as far as its largest displacement allows, and is composed with
    what there is: φ⁻¹ ← φ⁻¹∘(id + ε K∇D). Then the total displacement relaxes a little, by a narrow Gaussian: what is
    gained nowhere is not kept, and the map stays regular.

    Args:
        grid: where φ⁻¹ is known; the images' canvas. φ is the identity on its border and beyond.
        kernel: of the space V; its scale is a length, usually about one step of the grid.
        displacement: u of the map to start from, shape (d, *grid.shape), in steps of the grid.
        step: the largest displacement of a layer, in the shortest steps of the grid.
        relaxation: the standard deviation, in steps of the grid, of the Gaussian by which u relaxes after a layer.
        squares, layers: Σ‖v_k‖²_V of the layers so far, and their number: for the energy.

    Source: Christensen, Rabbitt & Miller, "Deformable templates using large deformation kinematics", IEEE TIP 1996.
    """

    u: Tensor

    def __init__(
        self,
        grid: Grid,
        kernel: Radial,
        displacement: Tensor | None = None,
        step: float = 0.5,
        relaxation: float = 0.32,
        squares: float = 0.0,
        layers: int = 0,
    ) -> None:
        super().__init__()
        if not (math.isfinite(step) and step > 0 and math.isfinite(relaxation) and relaxation >= 0):
            raise ValueError(
                f"GridDescent expects a positive step and a relaxation that is 0 or positive, and got {step} and "
                f"{relaxation}."
            )
        u = torch.zeros(grid.dim, *grid.shape) if displacement is None else displacement.detach().clone()
        if u.shape != (grid.dim, *grid.shape):
            raise ValueError(f"GridDescent expects a displacement {(grid.dim, *grid.shape)}, and got {tuple(u.shape)}.")
        self.grid, self.kernel, self.step, self.relaxation = grid, kernel, float(step), float(relaxation)
        self.squares, self.grown = float(squares), int(layers)
        self.register_buffer("u", u)
        self._sum: Callable[[Tensor], Tensor] = summed(kernel, grid)
        self._carried: list[_Carried] = []

    def displacement(self) -> Tensor:
        """What has grown."""
        return self.u

    def __matmul__(self, other: Any) -> Any:
        """φ · shape, remembered until φ grows: the loss is asked for there, and then its gradient."""
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled() or not isinstance(other, Shape):
            return super().__matmul__(other)
        self._carried = [c for c in self._carried if c.u is self.u and c.version == version(self.u)]
        for carried in self._carried:
            if carried.shape is other:
                return carried.moved
        moved = super().__matmul__(other)
        self._carried = [*self._carried[1 - REMEMBERED :], _Carried(other, moved, self.u, version(self.u))]
        return moved

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_carried": []}

    @torch.no_grad()
    def grow(self, pairs: Sequence[tuple[Any, Any]], loss: Loss) -> bool:
        """Add a layer; False where the gradient is 0. The images of the pairs must be sampled on the map's grid.

        It goes as far as the step allows, but promises no more than there is to gain: losses are 0 where shapes agree,
        and close to there only rounding errors pull.
        """
        (total, force), *others = (self._force(self @ source, target, loss) for source, target in pairs)
        for value, other in others:
            total, force = total + value, force + other
        w = pin(self._lifted(self._sum(pin(force))))
        slope, largest = inner(w, force), self._longest(w)
        if not (slope > 0 and 0 < largest < math.inf) or total == 0:  # NaN compares with nothing
            return False
        scale = self.step * self._shortest() / largest
        if 0 < total < scale * slope:
            scale = total / slope
        self.squares += scale**2 * slope
        self.grown += 1
        self._compose(w.mul_(scale))
        return True

    def _force(self, moved: Any, target: Any, loss: Loss) -> tuple[float, Tensor]:
        """D, and its derivative in a layer, shape (d, *grid.shape)."""
        with torch.enable_grad():
            copy, leaves = moved.differentiable()
            value = loss(copy, target)
            gradients = torch.autograd.grad(value, leaves, allow_unused=True)
        return float(value.detach()), moved.pulled(gradients, self.grid).to(self.u)

    def _compose(self, w: Tensor) -> None:
        """φ⁻¹ ← φ⁻¹∘(id + w), relaxed; w is 0 on the border."""
        loops, d = loops_for(self.u), self.grid.dim
        u = loops.warp(self.u, torch.eye(d), torch.zeros(d), w, add=w)
        if self.relaxation:
            u = loops.convolve(u, [gaussian_taps(self.relaxation if n > 1 else 0.0) for n in self.grid.shape])
        self.u, self._carried = pin(u), []

    def _shortest(self) -> float:
        """The shortest step along an axis of more than one point."""
        return min((s for s, n in zip(self.grid.spacing, self.grid.shape, strict=True) if n > 1), default=1.0)

    def _lifted(self, covector: Tensor) -> Tensor:
        """From derivatives in steps to displacements in steps: both are lengths only in space."""
        gram = torch.linalg.inv(self.grid.linear.T @ self.grid.linear)
        if bool((gram - gram[0, 0] * torch.eye(len(gram))).abs().max() < 1e-6 * gram[0, 0]):
            return covector.mul_(float(gram[0, 0]))
        return torch.einsum("ab,b...->a...", gram.to(covector), covector)

    def _longest(self, v: Tensor) -> float:
        """The largest length in space of displacements in steps."""
        if not orthogonal(self.grid):
            v = torch.einsum("ab,b...->a...", self.grid.linear.to(v), v)
            return float(v.square().sum(0).max()) ** 0.5
        squares = torch.zeros_like(v[0])
        for x, step in zip(v, self.grid.spacing, strict=True):
            squares.addcmul_(x, x, value=step**2)
        return float(squares.max()) ** 0.5

    def on(self, grid: Grid, kernel: Radial) -> GridDescent:
        """The same map on another grid, to grow there with another kernel."""
        u = pin(self.pullback(grid).clone())
        return GridDescent(grid, kernel, u, self.step, self.relaxation, self.squares, self.grown)

    def repaired(self, least: float) -> GridDescent:
        """The map with φ⁻¹ smoothed around the points where a corner determinant is below ``least``, until none is."""
        u = unfolded(self.u, least)
        return GridDescent(self.grid, self.kernel, u, self.step, self.relaxation, self.squares, self.grown)

    def growth(self) -> dict[str, Any]:
        """The displacement, and what it has cost."""
        return {"u": self.u, "squares": self.squares, "layers": self.grown}

    def regrow(self, growth: dict[str, Any]) -> None:
        """Take up what was saved.

        Raises: ValueError for what has grown on another grid.
        """
        if growth["u"].shape != self.u.shape:
            raise ValueError(
                f"a map on a grid of {self.grid.shape} points cannot go on from a displacement of shape "
                f"{tuple(growth['u'].shape)}: build it on the grid that it was saved on."
            )
        self.u, self.squares, self.grown = growth["u"].to(self.u), growth["squares"], growth["layers"]
        self._carried = []

    def energy(self) -> Tensor:
        """(L/2) Σ_k ‖v_k‖²_V over the layers, each in the metric that it was grown in; relaxing costs nothing."""
        return self.u.new_tensor(0.5 * self.grown * self.squares)

    def arguments(self) -> dict[str, Any]:
        """Grid, kernel, displacement, and what it has cost."""
        return {
            "grid": self.grid,
            "kernel": self.kernel,
            "displacement": self.u,
            "step": self.step,
            "relaxation": self.relaxation,
            "squares": self.squares,
            "layers": self.grown,
        }

    def rescaled(self, factor: float, shift: Tensor) -> GridDescent:
        """The grid and the kernel in the other units; steps stay steps."""
        grid = self.grid.moved(factor * torch.eye(self.grid.dim, dtype=torch.float64), shift)
        squares = factor**2 * self.squares
        return GridDescent(grid, self.kernel.rescaled(factor), self.u, self.step, self.relaxation, squares, self.grown)

    def extra_repr(self) -> str:
        """The kernel and the grid."""
        return f"{self.kernel!r}, {' × '.join(map(str, self.grid.shape))}, {self.grown} layers"


class _Carried(NamedTuple):
    """A shape, where the map has taken it, and what the map was then."""

    shape: Any
    moved: Any
    u: Tensor
    version: int


def version(u: Tensor) -> int:
    """How often a tensor was written to, as far as it is known."""
    return 0 if u.is_inference() else u._version


def inner(a: Tensor, b: Tensor) -> float:
    """Σ a b."""
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def pin(u: Tensor) -> Tensor:
    """0 on the border of the grid, in place; along axes of one point there is none."""
    for axis in range(1, u.ndim):
        if u.shape[axis] > 1:
            u.select(axis, 0).zero_()
            u.select(axis, -1).zero_()
    return u
