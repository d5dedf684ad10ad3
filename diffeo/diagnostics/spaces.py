"""What the norm of a space of velocities promises: how fast, and how steep, a field of norm 1 can be."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from diffeo.core import Diffeo, Field
from diffeo.fields import FeatureField, GridField, KernelField
from diffeo.flows import Descent, FieldDescent, FieldGeodesic, Flow, Geodesic
from diffeo.kernels.algebra import Radial


class Embedding(NamedTuple):
    """|v(x)| ≤ ``speed`` ‖v‖_V and |v(x) − v(y)| ≤ ``slope`` ‖v‖_V |x − y|; infinite where nothing is known.

    The feature map of the space, x ↦ K(·, x), has the same two bounds.
    """

    speed: float
    slope: float


def embedding(space: Radial | Field | None) -> Embedding:
    """The two constants for the space of a kernel, or for the fields that can be made of one by other coefficients."""
    if isinstance(space, KernelField):
        return embedding(space.kernel)
    if isinstance(space, Radial):
        return Embedding(math.sqrt(space.at_zero), math.sqrt(-2 * space.slope_at_zero))
    if isinstance(space, FeatureField):
        spread = float(torch.linalg.matrix_norm(space.frequencies, 2))
        return Embedding(math.sqrt(space.kernel.at_zero), space.amplitude * spread)
    return Embedding(math.inf, math.inf)


def space_of(phi: Diffeo) -> Radial | Field | None:
    """Where the velocities of a map are from: a kernel, or a field, whose coefficients do not matter; None if unknown.

    The fields of a flow are taken to be from one space.
    """
    if isinstance(phi, Geodesic | Descent):
        return phi.kernel
    if isinstance(phi, FieldDescent):
        return None if phi.redraw else phi.field  # fields with weights of their own share no space
    field = phi.field if isinstance(phi, FieldGeodesic) else phi.layer_fields()[0] if isinstance(phi, Flow) else None
    return field.kernel if isinstance(field, KernelField | GridField) else field
