"""Scales from the data: how large the shapes are, how fine, and what follows from that.

Everything here is unchanged by rigid motions, and is multiplied by s where the data are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.spatial import KDTree

from diffeo.core import Loss, WeightedLosses
from diffeo.kernels import GaussianKernel, Radial
from diffeo.losses import CurrentLoss, ImageLoss, LandmarkLoss, MeasureLoss, MMDLoss, SinkhornLoss, VarifoldLoss
from diffeo.shapes import Curve, Mesh, Points, PointShape
from diffeo.shapes.sampling import trimmed

WIDEST = 0.4  # the widest kernel of the deformation, relative to the extent
HALVINGS = 3  # narrower kernels beside it, each half as wide and twice as dear
COARSEST = 0.3  # the first scale of the data term, relative to the extent
FINEST = 0.04  # its last, where the shapes are that fine
SPACINGS = 1.2  # its last in mean spacings of the points: below, single points are seen and not the shape
SMALL_SHIFT = 0.01  # relative to the length, for measuring the curvature of a loss
RATIO = 3.0  # between successive scales of the data term


def extent(*shapes: PointShape) -> float:
    """Twice the largest distance of a point from its shape's mean, in length units."""
    return max(2 * float((x - x.mean(0)).norm(dim=1).max()) for x in (trimmed(s).x for s in shapes))


def spacing(shape: PointShape) -> float:
    """The mean distance of neighbors, in length units: edge length, or distance to the nearest other point."""
    if isinstance(shape, (Mesh, Curve)):
        index = shape.faces if isinstance(shape, Mesh) else shape.edges
        ends = shape.x[index]
        return float((ends - ends.roll(1, 1)).norm(dim=2).mean())
    x = torch.unique(shape.x, dim=0).cpu().numpy()
    if len(x) < 2:
        return 0.0
    distances, _ = KDTree(x).query(x, k=2)
    return float(distances[:, 1].mean())


def default_kernel(size: float, scales: float | Sequence[float] | None) -> Radial:
    """A sum of Gaussians, each weighted by its width: fine motions are possible, and dearer than wide ones.

    Args:
        size: the extent.
        scales: widths, in length units; None means four, from 0.4 to 0.05 of the extent.

    Raises: ValueError if a scale is not a positive number.
    """
    if scales is None:
        widths = [WIDEST * size / 2**k for k in range(HALVINGS + 1)]
    else:
        widths = sorted((float(s) for s in ([scales] if isinstance(scales, (int, float)) else scales)), reverse=True)
    if not widths:
        raise ValueError("register expects one or several scales, and got an empty list.")
    kernel: Radial = GaussianKernel(widths[0])
    for width in widths[1:]:
        kernel = kernel + (width / widths[0]) * GaussianKernel(width)
    return kernel


def default_loss(source: PointShape, target: PointShape, kind: type[Loss] | None, size: float) -> Loss:
    """The loss of the given class (None: the one that fits the shapes) at the finest scale that the data support."""
    if kind is None:
        directed = not isinstance(source, Points) and not isinstance(target, Points)
        kind = VarifoldLoss if directed else MMDLoss
    finest = max(FINEST * size, SPACINGS * max(spacing(source), spacing(target)))
    if kind is MMDLoss:
        return MMDLoss(GaussianKernel(finest), normalized=type(source) is not type(target))
    if kind in (VarifoldLoss, CurrentLoss):
        return kind(GaussianKernel(finest))
    if kind is SinkhornLoss:
        return SinkhornLoss(finest / 2)
    if kind is LandmarkLoss:
        return LandmarkLoss()
    if issubclass(kind, ImageLoss):
        raise ValueError(
            f"{kind.__name__} compares images, and source and target are a {type(source).__name__} and a "
            f"{type(target).__name__}: take VarifoldLoss or CurrentLoss for surfaces and curves, MMDLoss or "
            "SinkhornLoss for points."
        )
    raise ValueError(f"register knows no scale for {kind.__name__}: pass an instance instead of the class.")


def finest_scale(loss: Loss) -> float | None:
    """The smallest length that a loss resolves; None for one that needs no coarse start."""
    if isinstance(loss, MeasureLoss):
        return loss.kernel.scales[-1]
    if isinstance(loss, WeightedLosses):
        found = [s for _, term in loss.terms if (s := finest_scale(term)) is not None]
        return min(found) if found else None
    return None


def coarse_factors(loss: Loss, size: float) -> list[float]:
    """By what to widen a loss, stage after stage: from 0.3 of the extent to its own scale; the last is 1."""
    finest = finest_scale(loss)
    if finest is None or COARSEST * size <= 1.5 * finest:
        return [1.0]
    count = max(1, round(math.log(COARSEST * size / finest, RATIO)))
    ratio = (COARSEST * size / finest) ** (1 / count)
    return [ratio**k for k in range(count, 0, -1)] + [1.0]


@torch.no_grad()
def unit_of(loss: Loss, shape: PointShape, length: float) -> float:
    """The unit in which data terms are weighed: what the loss says of a shift by a length, were it quadratic.

    Measured on small shifts along the axes, whose mean is then the same for all axes.
    """
    steps = SMALL_SHIFT * length * torch.eye(shape.x.shape[1], dtype=torch.float64)
    exact = shape.to(torch.float64)
    values = [float(loss(exact.with_positions(exact.x + step.to(exact.x.device)), exact)) for step in steps]
    mean = sum(values) / len(values) / SMALL_SHIFT**2
    return mean if mean > 0 and math.isfinite(mean) else 1.0
