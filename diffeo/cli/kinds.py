"""What two files that are to be compared hold: labels, intensities or landmarks. Guessed, unless it is said."""

from __future__ import annotations

from typing import Any, NamedTuple

from diffeo.cli.choices import Kind
from diffeo.shapes import Image

LIKELY = 0.5  # of neighboring voxels are equal: label maps have 90 % and more, photographs and scans 5 to 10 %


class Appearance(NamedTuple):
    """What an image looks like."""

    labels: bool
    why: str


def appearance(image: Image) -> Appearance:
    """Whether the values of an image look like labels: whole numbers, mostly equal next to each other.

    Where both of two neighbors have the most common value they do not count: background is flat in every image.
    """
    if len(image.values) != 1:
        return Appearance(False, f"{len(image.values)} channels")
    values = image.values[0].detach()
    if not bool((values == values.round()).all()):
        return Appearance(False, "values that are not whole numbers")
    found, counts = values.unique(return_counts=True)
    part = _equal_neighbors(values, found[counts.argmax()])
    return Appearance(part >= LIKELY, f"{len(found)} whole numbers, equal at {part:.0%} of neighboring points")


def _equal_neighbors(values: Any, background: Any) -> float:
    """The part of neighbors along an axis, neither of them background, that are equal; 1 if there are none."""
    pairs = equal = 0
    for axis, n in enumerate(values.shape):
        a, b = values.narrow(axis, 0, n - 1), values.narrow(axis, 1, n - 1)
        seen = (a != background) & (b != background)
        pairs += int(seen.sum())
        equal += int((seen & (a == b)).sum())
    return equal / pairs if pairs else 1.0


def decide(fixed: Any, moved: Any, asked: Kind | None) -> tuple[Kind, str]:
    """The kind of comparison that two shapes allow, and why. Raises ValueError where they allow none."""
    images = [isinstance(shape, Image) for shape in (fixed, moved)]
    if images[0] != images[1]:
        names = [type(shape).__name__ for shape in (fixed, moved)]
        raise ValueError(f"two files of one kind are expected, and FIXED is {names[0]} and MOVED is {names[1]}.")
    if (asked is Kind.landmarks and images[0]) or (asked in (Kind.labels, Kind.intensity) and not images[0]):
        what = "images" if images[0] else "points"
        raise ValueError(f"--kind {asked.name} does not fit: FIXED and MOVED hold {what}.")
    if asked is not None:
        return asked, "as --kind says"
    return _of_images(fixed, moved) if images[0] else (Kind.landmarks, "both files hold points")


def _of_images(fixed: Image, moved: Image) -> tuple[Kind, str]:
    looks = appearance(fixed), appearance(moved)
    if looks[0].labels == looks[1].labels:
        kind = Kind.labels if looks[0].labels else Kind.intensity
        return kind, f"FIXED has {looks[0].why}, MOVED has {looks[1].why}"
    names = ["a label map" if look.labels else "intensities" for look in looks]
    raise ValueError(
        f"FIXED looks like {names[0]} ({looks[0].why}) and MOVED like {names[1]} ({looks[1].why}): give two of a kind, "
        "carry labels with --interpolation nearest, or say what they are with --kind."
    )
