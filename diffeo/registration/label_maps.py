"""Label maps that are to overlap: compared label by label, as memberships, and carried as what they are.

Numbers of labels are names: neither their differences nor what lies between two of them means anything.
"""

from __future__ import annotations

from typing import Any

from diffeo.core import Loss, Shape
from diffeo.diagnostics.overlap import as_labels
from diffeo.losses import CompoundLoss, DiceLoss
from diffeo.registration.image_checks import kinds
from diffeo.registration.image_settings import check_image
from diffeo.shapes import Compound, Image, labels_of, one_hot
from diffeo.shapes.labels import appearance

Labels = list[Any] | None
"""The labels that are compared, a list of whole numbers; of a compound, one such list, or None, for each part."""

OVERSHOOT = 0.5  # by which memberships that were interpolated, as by cubics, may leave [0, 1]


def labels_compared(source: Shape, target: Shape, loss: Loss | type[Loss]) -> Labels:
    """The labels of the target, but for 0, where both shapes are label maps and the loss is a `DiceLoss`, or has one.

    Raises: ValueError where such a loss is given neither two label maps nor memberships, and for label maps that have
        no label in common.
    """
    if isinstance(source, Compound) and isinstance(target, Compound):
        terms = [term for _, term in loss.terms] if isinstance(loss, CompoundLoss) else []
        if not len(source.parts) == len(target.parts) == len(terms):
            return None
        found = [labels_compared(a, b, term) for a, b, term in zip(source.parts, target.parts, terms, strict=True)]
        return found if any(found) else None
    if not (isinstance(source, Image) and isinstance(target, Image) and DiceLoss in kinds(loss)):
        return None
    pair = {"source": source, "target": target}
    for name, image in pair.items():
        check_image(image, name)
    looks = {name: appearance(image) for name, image in pair.items()}
    if not all(look.labels for look in looks.values()):
        if all(between_0_and_1(image) for image in pair.values()):
            return None
        have = " and ".join(f"the {name} has {look.why}" for name, look in looks.items())
        raise ValueError(
            f"DiceLoss compares two label maps, or two images of memberships between 0 and 1, and {have}: take another "
            "loss for intensities, or make memberships of both with `one_hot(image, labels)`."
        )
    labels = labels_of(as_labels(target))
    if not set(labels) & set(labels_of(as_labels(source))):
        raise ValueError(
            "source and target are label maps without a label in common: DiceLoss compares regions of one label."
        )
    return labels


def between_0_and_1(image: Image) -> bool:
    """Whether the values of an image may be memberships."""
    return float(image.values.min()) >= -OVERSHOOT and float(image.values.max()) <= 1 + OVERSHOOT


def memberships(shape: Shape, labels: Labels) -> Shape:
    """What is compared: one channel per label of a label map; outside of its grid there is none."""
    if not labels:
        return shape
    if isinstance(shape, Compound):
        return Compound([memberships(part, of_part) for part, of_part in zip(shape.parts, labels, strict=True)])
    return one_hot(as_labels(shape), labels) if isinstance(shape, Image) else shape


def by_nearest(shape: Shape, labels: Labels) -> Shape:
    """The shape with its label maps, or what became of them, to be carried by nearest points; 0 outside."""
    if not labels:
        return shape
    if isinstance(shape, Compound):
        return Compound([by_nearest(part, of_part) for part, of_part in zip(shape.parts, labels, strict=True)])
    return as_labels(shape) if isinstance(shape, Image) else shape
