"""Velocity fields sampled on a grid: what images are moved by."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from diffeo.core import Field
from diffeo.grid import Grid
from diffeo.kernels.algebra import Radial
from diffeo.kernels.spectral import GridKernel
from diffeo.sampling import index_rows, sample, sample_with_jacobian, warp


class GridField(Field):
    r"""$v = K^{1/2}z$, found at the points of a grid by Fourier transform, and between them by interpolation.

    The unknown is whitened, $\|v\|_V^2 = \sum z^2$, and lives on the grid. The velocity is sampled on a box that is
    wider by half of the padding (see `GridKernel`) on every side, where it fades: beyond the box nothing moves. Where
    the kernel is wide, the grid may be much coarser than the image; ``refine`` then adds samples in between, by
    trigonometric interpolation: without them the multilinear one shows its cells in the derivatives of a map.

    Args:
        kernel: of the space V; its spectrum must be finite, and its scales not below a step of the grid.
        grid: where z lives.
        coordinates: z, shape (d, *grid.shape), in length units; zero if left out.
        refine: samples per step of the grid, 1 or more.
        padding: see `GridKernel`.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        kernel: Radial,
        grid: Grid,
        coordinates: Tensor | None = None,
        refine: int = 1,
        padding: float | None = None,
    ) -> None:
        super().__init__()
        shape = (grid.dim, *grid.shape)
        if coordinates is not None and coordinates.shape != shape:
            raise ValueError(f"GridField expects coordinates of shape {shape}, and got {tuple(coordinates.shape)}.")
        if isinstance(refine, bool) or not isinstance(refine, int) or refine < 1:
            raise ValueError(f"GridField refines by a whole number, 1 or more, and got {refine!r}.")
        self.operator, self.refine = GridKernel(kernel, grid, padding), refine
        self.coordinates = nn.Parameter(torch.zeros(shape) if coordinates is None else coordinates.detach().clone())

    @property
    def kernel(self) -> Radial:
        """Of the space V."""
        return self.operator.kernel

    @property
    def grid(self) -> Grid:
        """Where the unknown lives."""
        return self.operator.grid

    @property
    def sampling_grid(self) -> Grid:
        """Where the velocity is sampled: the box of the kernel, refined."""
        return refined(self.operator.box, self.refine)

    def samples(self) -> Tensor:
        """v on the sampling grid, shape (d, *sampling_grid.shape), in length units; it fades in the padding."""
        k = self.operator
        v, margins = k.root(self.coordinates), zip(k.box.shape, self.grid.shape, k.before, strict=True)
        for axis, (p, n, b) in enumerate(margins, start=1):
            fade = fading(p, b, p - n - b, self.refine).to(v)
            if self.refine == 1:
                v = v * fade.reshape(-1, *[1] * (v.ndim - 1 - axis))
            else:
                between = fade[:, None] * trigonometric(p, self.refine).to(v)
                v = (v.movedim(axis, -1) @ between.T).movedim(-1, axis)
        return v

    def frozen(self) -> SampledField:
        """The samples, once."""
        return SampledField(self.samples(), self.sampling_grid)

    def forward(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.frozen()(x)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d), of the interpolated field; within a cell where x is at the border of one."""
        return self.frozen().jacobian(x)

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,)."""
        return self.jacobian(x).diagonal(dim1=1, dim2=2).sum(1)

    def sqnorm(self) -> Tensor:
        """‖v‖²_V = Σ z², before v fades in the padding."""
        return self.coordinates.square().sum()

    def lipschitz(self) -> Tensor:
        """The largest Frobenius norm that the differences between neighboring samples allow for Dv."""
        return self.frozen().lipschitz()

    def arguments(self) -> dict[str, Any]:
        """Kernel, grid, coordinates, refinement, padding."""
        return {
            "kernel": self.kernel,
            "grid": self.grid,
            "coordinates": self.coordinates.detach(),
            "refine": self.refine,
            "padding": self.operator.padding,
        }

    def rescaled(self, factor: float, shift: Tensor) -> GridField:
        """Grid, coordinates, padding and the kernel's scale in the other units."""
        padding = self.operator.padding
        return GridField(
            self.kernel.rescaled(factor),
            self.grid.moved(factor * torch.eye(self.grid.dim, dtype=torch.float64), shift),
            factor * self.coordinates.detach(),
            self.refine,
            None if padding is None else factor * padding,
        )

    def extra_repr(self) -> str:
        """The kernel and the grid."""
        finer = f", refined {self.refine} times" if self.refine > 1 else ""
        return f"{self.kernel!r}, {' × '.join(map(str, self.grid.shape))}{finer}"


