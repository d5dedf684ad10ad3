"""Flows slowed down where they would fold, between the points that an optimizer has seen: it is rarely needed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from diffeo.flows import Flow

SLOWER = 0.9  # times as fast, as often as needed


@torch.no_grad()
def slowed(phi: Flow, velocities: list[nn.Parameter], places: Tensor, least: float) -> None:
    """Make a flow slower, in place, until at the places, shape (m, d), no layer's determinant is ``least`` or less.

    Args:
        phi: the flow; at rest it is the identity.
        velocities: what its fields are linear in, of finite values.
        places: shape (m, d).
        least: from 0 to less than 1.
    """
    while not bool((phi.with_volumes(places)[1] > least).all()):
        slower(velocities)


@torch.no_grad()
def slower(velocities: Iterable[nn.Parameter]) -> None:
    """Make what fields are linear in a little smaller, in place."""
    for p in velocities:
        p.mul_(SLOWER)
