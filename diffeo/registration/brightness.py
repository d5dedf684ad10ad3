"""The pose in which images are equally bright up to gain and offset: least squares over the points of a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffeo.flows.affine import Affine
from diffeo.registration.alignment import Alignment
from diffeo.registration.poses import ITERATIONS, SMALL_GAIN, Criterion, Frame
from diffeo.sampling import warp
from diffeo.shapes import Image

SMALL_STEP = 0.02  # of a grid step: a motion by less is the last one
LARGE_STEP = 1.0  # of the radius: a linear model does not reach that far
DAMPING = 1e-3  # of the first step, relative to the curvature
HOPELESS = 1e3  # the damping at which the search ends
FLAT = 1e-12  # the variance, relative to the mean square, of an image without structure
RIDGE = 1e-9  # of the trace of the curvature: what makes a motion that changes nothing a small one


class Brightness(Criterion):
    """1 − ρ², ρ the correlation of brightness: what SSD leaves after the best gain and offset, from 0 to 1.

    Minimized by Levenberg and Marquardt's method. With several channels, brightness is the distance from background.

    Args:
        source, target, frame: see `Criterion`.
        inverted: whether bright may correspond to dark.
    """

    def __init__(self, source: Image, target: Image, frame: Frame, inverted: bool) -> None:
        super().__init__(source, target, frame)
        self.inverted = inverted
        values = normalized(brightness(self.source))
        slope = torch.cat([difference(values, axis) for axis in range(1, values.ndim)])
        to_space = torch.linalg.inv(source.grid.linear).T.to(values)
        slope = (to_space @ slope.flatten(1)).reshape(slope.shape)
        mask = self.source.mask
        self.values = torch.cat([values, slope] if mask is None else [values, slope, mask[None]])
        self.goal = normalized(brightness(target)).flatten()
        y = ((target.grid.points(values) - frame.center.to(values)) / frame.radius).T
        self.places = -frame.radius * torch.cat([y, torch.ones_like(y[:1])])
        self.still = values.new_zeros(frame.dim, *target.grid.shape)

    def value(self, pose: Affine) -> float:
        """1 − ρ²; 1 where bright is dark and must not be."""
        return self._judged(self.fit(pose))

    def _judged(self, fit: LinearFit | None) -> float:
        if fit is None:
            return math.inf
        return fit.value if fit.gain > 0 or self.inverted else 1.0

    def fit(self, pose: Affine) -> LinearFit | None:
        """The linear model at a pose; None where the overlap is too small."""
        if not self.sensible(pose.matrix):
            return None
        d = self.frame.dim
        found = warp(self.values, *self.index_map(pose.matrix, pose.translation), self.still)
        weights = self.weights(None if self.source.mask is None else found[d + 1])
        if not self.overlaps(weights, pose.matrix):
            return None
        found = found.flatten(1)
        slope = torch.linalg.inv(pose.matrix).T.to(found) @ found[1 : d + 1]
        columns = found.new_ones(3 + d * (d + 1), found.shape[1])
        columns[1], columns[-1] = found[0], self.goal
        torch.mul(slope[:, None], self.places, out=columns[2:-1].view(d, d + 1, -1))
        weighted = columns if weights is None else columns * weights.flatten()
        return LinearFit((weighted @ columns.T).double().cpu())

    def descend(self, pose: Affine, group: Alignment) -> Affine:
        """Levenberg and Marquardt."""
        tangent, damping = self.frame.tangent(group), DAMPING
        fit = self.fit(pose)
        for _ in range(ITERATIONS):
            lowest = self._judged(fit)
            if fit is None or lowest >= 1 or damping > HOPELESS:
                break
            step = fit.step(tangent, damping)
            size = float(step.abs().max())
            if not size < LARGE_STEP:
                damping *= 10
                continue
            candidate = Affine(*self.frame.moved(pose, group, step))
            other = self.fit(candidate)
            value = self._judged(other)
            if value < lowest:
                pose, fit, damping = candidate, other, damping / 10
            else:
                damping *= 10
            if size < SMALL_STEP * self.step or lowest * (1 - SMALL_GAIN) < value < lowest:
                break
        return pose


class LinearFit:
    """Least squares of the target by gain · (moved + slopes · coefficients) + offset.

    Gain and offset are those for coefficients 0; they are eliminated from the step. Source of the elimination: Golub &
    Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems", 1973.

    Args:
        gram: the weighted products of the columns (1, moved, d (d + 1) slopes, target), float64.

    Attributes:
        gain: the best one; 0 where an image has no structure.
        value: the part of the target's variance that is left, 1 − ρ².
    """

    def __init__(self, gram: Tensor) -> None:
        gram = gram / gram[0, 0]
        self.covariance = (gram - gram[0] * gram[0, :, None])[1:, 1:]
        moved, target, both = self.covariance[0, 0], self.covariance[-1, -1], self.covariance[0, -1]
        flat = bool((self.covariance.diagonal()[[0, -1]] <= FLAT * gram.diagonal()[[1, -1]]).any())
        self.gain = 0.0 if flat else float(both / moved)
        self.value = 1.0 if flat else max(0.0, float(1 - both**2 / (moved * target)))

    def curvature(self, tangent: Tensor) -> Tensor:
        """How much the moved image changes beyond a gain and an offset: a quadratic form of the parameters."""
        moved, slopes = self.covariance[0, 1:-1], self.covariance[1:-1, 1:-1]
        return tangent.T @ (slopes - moved * moved[:, None] / self.covariance[0, 0]) @ tangent

    def step(self, tangent: Tensor, damping: float) -> Tensor:
        """The parameters that lower what is left, to first order and damped, shape (k + d,)."""
        curvature = self.curvature(tangent)
        descent = tangent.T @ (self.covariance[1:-1, -1] / self.gain - self.covariance[0, 1:-1])
        diagonal = curvature.diagonal()
        ridge = damping * diagonal + RIDGE * diagonal.sum() + torch.finfo(diagonal.dtype).tiny
        return torch.linalg.solve(curvature + torch.diag(ridge), descent)


def brightness(image: Image) -> Tensor:
    """How far above the background, shape (1, *grid.shape); with several channels, how far from it."""
    above = image.above_background
    return above if len(above) == 1 else above.norm(dim=0, keepdim=True)


def normalized(values: Tensor) -> Tensor:
    """The same values in units of their root mean square, if they are not all 0."""
    largest = float(values.abs().max())  # divided by first: squares of very large or small values are not finite or 0
    values = values / largest if largest > 0 else values
    return values / values.square().mean().sqrt() if largest > 0 else values


def difference(values: Tensor, axis: int) -> Tensor:
    """Central differences, one-sided at the ends; 0 along an axis of one point."""
    if values.shape[axis] == 1:
        return torch.zeros_like(values)
    return torch.gradient(values, dim=axis)[0]
