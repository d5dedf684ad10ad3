"""Alignment: the rigid, similar or affine motion that brings the source near the target before anything bends.

Poses are compared as blurred clouds (MMD at falling scales, on a few hundred weighted points), starting from where the
shapes are, from equal centroids, and from equal principal axes in every proper orientation.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from diffeo.flows.affine import Affine
from diffeo.kernels import GaussianKernel
from diffeo.losses import MMDLoss
from diffeo.shapes import Points, PointShape
from diffeo.shapes.sampling import coarse

POINTS = 300
SCALES = (0.5, 0.2, 0.08)  # of the blur, relative to the extent
TURN_GAIN = 0.5  # what a pose that turns the shape must gain over one that does not, before it is believed
NOTHING = 1e-10  # a mismatch (of at most 2) that stands for a shift of a millionth of the extent
GAIN = 0.9  # a motion is taken only if it lowers the mismatch to this fraction: never worse than doing nothing


@dataclass(frozen=True)
class Alignment(ABC):
    """A group of motions."""

    @abstractmethod
    def size(self, d: int) -> int:
        """How many numbers describe a motion beside its translation."""

    @abstractmethod
    def matrix(self, parameters: Tensor, d: int) -> Tensor:
        """The linear part, shape (d, d); the identity for parameters 0."""


@dataclass(frozen=True)
class NoAlignment(Alignment):
    """Leave the source where it is."""

    def size(self, d: int) -> int:
        """0."""
        return 0

    def matrix(self, parameters: Tensor, d: int) -> Tensor:
        """The identity."""
        return torch.eye(d, dtype=parameters.dtype)


@dataclass(frozen=True)
class Translation(Alignment):
    """Translations alone."""

    def size(self, d: int) -> int:
        """0."""
        return 0

    def matrix(self, parameters: Tensor, d: int) -> Tensor:
        """The identity."""
        return torch.eye(d, dtype=parameters.dtype)


@dataclass(frozen=True)
class Rigid(Alignment):
    """Rotations and translations."""

    def size(self, d: int) -> int:
        """The dimension of the rotation group."""
        return d * (d - 1) // 2

    def matrix(self, parameters: Tensor, d: int) -> Tensor:
        """exp of a skew matrix."""
        rows, columns = torch.triu_indices(d, d, 1)
        skew = parameters.new_zeros(d, d).index_put((rows, columns), parameters[: len(rows)])
        return torch.linalg.matrix_exp(skew - skew.T)


@dataclass(frozen=True)
class Similarity(Alignment):
    """Rotations, translations and one factor."""

    def size(self, d: int) -> int:
        """Rotations and the factor."""
        return Rigid().size(d) + 1

    def matrix(self, parameters: Tensor, d: int) -> Tensor:
        """e^s times a rotation."""
        return parameters[-1].exp() * Rigid().matrix(parameters[:-1], d)


@dataclass(frozen=True)
class FullAffine(Alignment):
    """All linear maps that keep orientation, and translations."""

    def size(self, d: int) -> int:
        """d²."""
        return d * d

    def matrix(self, parameters: Tensor, d: int) -> Tensor:
        """exp of any matrix."""
        return torch.linalg.matrix_exp(parameters.reshape(d, d))


def align(source: PointShape, target: PointShape, group: Alignment, extent: float, seed: int = 0) -> Affine | None:
    """The motion in the group that brings the source nearest to the target, or None where none helps clearly.

    Args:
        source, target: shapes of one dimension d, float64.
        group: the motions to choose from.
        extent: the size of the shapes, in length units.
        seed: which points of very large shapes are looked at.
    """
    d = source.x.shape[1]
    if isinstance(group, NoAlignment):
        return None
    a, b = normalized(coarse(source, POINTS, seed)), normalized(coarse(target, POINTS, seed))
    assert a.weights is not None
    center = (a.weights[:, None] * a.x).sum(0)
    still = Affine(torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64))
    best, lowest = still, mismatch(a, b, still, extent)
    at_rest = lowest
    if at_rest < NOTHING:
        return None
    for turned, pose in starts(a, b, d):
        if turned and not group.size(d):
            continue  # a group without rotations
        candidate = descend(a, b, group, pose, center, SCALES[0] * extent)
        value = mismatch(a, b, candidate, extent)
        if value < (TURN_GAIN if turned else 1.0) * lowest:
            best, lowest = candidate, value
    for scale in SCALES[1:]:
        best = descend(a, b, group, best, center, scale * extent)
    return best if mismatch(a, b, best, extent) < GAIN * at_rest else None


def normalized(points: Points) -> Points:
    """The same points with total weight 1, so that only where the mass is matters."""
    assert points.weights is not None
    return Points(points.x, weights=points.weights / points.weights.sum())


def starts(a: Points, b: Points, d: int) -> list[tuple[bool, Affine]]:
    """The poses to start from, and whether each turns the shape to its principal axes."""
    identity = torch.eye(d, dtype=torch.float64)
    (ma, ua), (mb, ub) = frame(a), frame(b)
    poses = [(False, Affine(identity, torch.zeros(d, dtype=torch.float64))), (False, Affine(identity, mb - ma))]
    if d <= 3:
        for signs in itertools.product((1.0, -1.0), repeat=d):
            rotation = ub @ torch.diag(torch.tensor(signs, dtype=torch.float64)) @ ua.T
            if float(torch.linalg.det(rotation)) > 0:
                poses.append((True, Affine(rotation, mb - rotation @ ma)))
    return poses


def frame(points: Points) -> tuple[Tensor, Tensor]:
    """Centroid, shape (d,), and principal axes as columns, shape (d, d)."""
    assert points.weights is not None
    w = points.weights[:, None]
    mean = (w * points.x).sum(0)
    centered = points.x - mean
    return mean, torch.linalg.eigh((w * centered).T @ centered)[1]


def descend(a: Points, b: Points, group: Alignment, start: Affine, center: Tensor, scale: float) -> Affine:
    """The motion near the start that minimizes the mismatch at one scale, by L-BFGS; turns are about the centroid."""
    loss = MMDLoss(GaussianKernel(scale))
    parameters = torch.zeros(group.size(len(center)), dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(len(center), dtype=torch.float64, requires_grad=True)  # in units of the scale
    optimizer = torch.optim.LBFGS([parameters, shift], max_iter=20, line_search_fn="strong_wolfe")
    pivot = start(center[None])[0]

    def closure() -> Tensor:
        optimizer.zero_grad()
        linear = group.matrix(parameters, len(center)) @ start.matrix
        value = loss(Points((a.x - center) @ linear.T + pivot + scale * shift, weights=a.weights), b)
        value.backward()
        return value

    optimizer.step(closure)
    linear = group.matrix(parameters.detach(), len(center)) @ start.matrix
    return Affine(linear, pivot + scale * shift.detach() - linear @ center)


@torch.no_grad()
def mismatch(a: Points, b: Points, pose: Affine, extent: float) -> float:
    """MMD at a middle scale, by which poses are compared."""
    return float(MMDLoss(GaussianKernel(0.1 * extent))(Points(pose(a.x), weights=a.weights), b))
