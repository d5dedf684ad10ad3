"""Masks in files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from diffeo.shapes import Image, Nearest


def masked(shape: Any, file: Path | None) -> Any:
    """The image with the mask in a file; the shape as it is where there is none.

    Whole numbers above 0 count as 1, so that label maps and pictures of 0 and 255 are masks too.

    Raises: ValueError for a shape that is no image, and for a mask that does not fit it.
    """
    if file is None:
        return shape
    from diffeo.io import read

    if not isinstance(shape, Image):
        raise ValueError(f"--mask is for images, and the target is {type(shape).__name__}: leave it out.")
    mask = read(file)
    if not isinstance(mask, Image) or mask.grid.dim != shape.grid.dim or len(mask.values) != 1:
        what = f"{mask.grid.dim} axes, {len(mask.values)} channels" if isinstance(mask, Image) else type(mask).__name__
        raise ValueError(
            f"the mask {file} does not fit an image of {shape.grid.dim} axes: one channel on as many axes is expected, "
            f"and it has {what}."
        )
    weights = dataclasses.replace(mask, interpolation=Nearest(), background=mask.values.new_zeros(1))
    weights = weights.resampled(shape.grid).values[0]
    if not bool(weights.any()) and bool(mask.values.any()):
        raise ValueError(f"the mask {file} lies elsewhere in space than the image: nothing of it is left on its grid.")
    if bool((weights == weights.round()).all()) and bool((weights >= 0).all()):
        weights = (weights != 0).to(weights)
    try:
        return dataclasses.replace(shape, mask=weights)
    except ValueError as error:
        raise ValueError(f"the mask {file} does not fit the image: {error}") from None
