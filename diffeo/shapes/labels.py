"""Label maps: images whose values are names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffeo.shapes.image import Image
from diffeo.shapes.interpolation import Linear

LIKELY = 0.5  # of neighboring voxels are equal: label maps have 90 % and more, photographs and scans 5 to 10 %
MOST = 1000  # labels that are looked for: more are intensities


def labels_of(image: Image) -> list[int]:
    """The labels of a segmentation but for its background, in order.

    Raises: ValueError unless the image has one channel of whole numbers, few enough to be labels.
    """
    found = image.values.detach().unique()
    if len(image.values) != 1 or len(found) > MOST or not torch.equal(found, found.round()):
        raise ValueError(
            f"a segmentation expects one channel of whole numbers, at most {MOST} different ones, and got "
            f"{len(image.values)} channels with {len(found)} values from {found[0]:g} to {found[-1]:g}."
        )
    assert image.background is not None
    return [label for label in map(int, found.tolist()) if label != float(image.background[0])]


def one_hot(image: Image, labels: Sequence[int] | None = None) -> Image:
    """A segmentation as memberships: one channel per label, 1 where the label is and 0 elsewhere.

    Carried by a map, memberships are interpolated, which labels cannot be; so they have gradients, and `DiceLoss`
    drives a registration. Two segmentations are comparable with the same labels:
    ``labels = labels_of(target)``, then ``one_hot(source, labels)`` and ``one_hot(target, labels)``.

    Args:
        image: one channel of whole numbers.
        labels: in the order of the channels; all but the background's if left out.

    Raises: ValueError where there is no label.
    """
    found = labels_of(image)
    wanted = torch.tensor(found if labels is None else list(labels)).to(image.values)
    if not len(wanted):
        raise ValueError("one_hot expects at least one label, and the image has nothing but background.")
    assert image.background is not None
    return dataclasses.replace(
        image,
        values=(image.values == wanted.reshape(-1, *[1] * image.grid.dim)).to(image.values),
        background=(image.background == wanted).to(image.values),
        interpolation=Linear(),
    )


class Appearance(NamedTuple):
    """What an image looks like."""

    labels: bool
    why: str


def appearance(image: Image) -> Appearance:
    """Whether the values of an image look like labels: whole numbers, mostly equal next to each other.

    Where one of two neighbors has the most common value they do not count: background is flat in every image.
    """
    if len(image.values) != 1:
        return Appearance(False, f"{len(image.values)} channels")
    values = image.values[0].detach()
    if not bool((values == values.round()).all()):
        return Appearance(False, "values that are not whole numbers")
    found, counts = values.unique(return_counts=True)
    part = _equal_neighbors(values, found[counts.argmax()])
    return Appearance(part >= LIKELY, f"{len(found)} whole numbers, equal at {part:.0%} of neighboring points")


def _equal_neighbors(values: Tensor, background: Tensor) -> float:
    """The part of neighbors along an axis, neither of them background, that are equal; 1 if there are none."""
    pairs = equal = 0
    for axis, n in enumerate(values.shape):
        a, b = values.narrow(axis, 0, n - 1), values.narrow(axis, 1, n - 1)
        seen = (a != background) & (b != background)
        pairs += int(seen.sum())
        equal += int((seen & (a == b)).sum())
    return equal / pairs if pairs else 1.0
