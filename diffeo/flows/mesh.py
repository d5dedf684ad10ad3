"""A kernel on a mesh: momenta at any points, and their velocity by Fourier transform on a grid around them."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from diffeo.fields.grid_field import fading
from diffeo.grid import Grid
from diffeo.kernels.algebra import Radial
from diffeo.kernels.spectral import GridKernel, multiplied, spectrum_of
from diffeo.sampling.splines import read_with_slope, spread, symbol


class Mesh:
    r"""The kernel $k_h(x, y) = \sum_{ij} \beta(x - i)\,K_{ij}\,\beta(y - j)$, β being the quadratic B-spline.

    K is such that $k_h$ is the spline through the values of the kernel between the points of the mesh. It is symmetric
    and positive however coarse the mesh, and so a reproducing kernel by itself, whose geodesics conserve what geodesics
    conserve; from those of the kernel they differ by the error of a spline. Towards the border of the mesh velocities
    fade to 0.

    Positions x are indices of the mesh, shape (d, n); momenta p, shape (d, n), are dual to them.

    Args:
        kernel: any radial kernel whose spectrum is finite.
        nodes: a grid around the momenta; the mesh has its points, and more around them.
        padding: see `GridKernel`.
        ridge: ε relative to k(0), for `whitened`.

    Attributes:
        grid: of the mesh.
    """

    def __init__(self, kernel: Radial, nodes: Grid, padding: float | None, ridge: float) -> None:
        self.operator, self.ridge = GridKernel(kernel, nodes, padding), ridge
        self.grid = self.operator.box
        self._like: dict[Any, _Tensors] = {}

    def start(self, like: Tensor) -> Tensor:
        """The nodes, shape (d, n)."""
        first = torch.tensor(self.operator.before, dtype=like.dtype, device=like.device)
        return self.operator.grid.indices(like).flatten(1) + first[:, None]

    def whitened(self, z: Tensor) -> Tensor:
        """√λ / (λ + ε) for the eigenvalues λ of K, applied to z, shape (c, *nodes.shape); self-adjoint.

        It takes coordinates z to momenta p, with energies ½‖z‖² but for ε, and velocities to coordinates.
        """
        k = self.operator
        return k.crop(multiplied(k.pad(z), self._tensors(z).whitening))

    def velocity(self, x: Tensor, p: Tensor) -> Tensor:
        """The coefficients of the spline v = Σ_n k_h(·, x_n) p_n, in steps of the mesh, shape (d, *grid.shape)."""
        t = self._tensors(p)
        return t.fade * self._lifted(t.fade * spread(p, x, self.grid.shape))

    def energy(self, x: Tensor, p: Tensor) -> Tensor:
        """½ Σ_mn p_m·k_h(x_m, x_n) p_n, a scalar."""
        charge = self._tensors(p).fade * spread(p, x, self.grid.shape)
        return 0.5 * (charge * self._lifted(charge)).sum()

    def hamilton(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """∂_pH and −∂_xH, H being the energy, and the coefficients of the velocity."""
        v = self.velocity(x, p)
        moved, slope = read_with_slope(v, x, p)
        return moved, -slope, v

    def coefficients(self, values: Tensor) -> Tensor:
        """Of the spline, periodic in the mesh, with the given values at its points, shape (c, *grid.shape)."""
        return multiplied(values, self._tensors(values).interpolation)

    def _lifted(self, charge: Tensor) -> Tensor:
        """K, and from what is dual to steps to steps."""
        t = self._tensors(charge)
        v = multiplied(charge, t.multiplier)
        return (t.lift @ v.flatten(1)).reshape(v.shape)

    def _tensors(self, like: Tensor) -> _Tensors:
        key = like.dtype, like.device
        if key not in self._like:
            self._like[key] = _Tensors(self.operator, self.ridge, like)
        return self._like[key]

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # nothing in it ever changes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_like": {}}


class _Tensors:
    """What a mesh multiplies with, in the dtype and on the device of a tensor."""

    def __init__(self, k: GridKernel, ridge: float, like: Tensor) -> None:
        eigenvalues, spline = spectrum_of(k.kernel, k.box) / k.box.cell, symbol(k.box.shape)
        self.multiplier = (eigenvalues / spline.square()).to(like)
        self.whitening = (eigenvalues.sqrt() / (eigenvalues + ridge * k.kernel.at_zero)).to(like)
        self.interpolation = (1 / spline).to(like)
        self.lift = torch.linalg.inv(k.box.linear.T @ k.box.linear).to(like)
        fade = torch.ones((), dtype=torch.float64)
        for size, n, before in zip(k.box.shape, k.grid.shape, k.before, strict=True):
            fade = fade[..., None] * _fading(size, before, size - n - before)
        self.fade = fade.to(like)


def _fading(size: int, before: int, after: int) -> Tensor:
    """A window along an axis that is 0 at its ends and beside them, so that splines are 0 at the ends."""
    a, b = int(before > 1), int(after > 1)
    return torch.nn.functional.pad(fading(size - a - b, before - a, after - b, 1), [a, b])
