"""Layers that are Euler steps along kernel fields, taken together: the usual flow of densities, at the usual speed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Field
from diffeo.fields.contractive import Contractive
from diffeo.fields.kernel_field import KernelField, PlainField
from diffeo.fields.trained_kernel_field import TrainedKernelField
from diffeo.flows.layers import FieldLayer, Layer
from diffeo.flows.separable import SeparableLayer
from diffeo.kernels import euler
from diffeo.kernels.algebra import Radial
from diffeo.kernels.euler import Steps
from diffeo.solvers import Euler


def with_volumes(layers: Sequence[Layer], x: Tensor) -> tuple[Tensor, Tensor]:
    """x after the layers, (n, d), and the determinants on the way, (layers, n): many at once where that can be.

    Layers along a `SeparableField` are as many as there are coordinates.
    """
    volumes = []
    for kernel, run in _runs(layers):
        if kernel is not None and euler.covers(kernel, steps := _steps(run), x):
            x, determinants = euler.take(kernel, x, steps)
            volumes.append(determinants)
            continue
        for layer in run:
            if isinstance(layer, SeparableLayer):  # one map of the line after the other, none of which may fold
                x, slopes = layer.with_slopes(x)
                volumes.append(slopes.T)
                continue
            x, volume = layer.with_volume(x)
            volumes.append(volume[None])
    return x, torch.cat(volumes) if volumes else x.new_ones(0, len(x))


def frozen(fields: Sequence[Field]) -> list[Any]:
    """The velocity of every field: how slow `Contractive` ones have to be is computed for all of them at once."""
    found = _slowed(fields)
    if found is None:
        return [field.frozen() for field in fields]
    velocities, _, slowness = found
    parts = zip(velocities, slowness, strict=True)
    return [PlainField(v.kernel, v.controls, slow * v.momenta, v.log_scale) for v, slow in parts]


def _slowed(fields: Sequence[Any]) -> tuple[list[PlainField], Tensor, Tensor] | None:
    """Of contractive fields with momenta: these without the slowing, their ‖u‖², and v/u; None for other fields."""
    inner = [field.field for field in fields if isinstance(field, Contractive)]
    if not inner or len(inner) < len(fields):
        return None
    if not all(
        isinstance(u, KernelField | TrainedKernelField) and math.isfinite(u.kernel.slope_at_zero) for u in inner
    ):
        return None
    velocities = [u.frozen() for u in inner]
    wide = [v.double() for v in velocities]
    norms = sqnorms(wide)
    steepness = torch.stack([v.sqlipschitz(norm) for v, norm in zip(wide, norms, strict=True)])
    bounds = steepness.new_tensor([field.bound for field in fields])
    slowness, like = (1 + steepness / bounds.square()).rsqrt(), velocities[0].momenta
    return velocities, norms.to(like), slowness.to(like)


def sqnorms(velocities: Sequence[Any]) -> Tensor:
    """‖v‖² of every field, shape (fields,)."""
    slowed = _slowed(velocities)
    if slowed is not None:
        return slowed[2].square() * slowed[1]
    plain = [v.frozen() if isinstance(v, KernelField | TrainedKernelField) else v for v in velocities]
    joined = [v for v in plain if isinstance(v, PlainField) and _key(v) == _key(plain[0])]
    if len(joined) == len(plain):
        steps = _together(joined, (1.0,) * len(joined))
        if euler.covers(joined[0].kernel, steps):
            return euler.norms(joined[0].kernel, steps)
    return torch.stack([velocity.sqnorm() for velocity in velocities])


def _runs(layers: Sequence[Layer]) -> Iterator[tuple[Radial | None, list[Any]]]:
    """Layers that follow one another, with the kernel that all of their fields have, or None."""

    def kind(layer: Layer) -> tuple[Radial, bool] | None:
        if not (isinstance(layer, FieldLayer) and isinstance(layer.solver, Euler)):
            return None
        return _key(layer.velocity) if isinstance(layer.velocity, PlainField) else None

    for key, run in groupby(layers, kind):
        yield None if key is None else key[0], list(run)


def _key(velocity: PlainField) -> tuple[Radial, bool]:
    """What fields that go into one call have in common."""
    return velocity.kernel, velocity.log_scale is None


def _steps(run: Sequence[FieldLayer]) -> Steps:
    velocities = [layer.velocity for layer in run if isinstance(layer.velocity, PlainField)]
    return _together(velocities, tuple(layer.duration for layer in run))


def _together(velocities: Sequence[PlainField], durations: tuple[float, ...]) -> Steps:
    log_scales = tuple(v.log_scale for v in velocities if v.log_scale is not None)
    return Steps(
        durations,
        tuple(v.controls for v in velocities),
        tuple(v.momenta for v in velocities),
        log_scales or None,
    )
