"""Read-ins of images: strided convolutions to fewer points with more channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.heads.base import ReadIn


class ConvReadIn(ReadIn):
    r"""Two strided convolutions with a ReLU between them: images become positions of shape (n, c·h·w).

    Taps and biases are drawn evenly from ±1/√(taps of an output). With 28 × 28 points, 32 channels, kernels of 4 and
    steps of 2 this is the read-in of arXiv 2112.05531 for MNIST, to 32 × 5 × 5, as it is before any pretraining.

    Args:
        shape: (channels, height, width) of the images, which come as rows of so many numbers, or in that shape.
        channels: c.
        kernel_size: of both convolutions.
        stride: steps of both.
        trained: whether they are parameters; else they stay as they are drawn.
        seed: of the draw.
        taps: of both convolutions, and their biases, instead of drawing them: [(c, channels, k, k), (c,), (c, c, k, k),
            (c,)].

    Raises: ValueError where these do not fit together, or an image ends before a kernel does.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int = 32,
        kernel_size: int = 4,
        stride: int = 2,
        trained: bool = False,
        seed: int = 0,
        taps: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.channels = tuple(int(s) for s in shape), channels
        self.kernel_size, self.stride, self.trained, self.seed = kernel_size, stride, trained, seed
        if len(self.shape) != 3 or min(self.shape) < 1 or min(channels, kernel_size, stride) < 1:
            raise ValueError(
                "ConvReadIn expects images of shape (channels, height, width), and channels, kernel size and stride "
                f"of 1 or more, and got {self.shape}, {channels}, {kernel_size} and {stride}."
            )
        if min(self.size) < 1:
            raise ValueError(
                f"ConvReadIn leaves nothing of images of {self.shape[1:]} points with two kernels of {kernel_size}: "
                "take smaller ones."
            )
        k = (kernel_size, kernel_size)
        shapes = [(channels, self.shape[0], *k), (channels,), (channels, channels, *k), (channels,)]
        taps = self._drawn(shapes) if taps is None else list(taps)
        if [tuple(t.shape) for t in taps] != shapes:
            raise ValueError(f"ConvReadIn expects taps of shapes {shapes}, and got {[tuple(t.shape) for t in taps]}.")
        for name, value in zip(NAMES, taps, strict=True):
            own = value.detach().clone()
            self.register_parameter(name, nn.Parameter(own)) if trained else self.register_buffer(name, own)

    def _drawn(self, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
        draw, like = torch.Generator().manual_seed(self.seed), torch.get_default_dtype()
        bounds = [1 / math.sqrt(math.prod(s[1:])) for s in shapes[::2] for _ in range(2)]
        return [
            (bound * (2 * torch.rand(s, generator=draw, dtype=torch.float64) - 1)).to(like)
            for bound, s in zip(bounds, shapes, strict=True)
        ]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w), what is left of height and width."""
        h, w = (
            ((n - self.kernel_size) // self.stride + 1 - self.kernel_size) // self.stride + 1 for n in self.shape[1:]
        )
        return h, w

    @property
    def dim(self) -> int:
        """c·h·w."""
        return self.channels * math.prod(self.size)

    @property
    def taps(self) -> list[Tensor]:
        """Taps and biases, in the order in which they act."""
        return [getattr(self, name) for name in NAMES]

    def forward(self, x: Tensor) -> Tensor:
        """Positions, shape (n, c·h·w)."""
        if x.ndim < 2 or x[:1].numel() != len(x[:1]) * math.prod(self.shape):
            raise ValueError(
                f"ConvReadIn expects images of shape {self.shape}, flat or not, and got {tuple(x.shape[1:])}."
            )
        inner, inner_bias, outer, outer_bias = (t.to(x) for t in self.taps)
        images = nn.functional.conv2d(x.reshape(len(x), *self.shape), inner, inner_bias, self.stride).relu()
        return nn.functional.conv2d(images, outer, outer_bias, self.stride).flatten(1)

    def arguments(self) -> dict[str, Any]:
        """Sizes, the draw, the taps."""
        return {
            "shape": self.shape,
            "channels": self.channels,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "trained": self.trained,
            "seed": self.seed,
            "taps": [t.detach() for t in self.taps],
        }

    def extra_repr(self) -> str:
        """From where to where."""
        return f"{self.shape} → {(self.channels, *self.size)}, {'trained' if self.trained else 'fixed'}"


NAMES = ("inner", "inner_bias", "outer", "outer_bias")
