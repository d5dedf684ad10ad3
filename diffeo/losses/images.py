"""Images compared point by point: what all losses on images share, and the sum of squared differences."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor

from diffeo.core import Loss
from diffeo.losses.memory import Memory
from diffeo.shapes.image import Image


class ImageLoss(Loss):
    """A comparison of two images on one grid; 0 where they agree, and without a unit.

    Points count as much as the masks of both say: their product, if both have one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights = Memory()

    def forward(self, moved: Image, target: Image) -> Tensor:
        """How far apart they are.

        Raises: ValueError unless both lie on one grid and have the same channels, or where their masks have nothing in
        common.
        """
        check_comparable(moved, target, type(self).__name__)
        masks = [mask for mask in (moved.mask, target.mask) if mask is not None]
        weights = self._weights(product, *masks) if len(masks) == 2 else next(iter(masks), None)
        return self.compare(moved.values, target.values, weights)

    @abstractmethod
    def compare(self, moved: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """The loss for values of shape (c, *S) and weights of shape S, somewhere above 0; None means 1 everywhere."""

    def rescaled(self, factor: float) -> Self:
        """The same: no length is in it."""
        return self

    def same_everywhere(self) -> ValueError:
        """What to raise for a target that is constant."""
        return ValueError(
            f"{type(self).__name__} finds nothing in the target to compare with: it has the same value wherever it "
            "counts. Look at the file, its intensity range and its mask."
        )


class SSDLoss(ImageLoss):
    r"""Sum of squared differences, relative to how much the target varies: for images of one kind and brightness.

    $D(I, J) = \sum_x w |I - J|^2 / \sum_x w |J - \bar J|^2$, all channels added; 1 for a picture of nothing but the
    target's mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self._variances = Memory()

    def compare(self, moved: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """The relative mean squared error.

        Raises: ValueError for a target that is constant.
        """
        variance = self._variances(self._variance, target, weights)
        if weights is None:
            # torch's own, because it stores no differences
            return len(moved) * torch.nn.functional.mse_loss(moved, target) / variance
        difference = moved - target
        return torch.einsum("c...,c...->", weights * difference, difference) / weights.sum() / variance

    def _variance(self, target: Tensor, weights: Tensor | None) -> Tensor:
        mean, variance = moments(target, weights)
        if not bool(varies(mean, variance).any()):
            raise self.same_everywhere()
        return variance.sum()


def moments(values: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel, both of shape (c,), for values (c, *S) and weights S."""
    flat = values.flatten(1)
    if weights is None:
        return flat.mean(1), flat.var(1, correction=0)
    share = weights.flatten() / weights.sum()
    mean = flat @ share
    return mean, (flat - mean[:, None]).square() @ share


def varies(mean: Tensor, variance: Tensor) -> Tensor:
    """Whether channels of such mean and variance, shape (c,), are more than a constant and rounding errors."""
    rounding = 16 * torch.finfo(mean.dtype).eps
    return variance.detach() > rounding**2 * (mean.detach().square() + variance.detach())


class NothingInCommonError(ValueError, ArithmeticError):
    """Two images share no point that counts: bad input where a registration starts, a step too far where it goes on."""


def product(first: Tensor, second: Tensor) -> Tensor:
    """The weights that two masks leave. Raises NothingInCommonError, a ValueError, if they leave nothing."""
    both = first * second
    if not float(both.detach().max()) > 0:
        raise NothingInCommonError(
            "the masks of the moved image and of the target do not overlap: there is nothing to compare. Align the "
            "images first, or leave one of the masks out."
        )
    return both


def check_comparable(moved: Image, target: Image, name: str) -> None:
    """Raise ValueError unless both are images on one grid, with the same channels and the same precision."""
    for image in (moved, target):
        if not isinstance(image, Image):
            raise ValueError(f"{name} compares images, and got {type(image).__name__}.")
    if not moved.grid.same(target.grid):
        raise ValueError(
            f"{name} compares images on one grid, and got {described(moved)} and {described(target)}: carry "
            "`source.on(target.grid)` instead of the source."
        )
    if len(moved.values) != len(target.values):
        raise ValueError(
            f"{name} compares images channel by channel, and got {len(moved.values)} and {len(target.values)} channels."
        )
    for what in ("dtype", "device"):
        first, second = getattr(moved.values, what), getattr(target.values, what)
        if first != second:
            raise ValueError(f"{name} expects images of one {what}, and got {first} and {second}: use `image.to(...)`.")


def described(image: Image) -> str:
    """Shape, spacing and origin of an image's grid, in a few words."""
    grid = image.grid
    size = " × ".join(map(str, grid.shape))
    spacing, origin = (", ".join(f"{x:.3g}" for x in xs) for xs in (grid.spacing, grid.origin.tolist()))
    return f"{size} points in steps of ({spacing}) from ({origin})"
