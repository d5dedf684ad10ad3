"""What the shapes made of points have in common: positions that move, everything else that stays."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.core import Diffeo, Shape
from diffeo.grid import Grid

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


class Measure(NamedTuple):
    """A shape seen as a sum of weighted Diracs Σ w_f δ(c_f, n_f)."""

    centers: Tensor
    """Where the mass is, shape (n, d)."""
    weights: Tensor
    """Its amount (lengths, areas, or point weights), shape (n,)."""
    directions: Tensor | None
    """Unit tangents of curves, unit normals of surfaces, shape (n, d); None for points."""


@dataclass(frozen=True, eq=False)
class PointShape(Shape):
    """A shape given by points: ``x`` moves, connectivity and attributes are kept.

    Attributes:
        x: positions, shape (n, d), in length units; floating point and finite.
        attributes: per-point data, each an array whose first axis has n entries; never touched.
    """

    x: Tensor
    attributes: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        check_positions(self.x, type(self).__name__)

    def with_positions(self, x: Tensor) -> Self:
        """The same shape with its points at x, shape (n, d)."""
        return dataclasses.replace(self, x=x)

    def carried(self, phi: Diffeo) -> Self:
        """φ · shape: every point goes to φ(x).

        Raises: ArithmeticError where φ(x) is not finite: a diverged map is no fault of the shape.
        """
        moved = phi(self.x)
        lost = int((~torch.isfinite(moved.detach())).any(1).sum())
        if lost:
            raise ArithmeticError(f"the map sends {lost} of {len(moved)} points to infinity or NaN.")
        return self.with_positions(moved)

    def differentiable(self) -> tuple[Self, list[Tensor]]:
        """The positions are what moves."""
        x = self.x.detach().requires_grad_()
        return self.with_positions(x), [x]

    def pulled(self, gradients: Sequence[Tensor | None], grid: Grid) -> Tensor:
        """Every point's gradient, shared among the corners of its cell; points beyond the grid pull at nothing."""
        g = gradients[0]
        if g is None:
            return self.x.new_zeros(grid.dim, *grid.shape)
        values, index = self.x.new_zeros(grid.dim, *grid.shape), grid.to_index(self.x.detach()).T.contiguous()
        in_steps = (g @ grid.linear.to(g)).T.contiguous()
        shared = loops_for(values).sample_pull(values, index, in_steps, (True, False))[0]
        assert shared is not None
        return shared

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The shape with its positions converted; integer connectivity only changes device."""
        x = self.x.to(*args, **kwargs)
        changes: dict[str, Any] = {"x": x}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name != "x" and isinstance(value, Tensor):
                changes[item.name] = value.to(x) if value.is_floating_point() else value.to(x.device)
        return dataclasses.replace(self, **changes)

    @abstractmethod
    def measure(self) -> Measure:
        """The shape as a measure; differentiable in the positions."""


def check_positions(x: Tensor, name: str) -> None:
    """Raise ValueError unless x is a non-empty, finite, floating-point tensor of shape (n, d)."""
    if not isinstance(x, Tensor) or x.ndim != 2:
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name} expects positions as a tensor of shape (n, d), and got {got}.")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"{name} expects at least one point, and got an empty tensor of shape {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise ValueError(f"{name} expects floating-point positions, and got {x.dtype}: convert them with x.double().")
    if not bool(torch.isfinite(x.detach()).all()):
        bad = int((~torch.isfinite(x.detach())).any(1).sum())
        raise ValueError(f"{name} expects finite positions: {bad} of {len(x)} points have NaN or infinite coordinates.")


def check_connectivity(index: Tensor, n: int, corners: int, name: str) -> Tensor:
    """The index in int64 (torch reads bytes as a mask), if it is one. Raises ValueError otherwise.

    It must be a tensor of integers, shape (f, corners), with entries in 0..n-1.
    """
    integers = isinstance(index, Tensor) and index.dtype in INTEGERS
    if not integers or index.ndim != 2 or index.shape[1] != corners:
        got = f"{index.dtype} of shape {tuple(index.shape)}" if isinstance(index, Tensor) else type(index).__name__
        raise ValueError(f"{name} expects integers of shape (f, {corners}), and got {got}.")
    if index.shape[0] == 0:
        raise ValueError(f"{name} is empty: for points without connectivity use Points.")
    if int(index.min()) < 0 or int(index.max()) >= n:
        raise ValueError(
            f"{name} refers to points {int(index.min())}..{int(index.max())}, and there are {n} (0..{n - 1})."
        )
    return index.long()
