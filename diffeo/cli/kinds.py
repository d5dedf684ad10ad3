"""What two files that are to be compared hold: labels, intensities or landmarks. Guessed, unless it is said."""

from __future__ import annotations

from typing import Any

from diffeo.cli.choices import Kind
from diffeo.shapes import Image
from diffeo.shapes.labels import appearance


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
