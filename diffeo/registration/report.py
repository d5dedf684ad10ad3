"""Honest figures about a registration."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import torch

from diffeo.core import Compose, Diffeo, Loss
from diffeo.diagnostics import flipped, symmetric_distance, turned
from diffeo.flows import Flow, Geodesic
from diffeo.shapes import Curve, Mesh, PointShape
from diffeo.shapes.sampling import trimmed

PACKAGES = ("diffeo", "torch", "numpy", "scipy", "numba", "pykeops", "torchdiffeq")


def versions() -> dict[str, str]:
    """The versions of everything that shaped the result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@torch.no_grad()
def figures(source: PointShape, target: PointShape, moved: PointShape, phi: Diffeo, loss: Loss) -> dict[str, Any]:
    """What is measured on the result, in the data's units; None where a figure has no meaning for this kind of map.

    Points that belong to no face or segment count in the data term alone, if the loss looks at them.
    """
    data_before, data_after = float(loss(source, target)), float(loss(moved, target))
    source, target, moved = trimmed(source), trimmed(target), trimmed(moved)
    before, after = symmetric_distance(source, target), symmetric_distance(moved, target)
    _, logdet = phi.with_logdet(source.x)
    folds = face_folds(source, moved, phi)
    return {
        "energy": float(phi.energy()),
        "data_before": data_before,
        "data_after": data_after,
        "distance_before": before.mean,
        "distance_after": after.mean,
        "distance_before_p95": before.p95,
        "distance_after_p95": after.p95,
        "distance_before_max": before.max,
        "distance_after_max": after.max,
        "min_jacobian": float(logdet.exp().nan_to_num(nan=-1.0).min()),
        "max_jacobian": float(logdet.exp().nan_to_num(nan=-1.0).max()),
        **folds,
        "inverse_error": inverse_error(phi, source.x),
        "step_error": step_error(phi, source.x),
        "hamiltonian_drift": next((p.hamiltonian_drift() for p in parts(phi) if isinstance(p, Geodesic)), None),
    }


def parts(phi: Diffeo) -> list[Diffeo]:
    """The maps that a map is composed of."""
    return phi.diffeos if isinstance(phi, Compose) else [phi]


def face_folds(source: PointShape, moved: PointShape, phi: Diffeo) -> dict[str, int | None]:
    """How many faces fold against the map, and how many turned by more than 90°; None for points."""
    if not (isinstance(source, (Mesh, Curve)) and isinstance(moved, type(source))):
        return {"flipped": None, "turned": None}
    _, jacobians = phi.with_jacobian(source.measure().centers)
    return {
        "flipped": int(flipped(source, moved, jacobians).sum()),
        "turned": int(turned(source, moved).sum()),
    }


def inverse_error(phi: Diffeo, x: torch.Tensor) -> float | None:
    """The largest |φ⁻¹(φ(x)) − x|; None where the inverse was not found."""
    try:
        return float((phi.inverse(phi(x)) - x).norm(dim=1).max())
    except ArithmeticError:
        return None


def step_error(phi: Diffeo, x: torch.Tensor) -> float | None:
    """The largest move of a point when the number of steps is doubled; None for maps that are their layers."""
    if not any(isinstance(p, (Geodesic, Flow)) for p in parts(phi)):
        return None
    finer = Compose([p.with_steps(2 * p.steps) if isinstance(p, (Geodesic, Flow)) else p for p in parts(phi)])
    return float((finer(x) - phi(x)).norm(dim=1).max())
