"""Honest figures about a registration of images."""

from __future__ import annotations

from typing import Any

import torch

from diffeo.core import Compose, Diffeo, Inverse, Loss, Shape
from diffeo.diagnostics import corner_determinants, folds, inverse_consistency
from diffeo.flows import Flow, GridGeodesic, Warp
from diffeo.grid import Grid
from diffeo.losses import SSDLoss
from diffeo.registration.pyramid import images
from diffeo.registration.report import parts
from diffeo.shapes import Compound, Image

INVERTED = 300_000  # points, about, at which the inverse is judged
JUDGED = 20_000  # points, about, at which the error in time is judged


@torch.no_grad()
def figures(source: Shape, target: Shape, carried: Shape, phi: Diffeo, known: Warp, loss: Loss) -> dict[str, Any]:
    """What is measured on the result, in the data's units.

    Args:
        source: as it was compared, its images to be sampled on the grids of the target's.
        target: as it was compared.
        carried: φ · source.
        phi: the whole map.
        known: the same on the grid of the target's image.
        loss: D.
    """
    moving, fixed, moved = images(source)[0], images(target)[0], images(carried)[0]
    still = at_rest(source)
    determinants = corner_determinants(known, fixed.grid)
    least, error = float(determinants.min()), SSDLoss()
    most = float(corner_determinants(known, fixed.grid, largest=True).max())
    return {
        "energy": float(phi.energy()),
        "data_before": float(loss(still, target)),
        "data_after": float(loss(carried, target)),
        "error_before": float(error(images(still)[0], fixed)),
        "error_after": float(error(moved, fixed)),
        "min_jacobian": 1 / most if least > 0 else -1.0,
        "max_jacobian": 1 / least if least > 0 else -1.0,
        "min_corner": least,
        "folds": folds(determinants),
        **inverse_errors(phi, fixed.grid, moving.grid),
        "step_error": step_error(phi, fixed.grid),
        "hamiltonian_drift": next((p.hamiltonian_drift() for p in inner(phi) if isinstance(p, GridGeodesic)), None),
    }


def inverse_errors(phi: Diffeo, fixed: Grid, moving: Grid) -> dict[str, float | None]:
    """Mean and largest inverse consistency; None where the map folds, or leads nowhere that the source is known."""
    try:
        found = inverse_consistency(phi, fixed, moving, INVERTED)
    except (ArithmeticError, ValueError):
        return {"inverse_error": None, "inverse_error_max": None}
    return {"inverse_error": found.mean, "inverse_error_max": found.max}


def at_rest(shape: Shape) -> Shape:
    """A shape with its images where they are to be sampled, and not moved."""
    if isinstance(shape, Compound):
        return Compound([at_rest(part) for part in shape.parts])
    return shape.resampled(shape.canvas or shape.grid) if isinstance(shape, Image) else shape


def inner(phi: Diffeo) -> list[Diffeo]:
    """The maps that a map is composed of, inverses aside."""
    return [part.phi if isinstance(part, Inverse) else part for part in parts(phi)]


@torch.no_grad()
def step_error(phi: Diffeo, grid: Grid) -> float | None:
    """The largest move of φ⁻¹(x), x on a coarse grid, when the number of steps is doubled; None for other maps."""
    if not any(isinstance(part, (Flow, GridGeodesic)) for part in inner(phi)):
        return None
    every = max(1, round((grid.size / JUDGED) ** (1 / grid.dim)))
    x = grid.shrunk([min(every, n) for n in grid.shape]).points(
        next(t for t in (*phi.parameters(), *phi.buffers()) if t.is_floating_point()).cpu()
    )
    moved = [inverse(x) for inverse in (phi.inverse, Compose([finer(part) for part in parts(phi)]).inverse)]
    return float((moved[0] - moved[1]).norm(dim=1).max())


def finer(phi: Diffeo) -> Diffeo:
    """The same map in twice as many steps, if it has steps."""
    if isinstance(phi, Inverse):
        return Inverse(finer(phi.phi))
    return phi.with_steps(2 * phi.steps) if isinstance(phi, (Flow, GridGeodesic)) else phi
