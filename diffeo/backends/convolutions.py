"""Two convolutions with an activation between them: what a layer of a convolutional residual network computes."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import conv2d

from diffeo.backends.cpu.convolutions import FEW, ConvolvedMidpoint, ConvolvedTwice, covers, matrices


class TwoConvolutions:
    """outer * relu(inner * images), padded with zeros, for taps that serve many evaluations.

    Args:
        inner: odd taps, shape (m, c, k, k).
        outer: shape (e, m, k, k).
        size: (h, w) of the images; small ones of many channels go through fused loops on the CPU.
    """

    def __init__(self, inner: Tensor, outer: Tensor, size: tuple[int, int]) -> None:
        self.inner, self.outer = inner, outer
        fused = covers(inner, outer, size)
        self.matrices = (matrices(inner, size), matrices(outer, size)) if fused else None

    def __call__(self, images: Tensor) -> Tensor:
        """Shape (n, e, h, w) for images of shape (n, c, h, w); differentiable in these and in the taps."""
        if self.matrices is None or images.numel() < FEW:
            padding = self.inner.shape[-1] // 2
            return conv2d(conv2d(images, self.inner, padding=padding).relu(), self.outer, padding=padding)
        moved: Tensor = ConvolvedTwice.apply(images.contiguous(), *self.matrices)  # pyright: ignore[reportAssignmentType]
        return moved

    def midpoint(self, images: Tensor, step: float) -> Tensor | None:
        """One step of the midpoint rule from images, shape (n, c, h, w), at once; None where nothing is won by that."""
        if self.matrices is None or images.numel() < FEW or self.inner.requires_grad:
            return None
        moved: Tensor = ConvolvedMidpoint.apply(images.contiguous(), *self.matrices, step)  # pyright: ignore[reportAssignmentType]
        return moved
