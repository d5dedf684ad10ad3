"""Fewer points for the same shape: controls, coarse copies for the first rough steps, no points without cells."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from diffeo.shapes.base import PointShape
from diffeo.shapes.curve import Curve
from diffeo.shapes.mesh import Mesh
from diffeo.shapes.points import Points

LOOKED_AT = 20_000


def farthest_points(x: Tensor, count: int) -> Tensor:
    """Sorted indices of points of x, shape (n, d), each as far as possible from those before; all of them if n ≤ count.

    Exact duplicates are never chosen twice. The first is the one farthest from the mean, so the choice moves with x
    under rigid motions. Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.
    """
    distance = (x - x.mean(0)).square().sum(1)
    chosen = [int(distance.argmax())]
    distance = (x - x[chosen[0]]).square().sum(1)
    while len(chosen) < min(count, len(x)):
        index = int(distance.argmax())
        if float(distance[index]) == 0:
            break
        chosen.append(index)
        distance = torch.minimum(distance, (x - x[index]).square().sum(1))
    return torch.tensor(sorted(chosen), device=x.device)


def coarse(shape: PointShape, count: int, seed: int = 0) -> Points:
    """The shape as at most ``count`` weighted points: its mass, gathered at farthest points of it.

    Of more than 20,000 pieces, that many drawn at random (by the seed) are where the mass may be gathered.
    """
    measure = shape.measure()
    x, w = measure.centers.detach(), measure.weights.detach()
    if len(x) <= count:
        return Points(x, weights=w)
    drawn = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:LOOKED_AT].sort()[0].to(x.device)]
    centers = drawn[farthest_points(drawn, count)]
    nearest = torch.cat([torch.cdist(part, centers).argmin(1) for part in x.split(10_000)])
    mass = x.new_zeros(len(centers)).index_add_(0, nearest, w)
    mean = torch.zeros_like(centers).index_add_(0, nearest, w[:, None] * x)
    kept = mass > 0
    return Points(mean[kept] / mass[kept, None], weights=mass[kept])


def thinned(shape: PointShape, count: int) -> PointShape:
    """A cloud of more than ``count`` points as that many weighted ones; other shapes as they are.

    At the scales of a registration the two are the same measure, and a reduction over pairs costs the square less.
    """
    return coarse(shape, count) if isinstance(shape, Points) and len(shape.x) > count else shape


def trimmed(shape: PointShape) -> PointShape:
    """A curve or surface without the points that belong to none of its cells, and without attributes.

    Such points, left over in many files, are no part of the shape: they have no length or area, and may be anywhere.
    Clouds, and shapes all of whose points belong to a cell, are returned as they are.
    """
    if not isinstance(shape, (Curve, Mesh)):
        return shape
    name = "faces" if isinstance(shape, Mesh) else "edges"
    kept, cells = torch.unique(getattr(shape, name), return_inverse=True)
    if len(kept) == len(shape.x):
        return shape
    return dataclasses.replace(shape, x=shape.x[kept], attributes={}, **{name: cells})
