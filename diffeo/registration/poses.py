"""Poses of images: what motions are counted in, and what every criterion for them can do.

A pose is the `Affine` that carries positions of the source to positions of the target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from diffeo.flows.affine import Affine
from diffeo.registration.alignment import Alignment
from diffeo.shapes import Image

ITERATIONS = 25  # of one descent
SMALL_GAIN = 1e-5  # a step that lowers the criterion by a smaller fraction is the last one
LARGEST = 100.0  # times: a source that much larger or smaller than the target is not compared, a cell could hide it
OVERLAP = 0.2  # of the smaller image: poses with less in common are not compared


@dataclass(frozen=True)
class Frame:
    """Motions are y ↦ c + G(θ)(y − c) + r s: a unit of any parameter moves what is seen by about r.

    Attributes:
        center: c, shape (d,), float64: the middle of what is seen in the target.
        radius: r, how far that reaches, in length units.
    """

    center: Tensor
    radius: float

    @property
    def dim(self) -> int:
        """The dimension d of space."""
        return len(self.center)

    def moved(self, pose: Affine, group: Alignment, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Matrix and translation of the pose followed by the motion with the parameters (θ, s)."""
        k = group.size(self.dim)
        linear = group.matrix(parameters[:k], self.dim)
        shift = self.center + self.radius * parameters[k:]
        return linear @ pose.matrix, linear @ (pose.translation - self.center) + shift

    def tangent(self, group: Alignment) -> Tensor:
        """The motions to first order, y ↦ y + r E ((y − c)/r, 1): the derivative of E, shape (d (d + 1), k + d)."""
        d, k = self.dim, group.size(self.dim)
        tangent = torch.zeros(d, d + 1, k + d, dtype=torch.float64)
        tangent[:, d, k:] = torch.eye(d, dtype=torch.float64)
        at_rest = torch.zeros(k, dtype=torch.float64)
        if k:
            slope = torch.autograd.functional.jacobian(lambda theta: group.matrix(theta, d), at_rest)
            tangent[:, :d, :k] = torch.as_tensor(slope)
        return tangent.flatten(0, 1)


class Criterion(ABC):
    """A source and a target at one resolution, and what is minimized over poses.

    Args:
        source, target: images on grids of about the same step; the target's precision is used.
        frame: of the target.
    """

    def __init__(self, source: Image, target: Image, frame: Frame) -> None:
        self.source, self.target, self.frame = source.to(target.values), target, frame

    @abstractmethod
    def value(self, pose: Affine) -> float:
        """How far the moved source is from the target; infinite where they have too little in common."""

    @abstractmethod
    def descend(self, pose: Affine, group: Alignment) -> Affine:
        """The pose after a motion of the group that lowers the value, or the pose itself."""

    @property
    def step(self) -> float:
        """A step of the target's grid, in units of the frame's radius."""
        return min(self.target.grid.spacing) / self.frame.radius

    def index_map(self, matrix: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
        """Matrix (d, d) and offset (d,) from indices of the target to those of the source, differentiable."""
        source, target = self.source.grid, self.target.grid
        back = torch.linalg.inv(matrix @ source.linear)
        return back @ target.linear, back @ (target.origin - translation - matrix @ source.origin)

    def weights(self, mask: Tensor | None) -> Tensor | None:
        """How much the target's points count, given the moved mask of the source; None where all count alike."""
        if mask is None or self.target.mask is None:
            return self.target.mask if mask is None else mask
        return mask * self.target.mask

    def sensible(self, matrix: Tensor) -> bool:
        """Whether the source, stretched by the matrix, is neither tiny nor huge beside the target in any direction."""
        source, target = (
            image.grid.linear * torch.tensor(image.grid.shape, dtype=torch.float64)
            for image in (self.source, self.target)
        )
        sizes = torch.linalg.solve(target, matrix.detach().cpu() @ source)
        if not bool(sizes.isfinite().all()):
            return False
        stretch = torch.linalg.svdvals(sizes)
        return float(stretch.min()) > 1 / LARGEST and float(stretch.max()) < LARGEST

    def overlaps(self, weights: Tensor | None, matrix: Tensor) -> bool:
        """Whether what counts is a fair part of the smaller image, the source being stretched by the matrix."""
        if weights is None:
            return True
        cells = self.source.grid.cell * abs(float(torch.linalg.det(matrix.detach()))), self.target.grid.cell
        smallest = min(
            cell * (image.grid.size if image.mask is None else float(image.mask.sum()))
            for image, cell in zip((self.source, self.target), cells, strict=True)
        )
        return float(weights.sum()) * self.target.grid.cell > OVERLAP * smallest
