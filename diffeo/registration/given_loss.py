"""The pose in which a given loss is smallest: any loss on images, differentiated through the interpolation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from diffeo.core import Loss
from diffeo.flows.affine import Affine
from diffeo.registration.alignment import Alignment
from diffeo.registration.brightness import Brightness
from diffeo.registration.poses import ITERATIONS, Criterion, Frame
from diffeo.sampling import sample
from diffeo.shapes import Image

RIDGE = 1e-2  # of the mean curvature: a direction is not stretched by more than 1/√RIDGE
SMALL_GAIN = 3e-5  # of the loss at the start: a step that gains less is the last one
TRIALS = 6  # of a step length


class GivenLoss(Criterion):
    """A loss on images, minimized by L-BFGS.

    Args:
        source, target, frame: see `Criterion`.
        loss: how far a moved source is from the target.
    """

    def __init__(self, source: Image, target: Image, frame: Frame, loss: Loss) -> None:
        super().__init__(source, target, frame)
        self.loss = loss
        self.index = target.grid.indices(target.values).flatten(1)
        self.brightness = Brightness(source, target, frame, inverted=True)

    def value(self, pose: Affine) -> float:
        """The loss."""
        value = self._loss(pose.matrix, pose.translation)
        return math.inf if value is None or not bool(value.isfinite()) else float(value)

    def moved(self, matrix: Tensor, translation: Tensor) -> Image | None:
        """The source in a pose, differentiable in it for fixed weights; None where the overlap is too small."""
        if not self.sensible(matrix):
            return None
        source, grid = self.source, self.target.grid
        linear, offset = self.index_map(matrix, translation)
        index = (linear.to(self.index) @ self.index + offset.to(self.index)[:, None]).reshape(grid.dim, *grid.shape)
        mask = None if source.mask is None else sample(source.mask[None], index.detach())[0].clamp(0, 1)
        if not self.overlaps(self.weights(mask), matrix):
            return None
        assert source.background is not None
        values = sample(source.above_background, index) + source.background.reshape(-1, *[1] * grid.dim)
        return dataclasses.replace(source, values=values, grid=grid, mask=mask, canvas=None)

    def _loss(self, matrix: Tensor, translation: Tensor) -> Tensor | None:
        """The loss at a pose, differentiable in it; None where the overlap is too small."""
        moved = self.moved(matrix, translation)
        return None if moved is None else self.loss(moved, self.target)

    def descend(self, pose: Affine, group: Alignment) -> Affine:
        """L-BFGS, from where `Brightness` leads if that is better, in variables in which its curvature is even."""
        guess = self.brightness.descend(pose, group)
        pose = guess if self.value(guess) < self.value(pose) else pose
        return lowered(self._loss, pose, self.frame, group, self._units(pose, group))

    def _units(self, pose: Affine, group: Alignment) -> Tensor:
        """Columns of parameters that change the brightness alike and move the image by about a step of the grid."""
        tangent = self.frame.tangent(group)
        even = self.step * torch.eye(tangent.shape[1], dtype=torch.float64)
        fit = self.brightness.fit(pose)
        curvature = even if fit is None else fit.curvature(tangent)
        size = curvature.diagonal().mean()
        if fit is None or not float(size) > 0:
            return even
        lower, info = torch.linalg.cholesky_ex(curvature / size + RIDGE * torch.eye(len(even)))
        return even if int(info) else torch.linalg.solve_triangular(lower.T, even, upper=True)


def lowered(
    loss: Callable[[Tensor, Tensor], Tensor | None], pose: Affine, frame: Frame, group: Alignment, units: Tensor
) -> Affine:
    """The pose after a motion of the group that lowers a loss, by L-BFGS, or the pose itself.

    Args:
        loss: of matrix and translation, differentiable; None where it has no value.
        pose: where to start.
        frame: what motions are counted in.
        group: the motions to choose from.
        units: columns of parameters that change the loss about alike.
    """
    start = loss(pose.matrix, pose.translation)
    if start is None or not bool(start.isfinite()):
        return pose
    least, scale = float(start), abs(float(start)) or 1.0

    @torch.enable_grad()
    def look(x: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(x.copy()).requires_grad_()
        value = loss(*frame.moved(pose, group, units @ parameters))
        if value is None or not bool(value.isfinite()):
            return 2.0, 0 * x  # worse than the start: the step is shortened
        (gradient,) = torch.autograd.grad(value / scale, parameters)
        return float(value.detach()) / scale, gradient.numpy()

    options = {"maxiter": ITERATIONS, "ftol": SMALL_GAIN, "gtol": 0.0, "maxls": TRIALS}
    found = minimize(look, np.zeros(len(units)), jac=True, method="L-BFGS-B", options=options)
    candidate = Affine(*frame.moved(pose, group, units @ torch.from_numpy(found.x)))
    value = loss(candidate.matrix, candidate.translation)
    return candidate if value is not None and float(value) < least else pose
