"""Going on from a map that is there already, of whatever kind."""

from __future__ import annotations

import torch

from diffeo.core import Compose, Diffeo
from diffeo.fit import fit
from diffeo.flows import Affine, GridGeodesic
from diffeo.grid import Grid
from diffeo.losses import SSDLoss
from diffeo.registration.lbfgs import FrugalLBFGS
from diffeo.shapes import Image

WEIGHT, ITERATIONS, TOLERANCE = 1e-4, 40, 0.01  # the price of energy (in squares of the size), and when it is close


def split(phi: Diffeo) -> tuple[Affine | None, Diffeo | None]:
    """The affine motion that a map begins with, and what follows: one, the other, or both."""
    parts = phi.diffeos if isinstance(phi, Compose) else [phi]
    if not isinstance(parts[0], Affine):
        return None, phi
    return parts[0].double(), Compose(parts[1:]) if parts[1:] else None


def approach(phi: Diffeo, goal: Diffeo, grid: Grid, like: torch.Tensor) -> None:
    """Fit φ, in place, to another map: register the image of all coordinates, carried by the goal, with itself.

    Args:
        phi: a map with parameters.
        goal: any map.
        grid: where they are compared.
        like: of the dtype and on the device of φ.
    """
    size = max(n * s for n, s in zip(grid.shape, grid.spacing, strict=True))
    x = grid.points(like)
    values = ((x - x.mean(0)) / size).T.reshape(-1, *grid.shape)
    coordinates = Image(values, grid, background=values.new_zeros(len(values)))
    with torch.no_grad():
        there = goal.to(like) @ coordinates
        if isinstance(phi, GridGeodesic):  # to first order, φ⁻¹ is id − v
            u = goal.pullback(phi.nodes)
            phi.start_along(-(phi.nodes.linear.to(u) @ u.flatten(1)).reshape(u.shape))
    fit(
        phi,
        [(coordinates, there)],
        SSDLoss(),
        weight=WEIGHT / size**2,
        optimizer=FrugalLBFGS,
        max_iterations=ITERATIONS,
        tolerance=TOLERANCE,
    )
