"""The residual network of arXiv 2112.05531 on MNIST: 32 × 5 × 5 numbers, ten layers, outer convolutions learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import diffeo

SHAPE, HIDDEN, DEPTH, CLASSES = (32, 5, 5), 32, 10, 10
CHUNK = 1000  # images that are encoded together: what is between the convolutions is large


@dataclass(frozen=True)
class Digits:
    """Images, shape (n, 784), float32 in [0, 1], and labels."""

    images: Tensor
    labels: Tensor

    def head(self, n: int) -> Digits:
        """The first n."""
        return Digits(self.images[:n], self.labels[:n])


def load(folder: Path) -> tuple[Digits, Digits] | None:
    """60,000 digits to learn from and 3,000 others; or None, with a message."""
    files = [folder / "mnist" / name for name in ("mnist_train.npz", "mnist_test3000.npz")]
    if not all(file.exists() for file in files):
        print(f"skipped: {files[0]} is not there; name the folder with --data or DIFFEO_DATA.")
        return None
    train, test = (np.load(file) for file in files)
    return digits(train), digits(test)


def digits(file: dict[str, np.ndarray]) -> Digits:
    """From bytes."""
    images = torch.from_numpy(file["images"]).flatten(1).float() / 255
    return Digits(images, torch.from_numpy(file["labels"]).long())


def encoded(images: Tensor, seed: int = 0) -> Tensor:
    """Positions, shape (n, 800): the read-in of the paper, at random and fixed."""
    read_in = diffeo.ConvReadIn((1, 28, 28), SHAPE[0], seed=seed)
    with torch.no_grad():
        return torch.cat([read_in(part) for part in images.split(CHUNK)])


def network(seed: int = 0) -> diffeo.Flow:
    """All layers share their inner convolution, so that there is one space V; outer ones begin at 0."""
    return diffeo.Flow(diffeo.ConvField(SHAPE, HIDDEN, seed=seed), diffeo.Midpoint(), DEPTH)


def read_out(trained: bool = False, seed: int = 0) -> diffeo.LinearReadOut:
    """Of ten classes; fixed at random as published, unless it is to be trained."""
    return diffeo.LinearReadOut(SHAPE[0] * SHAPE[1] * SHAPE[2], CLASSES, trained=trained, seed=seed)


def error(phi: diffeo.Flow, loss: diffeo.CrossEntropyLoss, z: Tensor, labels: Tensor) -> float:
    """The share of wrong answers."""
    with torch.no_grad():
        scores = torch.cat([loss.predict(diffeo.Points(phi(part))) for part in z.split(CHUNK)])
    return float((scores.argmax(1) != labels).double().mean())
