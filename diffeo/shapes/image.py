"""Images in physical space."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import Diffeo, Shape
from diffeo.grid import Grid
from diffeo.sampling import shrink, warp
from diffeo.shapes.interpolation import Interpolation, Linear

LEAST = 1e-3  # of a weight: what counts less has no value of its own


@dataclass(frozen=True, eq=False)
class Image(Shape):
    """Values on a grid; a diffeomorphism carries it to I∘φ⁻¹.

    Attributes:
        values: shape (c, *grid.shape), c channels, floating point and finite.
        grid: where in space; positions are in length units.
        mask: weights in [0, 1], shape grid.shape, of where the values count; None means everywhere.
        canvas: the grid on which φ·image is sampled; its own if left out.
        background: the values outside of the grid, shape (c,); the median over the border of the grid if left out.
        interpolation: how values are found between grid points.
        attributes: whatever else came with the file; never touched.
    """

    values: Tensor
    grid: Grid
    mask: Tensor | None = None
    canvas: Grid | None = None
    background: Tensor | None = None
    interpolation: Interpolation = field(default_factory=Linear)
    attributes: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        check_values(self.values, self.grid)
        if self.mask is not None:
            check_mask(self.mask, self.grid)
            object.__setattr__(self, "mask", self.mask.to(self.values))
        if self.background is None:
            object.__setattr__(self, "background", border_median(self.values))

    @cached_property
    def above_background(self) -> Tensor:
        """Values minus background: 0 outside of the grid."""
        assert self.background is not None
        return self.values - self._backdrop

    @property
    def _backdrop(self) -> Tensor:
        assert self.background is not None
        return self.background.reshape(-1, *[1] * self.grid.dim)

    def carried(self, phi: Diffeo) -> Self:
        """φ · image = I∘φ⁻¹, on the canvas; the mask is carried along."""
        canvas = self.canvas or self.grid
        return self._pulled(canvas, phi.pullback(canvas).to(self.values))

    def resampled(self, grid: Grid) -> Self:
        """The image on another grid of the same space; itself on its own."""
        return self if self.grid.same(grid) else self._pulled(grid, self.values.new_zeros(grid.dim, *grid.shape))

    def _pulled(self, canvas: Grid, u: Tensor) -> Self:
        """The image at A(i + u(i)), A being the affine map of the canvas and u of shape (d, *canvas.shape)."""
        if not bool(u.detach().sum().isfinite()):  # it would be taken for far outside
            raise ArithmeticError("the map sends a part of the image to infinity or NaN.")
        matrix, offset = self.grid.from_index_of(canvas)
        values = self.interpolation(self.above_background, matrix, offset, u) + self._backdrop
        mask = None if self.mask is None else warp(self.mask[None], matrix, offset, u)[0].clamp(0, 1)
        return dataclasses.replace(self, values=values, grid=canvas, mask=mask, canvas=None)

    def on(self, canvas: Grid) -> Self:
        """The same image, to be sampled on another grid when it is carried."""
        return dataclasses.replace(self, canvas=canvas)

    def moved(self, matrix: Tensor, translation: Tensor) -> Self:
        """The image after the affine motion x ↦ matrix @ x + translation, exactly: only its grid moves."""
        return dataclasses.replace(self, grid=self.grid.moved(matrix, translation), canvas=self.canvas or self.grid)

    def shrunk(self, factors: tuple[int, ...]) -> Self:
        """A coarser copy: smoothed, then averaged over blocks of ``factors`` points, where the mask says they count."""
        assert self.background is not None
        values, mask = self.above_background, self.mask
        if all(k == 1 for k in factors):
            return dataclasses.replace(self, canvas=None)
        if mask is None:
            values = shrink(values, factors)
        else:
            weighted, mask = shrink(values * mask, factors), shrink(mask[None], factors)[0].clamp(0, 1)
            values = torch.where(mask > LEAST, weighted / mask.clamp(min=LEAST), 0.0)
        values = values + self._backdrop
        return dataclasses.replace(self, values=values, grid=self.grid.shrunk(factors), mask=mask, canvas=None)

    def differentiable(self) -> tuple[Self, list[Tensor]]:
        """The values are what changes."""
        values = self.values.detach().requires_grad_()
        return dataclasses.replace(self, values=values), [values]

    def pulled(self, gradients: Sequence[Tensor | None], grid: Grid) -> Tensor:
        """−Σ_c g_c ∇I_c by central differences: a layer id + v makes I∘(id − v) of the image, to first order."""
        if not self.grid.same(grid):
            raise ValueError(
                "a layer can be grown for images on the grid of the map only: register `source.on(phi.grid)` with a "
                "target on that grid."
            )
        g = gradients[0]
        if g is None:
            return self.values.new_zeros(grid.dim, *grid.shape)
        return -loops_for(g).slopes(self.values.detach(), g)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The image with its tensors converted; the grid stays in float64 on the CPU."""
        values = self.values.to(*args, **kwargs)
        assert self.background is not None
        mask = None if self.mask is None else self.mask.to(values)
        return dataclasses.replace(self, values=values, mask=mask, background=self.background.to(values))


def border_median(values: Tensor) -> Tensor:
    """The median over the faces of the grid, shape (c,)."""
    faces = [values.select(axis, k).reshape(len(values), -1) for axis in range(1, values.ndim) for k in (0, -1)]
    return torch.cat(faces, 1).median(1).values


def check_values(values: Tensor, grid: Grid) -> None:
    """Raise ValueError unless the values are a finite, floating-point tensor of shape (c, *grid.shape)."""
    if not isinstance(values, Tensor) or values.shape[1:] != grid.shape or not len(values):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"Image expects values of shape (channels, {', '.join(map(str, grid.shape))}), and got {got}.")
    if not values.is_floating_point():
        raise ValueError(f"Image expects floating-point values, and got {values.dtype}: convert them with x.float().")
    if not bool(values.detach().sum(dtype=torch.float64).isfinite()):  # a sum is cheaper than a look at every value
        bad = int((~torch.isfinite(values.detach())).sum())
        raise ValueError(
            f"Image expects finite values, and {bad} of {values.numel()} are NaN or infinite: replace them, or mask "
            "them and set them to 0."
        )


def check_mask(mask: Tensor, grid: Grid) -> None:
    """Raise ValueError unless the mask has the shape of the grid, lies in [0, 1], and is not 0 everywhere."""
    if mask.shape != grid.shape:
        raise ValueError(f"a mask of shape {tuple(mask.shape)} does not fit an image of shape {grid.shape}.")
    least, most = float(mask.detach().min()), float(mask.detach().max())
    if not (least >= 0 and most <= 1):
        raise ValueError(f"a mask expects weights between 0 and 1, and got values from {least:g} to {most:g}.")
    if most == 0:
        raise ValueError("the mask is 0 everywhere: nothing is left of the image.")
