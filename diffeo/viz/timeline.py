"""Where points are along the way of a map, at evenly spread moments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.viz.view import Array, array


class Timeline(NamedTuple):
    """Points carried along the way of a map, at T moments."""

    times: Array
    """From 0 to 1, shape (T,): the part of the way that is done, by mean length."""
    positions: Array
    """Shape (T, n, d)."""
    logdet: Array
    """log det of the map from the start to the moment, shape (T, n); NaN where it folds."""

    @property
    def displacement(self) -> Array:
        """How far each point is from where it began, shape (T, n)."""
        return np.linalg.norm(self.positions - self.positions[0], axis=2)

    def split(self, n: int) -> tuple[Timeline, Timeline]:
        """That of the first n points, and that of the others."""
        return (
            Timeline(self.times, self.positions[:, :n], self.logdet[:, :n]),
            Timeline(self.times, self.positions[:, n:], self.logdet[:, n:]),
        )


@torch.no_grad()
def timeline(phi: Diffeo, x: Tensor, moments: int = 25, *, measured: int | None = None) -> Timeline:
    """Follow points along a map.

    Moments are evenly spread over the length of the way, not over its layers: those of a descent become shorter and
    shorter, and a film of them would come to a halt. Between layers points go straight.

    Args:
        phi: the map.
        x: points, shape (n, d), in its dtype and on its device.
        moments: T, at least 2: the first is the start, the last the end.
        measured: only the first so many points say how long the way is, those of a shape among those of a grid that
            goes along; by default all.

    Raises: ValueError for fewer moments.
    """
    path = np.stack([array(y) for y in phi.path(x)])
    times, at = stops(path, moments, measured)
    return Timeline(times, between(path, at), between(_grown(phi, x, len(path)), at))


def stops(path: Array, moments: int, measured: int | None = None) -> tuple[Array, Array]:
    """Times and places along a path, shape (L, n, d), from 0 to 1 and from 0 to L − 1, each of shape (moments,).

    Between them the first ``measured`` points go equally far on average; where nothing moves, all are at the start.

    Raises: ValueError for fewer than 2 moments.
    """
    if moments < 2:
        raise ValueError(f"a way is followed over 2 moments or more, and got {moments}.")
    length = np.r_[0.0, np.linalg.norm(np.diff(path, axis=0), axis=2)[:, :measured].mean(1).cumsum()]
    times = np.linspace(0, 1, moments)
    if length[-1] == 0:
        return times, np.zeros(moments)
    return times, np.interp(times, length / length[-1], np.arange(len(path)))


def between(values: Array, at: Array) -> Array:
    """Values, shape (L, …), at fractional places along the first axis, shape (T,): linear, shape (T, …)."""
    before = np.clip(np.floor(at).astype(int), 0, max(len(values) - 2, 0))
    part = (at - before).reshape(-1, *[1] * (values.ndim - 1))
    return (1 - part) * values[before] + part * values[np.minimum(before + 1, len(values) - 1)]


def _grown(phi: Diffeo, x: Tensor, moments: int) -> Array:
    """log det after each layer, shape (moments, n), the first being zero."""
    _, volumes = phi.with_volumes(x)
    factors = array(volumes)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.where(factors > 0, np.log(np.maximum(factors, 1e-300)), np.nan)
    grown = np.concatenate([np.zeros((1, len(x))), logs.cumsum(0)])
    return grown if len(grown) == moments else between(grown, np.linspace(0, len(grown) - 1, moments))
