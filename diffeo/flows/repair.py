"""Displacements without folds: smoothed where they have some, as locally as possible, however wide the folds are."""

from __future__ import annotations

import torch
from torch import Tensor

from diffeo.backends.grids import loops_for
from diffeo.sampling import gaussian_smooth

FIRST, GROWTH = 2.0, 1.3  # the width of the smoothing, in steps, and by what it grows as long as there are folds
WIDEST = 0.25  # of the longest axis: wider is not smoothed, but shrunk
REACH = 1.0  # widths, around what is bad
SHRINKING = 0.9


def unfolded(u: Tensor, least: float) -> Tensor:
    """The displacement with every corner determinant of i + u(i) at least ``least``, changed around the others only.

    Folds of a few points are smoothed point by point. Where a whole region is crumpled, that takes as many sweeps as it
    has points across; then it is replaced by smooth copies, wider and wider. What is bad still is shrunk, together with
    everything else: enough of that makes any displacement regular.

    Args:
        u: steps, shape (d, *S), 0 on the border of the grid.
        least: below 1, which is what standing still has.
    """
    if not least < 1:
        raise ValueError(f"a map can be smoothed until its determinants are nearly 1, not to {least:.3g}.")
    loops = loops_for(u)
    u, width = loops.repaired(u, least), FIRST
    border = on_border(u)
    while bool((bad := loops.corner_determinants(u) < least).any()):
        if width <= WIDEST * max(u.shape[1:]):
            u = torch.lerp(u, gaussian_smooth(u, widths(u, width)), weights(bad.to(u), width))
            u = loops.repaired(u.masked_fill(border, 0), least)
            width *= GROWTH
        else:
            u = SHRINKING * u
    return u


def widths(u: Tensor, width: float) -> list[float]:
    """The same width along every axis that has one."""
    return [width if n > 1 else 0.0 for n in u.shape[1:]]


def weights(bad: Tensor, width: float) -> Tensor:
    """1 where it is bad, which is 1 and not 0, falling smoothly to 0 within some widths; shape (1, *S)."""
    near = bad[None]
    reach = int(REACH * width)
    for axis, n in enumerate(bad.shape, start=1):
        if n > 1:  # a box's maximum is that of lines, one axis after the other
            lines = near.movedim(axis, -1)
            flat = lines.reshape(1, -1, lines.shape[-1])
            flat = torch.nn.functional.max_pool1d(flat, 2 * min(reach, n - 1) + 1, 1, min(reach, n - 1))
            near = flat.reshape(lines.shape).movedim(-1, axis)
    return gaussian_smooth(near.contiguous(), widths(near, width / 2)).clamp(0, 1)


def on_border(u: Tensor) -> Tensor:
    """Where an axis of more than one point ends, shape S."""
    border = torch.zeros(u.shape[1:], dtype=torch.bool, device=u.device)
    for axis, n in enumerate(border.shape):
        if n > 1:
            border.select(axis, 0).fill_(True)
            border.select(axis, -1).fill_(True)
    return border
