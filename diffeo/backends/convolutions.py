"""Two convolutions with an activation between them: what a layer of a convolutional residual network computes."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import conv2d


def convolved_twice(images: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """outer * relu(inner * images), padded with zeros, for images of shape (n, c, h, w) and odd taps.

    Args:
        images: shape (n, c, h, w).
        inner: shape (m, c, k, k).
        outer: shape (e, m, k, k).

    Returns: shape (n, e, h, w).
    """
    padding = inner.shape[-1] // 2
    return conv2d(conv2d(images, inner, padding=padding).relu(), outer, padding=padding)
