"""Diffeomorphisms made of layers: forward, inverse, log-determinant and path follow from the layers alone."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from diffeo.core import Diffeo
from diffeo.flows import kernel_steps
from diffeo.flows.layers import Layer, identities


class Layered(Diffeo):
    """A diffeomorphism given by its layers."""

    @abstractmethod
    def layers(self) -> list[Layer]:
        """The layers, first to last."""

    def forward(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, d)."""
        for layer in self.layers():
            x = layer(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """φ⁻¹(y), shape (n, d): every layer inverted to rounding errors."""
        for layer in reversed(self.layers()):
            y = layer.inverse(y)
        return y

    def with_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and log det Dφ(x); NaN where a layer folds."""
        moved, volumes = self.with_volumes(x)
        return moved, volumes.log().sum(0)  # the log of a negative number is NaN

    def with_volumes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and the determinant of every layer on the way, shape (layers, n)."""
        return kernel_steps.with_volumes(self.layers(), x)

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """φ(x) and Dφ(x), shape (n, d, d)."""
        total = identities(x)
        for layer in self.layers():
            x, jacobian = layer.with_jacobian(x)
            total = jacobian @ total
        return x, total

    def path(self, x: Tensor) -> list[Tensor]:
        """The positions of x after each layer, x first."""
        path = [x]
        for layer in self.layers():
            path.append(layer(path[-1]))
        return path
