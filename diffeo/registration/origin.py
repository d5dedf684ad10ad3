"""What a result was made from: where its files are, and how to know them again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from diffeo.core import Shape
from diffeo.io import read
from diffeo.io.shape_files import savable, save_shape
from diffeo.registration.stages import tensors_of
from diffeo.shapes import Compound, Image, PointShape

FILES, MADE_FROM = "files", "made_from"
"""What it is called in report.json: files by their roles, and facts by which what is in them is known again."""


def noted(folder: Path, shapes: Mapping[str, Shape], files: Mapping[str, str | Path]) -> dict[str, Any]:
    """What report.json says of the shapes that a result was made from; those of no file are written into the folder.

    Args:
        folder: of the result.
        shapes: by their roles: source, target.
        files: where they were read from, and what belongs to them, such as a mask, as far as that is known.
    """
    places = {role: relative(file, folder) for role, file in files.items()}
    for role, shape in shapes.items():
        if role not in files and savable(shape):
            save_shape(folder / f"{role}.safetensors", shape)
            places[role] = f"{role}.safetensors"
    return {FILES: places, MADE_FROM: {role: facts(shape) for role, shape in shapes.items()}}


def relative(file: str | Path, folder: Path) -> str:
    """The way from a folder to a file, so that both can move together; absolute where there is none."""
    file = Path(file)
    place = file.parent.resolve() / file.name  # a file that is a link keeps its name
    try:
        return Path(os.path.relpath(place, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return place.as_posix()


def facts(shape: Shape) -> dict[str, Any]:
    """A shape's kind, how large it is, and a checksum of all that a registration sees of it."""
    if isinstance(shape, Compound):
        return {"kind": "Compound", "parts": [facts(part) for part in shape.parts]}
    found: dict[str, Any] = {"kind": type(shape).__name__}
    if isinstance(shape, Image):
        found |= {"channels": len(shape.values), "grid": list(shape.grid.shape)}
    elif isinstance(shape, PointShape):
        found |= dict(zip(("points", "dimension"), shape.x.shape, strict=True))
    return found | {"checksum": checksum(*tensors_of(shape))}


def checksum(*values: Tensor | np.ndarray) -> str:
    """Sixteen digits that differ where numbers or texts, shapes or types do."""
    digest = hashlib.sha256()
    for value in values:
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        digest.update(f"{array.dtype.kind if array.dtype.kind in 'UO' else array.dtype} {array.shape}".encode())
        if array.dtype.kind in "UO":
            digest.update("\0".join(map(str, array.ravel().tolist())).encode())
        else:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def known(file: str | Path, shape: Shape) -> bool:
    """Whether a shape is what is in a file."""
    try:
        return facts(read(file)) == facts(shape)
    except ValueError:
        return False
