"""The same residual network as a user of torchdiffeq writes it: layers of torch, fields that look up their knot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import diffeo


class Residuals(nn.Module):
    """v(t, z) = W₂(t) * relu(W₁ * z), constant on each of L intervals."""

    def __init__(self, phi: diffeo.Flow) -> None:
        super().__init__()
        fields: Any = phi.layer_fields()
        c, m, k = fields[0].shape[0], fields[0].hidden, fields[0].kernel_size
        self.inner = nn.Conv2d(c, m, k, padding=k // 2, bias=False)
        self.inner.weight = nn.Parameter(fields[0].inner.clone(), requires_grad=False)
        self.outer = nn.ModuleList([nn.Conv2d(m, c, k, padding=k // 2, bias=False) for _ in fields])
        for conv, field in zip(self.outer, fields, strict=True):
            conv.weight = nn.Parameter(field.outer.detach().clone())

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Times at knots belong to the interval that begins there."""
        layer = min(int(float(t.detach()) * len(self.outer) + 1e-3), len(self.outer) - 1)
        return self.outer[layer](self.inner(z).relu())


class Through(nn.Module):
    """The network, integrated by a function of torchdiffeq in steps of the midpoint rule, one for each layer."""

    def __init__(
        self, phi: diffeo.Flow, head: nn.Linear, integrate: Callable[..., Any], shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.residuals, self.head, self.integrate, self.shape = Residuals(phi), head, integrate, shape
        self.steps = phi.steps

    def forward(self, z: Tensor) -> Tensor:
        """Scores, shape (n, k)."""
        times = torch.tensor([0.0, 1.0], dtype=z.dtype)
        images = z.reshape(len(z), *self.shape)
        options = {"step_size": 1 / self.steps}
        path = self.integrate(self.residuals, images, times, method="midpoint", options=options)
        return self.head(path[-1].flatten(1))


def through(name: str, phi: diffeo.Flow, head: diffeo.LinearReadOut, shape: tuple[int, ...]) -> Through:
    """By ``odeint`` or ``odeint_adjoint``."""
    import torchdiffeq

    linear = nn.Linear(head.weight.shape[1], head.outputs).to(head.weight)
    with torch.no_grad():
        linear.weight.copy_(head.weight)
        linear.bias.zero_()
    return Through(phi, linear.requires_grad_(False), getattr(torchdiffeq, name), shape)


def epoch(net: Through, batches: diffeo.Batches, rate: float) -> list[float]:
    """Stochastic gradient descent, once through the data; the losses."""
    outer = [p for p in net.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.SGD(outer, lr=rate), []
    for z, labels in batches.epoch(0):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(z), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
