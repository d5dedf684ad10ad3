"""Grids: where images and fields are sampled, in physical space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Grid:
    """Where an image or a field is sampled: a box of indices, and the affine map that places it in space.

    Attributes:
        shape: points along each axis, (n_1, …, n_d).
        affine: index to position, x = A[:d, :d] i + A[:d, d], shape (d + 1, d + 1), float64, on the CPU.

    Raises: ValueError unless the two fit together and the affine map can be inverted.
    """

    shape: tuple[int, ...]
    affine: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", torch.as_tensor(self.affine).detach().cpu().double())
        d = len(self.shape)
        if min(self.shape, default=0) < 1:
            raise ValueError(f"a grid expects at least one point along every axis, and got the shape {self.shape}.")
        if self.affine.shape != (d + 1, d + 1):
            raise ValueError(
                f"a grid of {d} axes expects an affine of shape {(d + 1, d + 1)}, and got {tuple(self.affine.shape)}."
            )
        if not bool(torch.isfinite(self.affine).all()) or not abs(float(torch.linalg.det(self.linear))) > 0:
            raise ValueError(f"the affine of a grid must be finite and invertible, and is {self.affine.tolist()}.")

    @property
    def dim(self) -> int:
        """The number d of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of points."""
        return math.prod(self.shape)

    @property
    def linear(self) -> Tensor:
        """The columns are the steps along the axes, shape (d, d)."""
        return self.affine[: self.dim, : self.dim]

    @property
    def origin(self) -> Tensor:
        """The position of index 0, shape (d,)."""
        return self.affine[: self.dim, self.dim]

    @property
    def spacing(self) -> tuple[float, ...]:
        """The length of a step along each axis."""
        return tuple(float(s) for s in self.linear.norm(dim=0))

    @property
    def cell(self) -> float:
        """The volume of a cell."""
        return abs(float(torch.linalg.det(self.linear)))

    def indices(self, like: Tensor) -> Tensor:
        """Every index, shape (d, *shape), in the dtype and on the device of ``like``."""
        axes = [torch.arange(n, dtype=like.dtype, device=like.device) for n in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))

    def points(self, like: Tensor) -> Tensor:
        """Every position, shape (size, d), the last axis of the grid running fastest."""
        return self.to_space(self.indices(like).flatten(1).T)

    def displaced(self, u: Tensor) -> Tensor:
        """The positions A(i + u(i)), shape (size, d), for a displacement u in steps, shape (d, *shape)."""
        return self.to_space((self.indices(u) + u).flatten(1).T)

    def to_space(self, index: Tensor) -> Tensor:
        """Positions of indices, both of shape (n, d)."""
        return index @ self.linear.T.to(index) + self.origin.to(index)

    def to_index(self, x: Tensor) -> Tensor:
        """Indices (not whole numbers) of positions, both of shape (n, d)."""
        return (x - self.origin.to(x)) @ torch.linalg.inv(self.linear).T.to(x)

    def from_index_of(self, other: Grid) -> tuple[Tensor, Tensor]:
        """Matrix (d, d) and offset (d,), float64, that take an index of the other grid to one of this grid."""
        both = torch.linalg.inv(self.affine) @ other.affine
        return both[: self.dim, : self.dim], both[: self.dim, self.dim]

    def same(self, other: Grid) -> bool:
        """Whether both have the same points, up to a thousandth of a cell."""
        if self is other:
            return True
        if self.shape != other.shape:
            return False
        matrix, offset = self.from_index_of(other)
        reach = (matrix - torch.eye(self.dim)).abs() @ torch.tensor(self.shape, dtype=torch.float64) + offset.abs()
        return float(reach.max()) < 1e-3

    def moved(self, matrix: Tensor, translation: Tensor) -> Grid:
        """The grid with every position x sent to ``matrix @ x + translation``, shapes (d, d) and (d,)."""
        motion = torch.eye(self.dim + 1, dtype=torch.float64)
        motion[: self.dim, : self.dim], motion[: self.dim, self.dim] = matrix.cpu(), translation.cpu()
        return Grid(self.shape, motion @ self.affine)

    def box(self, lower: Sequence[int], upper: Sequence[int]) -> Grid:
        """The grid over the indices lower ≤ i < upper of this one, which may lie outside of it."""
        affine = self.affine.clone()
        affine[: self.dim, self.dim] = self.origin + self.linear @ torch.tensor(list(lower), dtype=torch.float64)
        return Grid(tuple(b - a for a, b in zip(lower, upper, strict=True)), affine)

    def slabs(self, points: int) -> list[Grid]:
        """The grid cut along its first axis into boxes of about so many points, in order."""
        rows, rest = max(1, points * self.shape[0] // self.size), list(self.shape[1:])
        cuts = [*range(0, self.shape[0], rows), self.shape[0]]
        return [self.box([a] + [0] * len(rest), [b, *rest]) for a, b in itertools.pairwise(cuts)]

    def shrunk(self, factors: Sequence[int]) -> Grid:
        """The grid of blocks of ``factors`` points each, at their centers; what does not fill a block is left out.

        An axis of fewer points than a block is one block.
        """
        factors = [min(n, k) for n, k in zip(self.shape, factors, strict=True)]
        f = torch.tensor(factors, dtype=torch.float64)
        affine = self.affine.clone()
        affine[: self.dim, : self.dim] = self.linear * f
        affine[: self.dim, self.dim] = self.origin + self.linear @ ((f - 1) / 2)
        return Grid(tuple(n // k for n, k in zip(self.shape, factors, strict=True)), affine)