class SampledField:
    """A velocity given by its samples, multilinear between them and 0 beyond: what the layers of flows compute with.

    Args:
        values: shape (d, *grid.shape), in length units.
        grid: where they are.
    """

    def __init__(self, values: Tensor, grid: Grid) -> None:
        self.values, self.grid = values, grid

    def frozen(self) -> Self:
        """Itself."""
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return sample(self.values, index_rows(self.grid, x, self.values)).T

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        slopes = sample_with_jacobian(self.values, index_rows(self.grid, x, self.values))[1]
        return slopes.permute(2, 0, 1) @ torch.linalg.inv(self.grid.linear).to(x)

    def along(self, grid: Grid) -> Callable[[Tensor], Tensor]:
        """The same field for displacements of a grid: u ↦ v(A(i + u(i))), both in its steps, shape (d, *grid.shape)."""
        to_steps = torch.linalg.inv(grid.linear).to(self.values)
        values = torch.tensordot(to_steps, self.values, 1)
        matrix, offset = self.grid.from_index_of(grid)
        return lambda u: warp(values, matrix, offset, u)

    def lipschitz(self) -> Tensor:
        """A bound for |Dv|: in a cell, the columns of Dv are means of the differences along its edges."""
        d, total = self.grid.dim, torch.zeros((), dtype=self.values.dtype, device=self.values.device)
        framed = torch.nn.functional.pad(self.values, [1] * (2 * d))
        for axis, step in enumerate(self.grid.spacing, start=1):
            edges = (framed.diff(dim=axis) / step).square().sum(0)
            for other in range(d):
                if other != axis - 1:
                    n = edges.shape[other]
                    edges = torch.maximum(edges.narrow(other, 0, n - 1), edges.narrow(other, 1, n - 1))
            total = total + edges
        # |D A⁻¹| ≤ |D S⁻¹| |S A⁻¹|, S being the lengths of the steps; the last factor is 1 where they are orthogonal
        lengths = torch.diag(torch.tensor(self.grid.spacing, dtype=torch.float64))
        skew = float(torch.linalg.matrix_norm(lengths @ torch.linalg.inv(self.grid.linear), 2))
        return skew * total.max().sqrt()


def refined(grid: Grid, factor: int) -> Grid:
    """The grid with ``factor`` steps for every one, from its first point to its last."""
    affine = grid.affine.clone()
    affine[: grid.dim, : grid.dim] /= factor
    return Grid(tuple((n - 1) * factor + 1 for n in grid.shape), affine)


@lru_cache(maxsize=64)
def fading(n: int, before: int, after: int, refine: int) -> Tensor:
    """A window along an axis of n points, refined: 1 but for the margins at its ends, where it falls to 0."""
    i = torch.arange((n - 1) * refine + 1, dtype=torch.float64) / refine
    rise = (i / before).clamp(max=1) if before else torch.ones_like(i)
    fall = ((n - 1 - i) / after).clamp(max=1) if after else torch.ones_like(i)
    return (0.5 * math.pi * rise).sin().square() * (0.5 * math.pi * fall).sin().square()


@lru_cache(maxsize=64)
def trigonometric(n: int, refine: int) -> Tensor:
    """The matrix ((n − 1) refine + 1, n) that interpolates samples of n per period by the waves they determine."""
    i = torch.arange((n - 1) * refine + 1, dtype=torch.float64) / refine
    t = 2 * math.pi / n * (i[:, None] - torch.arange(n, dtype=torch.float64))
    waves = 1 + 2 * torch.stack([(m * t).cos() for m in range(1, (n + 1) // 2)] or [torch.zeros_like(t)]).sum(0)
    return (waves + (n // 2 * t).cos() if n % 2 == 0 else waves) / n
