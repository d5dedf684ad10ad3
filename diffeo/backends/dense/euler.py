"""Euler steps along kernel fields in plain torch, which differentiates them to any order: what other backends equal."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.backends.formulas import Jet


class Steps(NamedTuple):
    """x + h Σ_j k(|x − c_j|²/s²) a_j, one after the other.

    Attributes:
        durations: h of every layer.
        controls, momenta: c and a, shape (m, d), m being as large as it is in every layer.
        log_scales: log s, shape (1,); None where it is 0 in all layers.
    """

    durations: tuple[float, ...]
    controls: tuple[Tensor, ...]
    momenta: tuple[Tensor, ...]
    log_scales: tuple[Tensor, ...] | None

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return (*self.controls, *self.momenta, *(self.log_scales or ()))

    def first(self) -> Steps:
        """The first step alone."""
        scales = None if self.log_scales is None else self.log_scales[:1]
        return Steps(self.durations[:1], self.controls[:1], self.momenta[:1], scales)

    def scale(self, k: int) -> Tensor | float:
        """S of a layer."""
        return 1.0 if self.log_scales is None else self.log_scales[k].exp()


def forward(jet: Jet, x: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """Positions (n, d), and the determinants of all layers on the way, (layers, n)."""
    volumes = []
    for k, h in enumerate(steps.durations):
        velocity, jacobian = value_and_jacobian(jet, x, steps.controls[k], steps.momenta[k], steps.scale(k))
        volumes.append(torch.linalg.det(torch.eye(x.shape[1], dtype=x.dtype, device=x.device) + h * jacobian))
        x = x + h * velocity
    return x, torch.stack(volumes)


def value_and_jacobian(
    jet: Jet, x: Tensor, controls: Tensor, momenta: Tensor, scale: Tensor | float
) -> tuple[Tensor, Tensor]:
    """v(x), shape (n, d), and Dv(x), shape (n, d, d)."""
    D = (x[:, None] - controls) / scale
    k, k1, *_ = jet.jet(D.square().sum(2))
    return k @ momenta, torch.einsum("nm,ma,nmb->nab", 2 * k1 / scale, momenta, D)


def norms(jet: Jet, steps: Steps) -> Tensor:
    """‖v‖² of every layer, shape (layers,)."""
    values = []
    for k, (c, a) in enumerate(zip(steps.controls, steps.momenta, strict=True)):
        gram = jet.jet(((c[:, None] - c) / steps.scale(k)).square().sum(2))[0]
        values.append((a * (gram @ a)).sum())
    return torch.stack(values)
