"""Convolutions of images padded with zeros, as linear maps: their matrices, traces and norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d


def dense(taps: Tensor, size: Sequence[int]) -> Tensor:
    """The matrix, shape (out·h·w, in·h·w), of ``conv2d`` with taps, shape (out, in, k, k), on images of size (h, w)."""
    inputs, (h, w) = taps.shape[1], size
    units = torch.eye(inputs * h * w, dtype=taps.dtype, device=taps.device).reshape(-1, inputs, h, w)
    return conv2d(units, taps, padding=taps.shape[-1] // 2).flatten(1).T


def overlaps(outer: Tensor, inner: Tensor, size: Sequence[int]) -> Tensor:
    """The diagonal of (convolution with inner) ∘ (convolution with outer), shape (hidden, h, w).

    Args:
        outer: taps, shape (c, hidden, k, k).
        inner: taps, shape (hidden, c, k, k).
        size: (h, w).
    """
    products = torch.einsum("mcij,cmij->mij", inner, outer.flip(2, 3))  # there by one offset, back by the opposite one
    inside = torch.ones(1, 1, *size, dtype=inner.dtype, device=inner.device)
    return conv2d(inside, products[:, None], padding=inner.shape[-1] // 2)[0]


def operator_norm(taps: Tensor, size: Sequence[int]) -> Tensor:
    """An upper bound of the norm of the convolution with taps, shape (out, in, k, k), on images of size (h, w).

    With as many zeros behind it as taps reach on one side, and wrapped around, an image sees none of its points twice:
    the convolution is a corner of the circular one on that torus, whose norm is the largest of its Fourier symbols'
    (these: Sedghi, Gupta & Long, ICLR 2019).
    """
    middle = taps.shape[-1] // 2
    reach = [min(middle, n - 1) for n in size]  # taps beyond see nothing but padding
    rows, columns = (slice(middle - r, middle + r + 1) for r in reach)
    symbols = torch.fft.fft2(taps[:, :, rows, columns], s=[n + r for n, r in zip(size, reach, strict=True)])
    return torch.linalg.matrix_norm(symbols.permute(2, 3, 0, 1), 2).amax()
