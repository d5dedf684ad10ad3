"""A made-up smooth diffeomorphism, so that the pictures' tests need no registration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo


class Bumps(Diffeo):
    """Euler steps of v(x) = Σ_j k(|x - c_j|²) a_j, Gaussian: small enough amplitudes never fold."""

    def __init__(self, centers: Tensor, amplitudes: Tensor, scale: float, steps: int = 5) -> None:
        super().__init__()
        self.centers, self.amplitudes, self.scale, self.steps = centers, amplitudes, scale, steps

    def _velocity(self, x: Tensor) -> tuple[Tensor, Tensor]:
        difference = x[:, None] - self.centers
        k = torch.exp(-difference.square().sum(-1) / (2 * self.scale**2))
        jacobian = -torch.einsum("nm,ma,nmb->nab", k, self.amplitudes, difference) / self.scale**2
        return k @ self.amplitudes, jacobian

    def path(self, x: Tensor) -> list[Tensor]:
        path = [x]
        for _ in range(self.steps):
            path.append(path[-1] + self._velocity(path[-1])[0] / self.steps)
        return path

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x)[-1]

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        identity = torch.eye(x.shape[1]).to(x)
        total = identity.expand(len(x), -1, -1)
        for _ in range(self.steps):
            v, jacobian = self._velocity(x)
            total = (identity + jacobian / self.steps) @ total
            x = x + v / self.steps
        return x, total

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, jacobian = self.with_jacobian(x)
        return y, torch.linalg.det(jacobian).log()

    def inverse(self, y: Tensor) -> Tensor:
        for _ in range(self.steps):
            x = y
            for _ in range(50):
                x = y - self._velocity(x)[0] / self.steps
            y = x
        return y

    def energy(self) -> Tensor:
        return 0.5 * (self.amplitudes * self._velocity(self.centers)[0]).sum()

    def arguments(self) -> dict[str, Any]:
        return {"centers": self.centers, "amplitudes": self.amplitudes, "scale": self.scale, "steps": self.steps}

    def rescaled(self, factor: float, shift: Tensor) -> Bumps:
        return Bumps(self.centers * factor + shift, self.amplitudes * factor, self.scale * factor, self.steps)


def toward(x: Tensor, y: Tensor, number: int = 12, strength: float = 1.0) -> Bumps:
    """Bumps that push some of the points x toward their nearest points of y."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(x), generator=generator)[:number]
    centers = x[rows]
    amplitudes = y[torch.cdist(centers, y).argmin(1)] - centers
    scale = float((x.amax(0) - x.amin(0)).max()) / 5
    k = torch.exp(-torch.cdist(centers, centers).square() / (2 * scale**2))
    return Bumps(centers, strength * torch.linalg.solve(k + 0.3 * torch.eye(len(k)).to(k), amplitudes), scale)
