"""Convolutional residuals: fields on images of several channels, the residual networks of arXiv 2112.05531."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

from diffeo.backends.convolutions import TwoConvolutions
from diffeo.core import Field
from diffeo.fields.checks import check_positions
from diffeo.fields.convolutions import dense, operator_norm, overlaps
from diffeo.fields.linear import LinearField


class Convolutional(Field):
    r"""$v(z) = s\,W_2 * \mathrm{relu}(W_1 * (z - o))$, padded with zeros: what fixed and trained taps share.

    Points are images z of shape (c, h, w), flattened: positions have the shape (n, c·h·w). The center o is 0, unless
    the units were changed by a shift.
    """

    shape: tuple[int, int, int]
    hidden: int
    kernel_size: int
    inner: Tensor
    """W₁, shape (hidden, c, k, k)."""
    center: Tensor | None
    """o, shape (c·h·w,)."""

    @property
    @abstractmethod
    def outer(self) -> Tensor:
        """s·W₂, shape (c, hidden, k, k)."""

    def _place(self, shape: Sequence[int], hidden: int, kernel_size: int, center: Tensor | None, like: Tensor) -> None:
        self.shape, self.hidden, self.kernel_size = sizes(shape, hidden, kernel_size)
        if center is not None and center.shape != (self.dim,):
            raise ValueError(f"{type(self).__name__} expects its center as {self.dim} numbers, not {center.shape}.")
        self.register_buffer("center", None if center is None else center.detach().to(like).clone())

    @property
    def dim(self) -> int:
        """d = c·h·w."""
        return math.prod(self.shape)

    @property
    def padding(self) -> int:
        """(k − 1)/2: the image keeps its size."""
        return self.kernel_size // 2

    def images(self, x: Tensor) -> Tensor:
        """The points as images about the center, shape (n, c, h, w)."""
        check_positions(x, self.dim, self.inner)
        return (x if self.center is None else x - self.center).reshape(len(x), *self.shape)

    def activations(self, x: Tensor) -> Tensor:
        """relu(W₁ * z), shape (n, hidden, h, w)."""
        return conv2d(self.images(x), self.inner, padding=self.padding).relu()

    def between(self, outer: Tensor) -> Convolved:
        """The velocity with these outer taps."""
        return Convolved(self, outer)

    def frozen(self) -> Convolved:
        """What can be prepared of the taps, once."""
        return self.between(self.outer)

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.jacobian_with(x, self.outer)

    def jacobian_with(self, x: Tensor, outer: Tensor) -> Tensor:
        """Both convolutions as matrices, and the slopes of the activations between them."""
        active = (self.activations(x).flatten(1) > 0).to(x)
        return (dense(outer, self.shape[1:]) * active[:, None, :]) @ dense(self.inner, self.shape[1:])

    def divergence(self, x: Tensor) -> Tensor:
        """div v(x), shape (n,): the diagonal of W₁W₂, a convolution of ones, summed where activations are positive."""
        active = (self.activations(x) > 0).to(x)
        return (active * overlaps(self.outer, self.inner, self.shape[1:])).sum((1, 2, 3))

    def lipschitz(self) -> Tensor:
        """‖W₂‖ ‖W₁‖, each norm that of the convolution on a torus that contains the image and its padding."""
        size = self.shape[1:]
        return operator_norm(self.outer, size) * operator_norm(self.inner, size)

    def _moved(self, factor: float, shift: Tensor) -> Tensor | None:
        """The center in other units."""
        if self.center is None and not bool(shift.any()):
            return None
        center = self.inner.new_zeros(self.dim) if self.center is None else self.center
        return factor * center + shift.to(center)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"shape={self.shape}, hidden={self.hidden}, kernel_size={self.kernel_size}"


class Convolved:
    """The velocity of a field for taps as they are: what the layers of flows compute with."""

    def __init__(self, field: Convolutional, outer: Tensor) -> None:
        self.field, self.outer = field, outer
        self.convolutions = TwoConvolutions(field.inner, outer, field.shape[1:])

    def __call__(self, x: Tensor) -> Tensor:
        """v(x), shape (n, d)."""
        return self.convolutions(self.field.images(x)).reshape(x.shape)

    def midpoint(self, x: Tensor, step: float) -> Tensor | None:
        """One step of the midpoint rule from x, at once; None where nothing is won by that."""
        moved = self.convolutions.midpoint(self.field.images(x), step)
        if moved is None or self.field.center is None:
            return None if moved is None else moved.reshape(x.shape)
        return moved.reshape(x.shape) + self.field.center

    def jacobian(self, x: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d)."""
        return self.field.jacobian_with(x, self.outer)


class ConvField(Convolutional, LinearField):
    r"""$v(z) = W_2 * \mathrm{relu}(W_1 * z)$ with W₁ fixed at random: linear in its unknown W₂, of norm $|W_2|$.

    The entries of W₁ have variance 1/(k · hidden), so that the kernel of this space, hidden features averaged, tends
    to a limit as their number grows. The residuals called RKHS in Barboni, Peyré & Vialard, arXiv 2112.05531.

    Args:
        shape: (c, h, w), channels, height and width of the images that the points are.
        hidden: channels between the convolutions.
        kernel_size: k, odd.
        seed: of the draw of W₁; layers with the same seed share it, and with it the space V.
        coefficients: W₂, shape (c, hidden·k·k); zero if left out.
        inner: W₁, shape (hidden, c, k, k), instead of drawing it.
        center: what is taken from z first, shape (c·h·w,); nothing if left out.

    Raises: ValueError where these do not fit together.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int = 32,
        kernel_size: int = 3,
        seed: int = 0,
        coefficients: Tensor | None = None,
        inner: Tensor | None = None,
        center: Tensor | None = None,
    ) -> None:
        super().__init__()
        if inner is None:
            like = torch.empty((), dtype=torch.get_default_dtype() if coefficients is None else coefficients.dtype)
            inner = random_taps(shape, hidden, kernel_size, seed, 1 / math.sqrt(max(hidden, 1))).to(like)
        self._place(shape, hidden, kernel_size, center, inner)
        check_taps("ConvField", "inner", inner, (hidden, self.shape[0], kernel_size, kernel_size))
        if coefficients is None:
            coefficients = inner.new_zeros(self.shape[0], hidden * kernel_size**2)
        check_taps("ConvField", "coefficients", coefficients, (self.shape[0], hidden * kernel_size**2))
        self.seed = seed
        self.register_buffer("inner", inner.detach().clone())
        self.coefficients = nn.Parameter(coefficients.detach().clone())

    @property
    def outer(self) -> Tensor:
        """W₂, shape (c, hidden, k, k)."""
        return self._taps(self.coefficients)

    def _taps(self, coefficients: Tensor) -> Tensor:
        return coefficients.unflatten(1, (self.hidden, self.kernel_size, self.kernel_size))

    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """The field with the given coefficients at x, shape (n, d)."""
        return self.between(self._taps(coefficients))(x)

    def gather(self, x: Tensor, p: Tensor) -> Tensor:
        """Coefficients of Σ_i K(·, x_i) p_i: the correlation of the activations with p."""
        cotangent = p.reshape(len(p), *self.shape)
        like = (self.shape[0], self.hidden, self.kernel_size, self.kernel_size)
        if not len(x):
            return (0 * self.activations(x).sum() + 0 * p.sum()).expand(like).flatten(1)
        taps = conv2d_weight(self.activations(x), like, cotangent, padding=self.padding)
        return taps.flatten(1)

    def redrawn(self, seed: int) -> ConvField:
        """Other inner taps of the same size; the coefficients are 0."""
        drawn = random_taps(self.shape, self.hidden, self.kernel_size, seed, 1.0).to(self.inner)
        changed = {
            "seed": seed,
            "inner": drawn * (self.inner.norm() / drawn.norm()),
            "coefficients": torch.zeros_like(self.coefficients),
        }
        return ConvField(**{**self.arguments(), **changed})

    def jacobian_of(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """Dv(x), shape (n, d, d), of the field with the given coefficients."""
        return self.jacobian_with(x, self._taps(coefficients))

    def arguments(self) -> dict[str, Any]:
        """Sizes, the draw, coefficients."""
        return {
            "shape": self.shape,
            "hidden": self.hidden,
            "kernel_size": self.kernel_size,
            "seed": self.seed,
            "coefficients": self.coefficients.detach(),
            "inner": self.inner,
            "center": self.center,
        }

    def rescaled(self, factor: float, shift: Tensor) -> ConvField:
        """Features of z − o in the old units, coefficients in the new ones."""
        changed = {
            "coefficients": factor * self.coefficients.detach(),
            "inner": self.inner / factor,
            "center": self._moved(factor, shift),
        }
        return ConvField(**{**self.arguments(), **changed})


def sizes(shape: Sequence[int], hidden: int, kernel_size: int) -> tuple[tuple[int, int, int], int, int]:
    """The sizes, if they are such. Raises ValueError otherwise."""
    shape = tuple(int(s) for s in shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"a field of convolutions expects images of shape (channels, height, width), not {shape}.")
    if hidden < 1 or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(
            f"a field of convolutions expects hidden channels, 1 or more, and an odd kernel size, and got {hidden} "
            f"and {kernel_size}."
        )
    return shape, hidden, kernel_size


def random_taps(shape: Sequence[int], hidden: int, kernel_size: int, seed: int, size: float) -> Tensor:
    """Normal taps of standard deviation size/√k, shape (hidden, c, k, k), float64."""
    (channels, _, _), hidden, k = sizes(shape, hidden, kernel_size)
    draw = torch.Generator().manual_seed(seed)
    return (size / math.sqrt(k)) * torch.randn(hidden, channels, k, k, generator=draw, dtype=torch.float64)


def check_taps(name: str, what: str, taps: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the taps have the shape."""
    if taps.shape != shape:
        raise ValueError(f"{name} expects {what} of shape {shape}, and got {tuple(taps.shape)}.")
