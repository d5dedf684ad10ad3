"""Any shape in one file, with everything that a registration sees of it: for what no other format holds.

Other formats are those of other programs, and leave out what these do not know: points in one or in five dimensions,
masks, backgrounds, several shapes at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Shape
from diffeo.grid import Grid
from diffeo.io.tree import load_tree, save_tree
from diffeo.shapes import Compound, Cubic, Curve, Image, Linear, Mesh, Nearest, Points

FORMAT = "diffeo-shape-1"
INTERPOLATIONS = {kind.__name__: kind for kind in (Linear, Nearest, Cubic)}
PARTS = {Points: ("x", "weights"), Curve: ("x", "edges"), Mesh: ("x", "faces")}
IMAGE = ("values", "mask", "background")


def save_shape(path: str | Path, shape: Shape) -> None:
    """Write a shape exactly as it is; attributes that are neither numbers nor texts are left out.

    Raises: ValueError for shapes that are not of this library, and if the file cannot be written.
    """
    save_tree(path, _encoded(shape), {"format": FORMAT})


def load_shape(path: str | Path) -> Any:
    """Read what `save_shape` wrote. Raises ValueError if the file is something else."""
    tree, metadata = load_tree(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} holds no shape: expected the format {FORMAT!r} in its header.")
    try:
        return _decoded(tree)
    except (KeyError, TypeError, RuntimeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path} does not describe a shape that this version knows: {reason}.") from None


def savable(shape: Shape) -> bool:
    """Whether `save_shape` can write a shape."""
    if isinstance(shape, Compound):
        return all(savable(part) for part in shape.parts)
    if isinstance(shape, Image):
        return type(shape.interpolation).__name__ in INTERPOLATIONS
    return type(shape) in PARTS


def _encoded(shape: Shape) -> dict[str, Any]:
    if not savable(shape):
        raise ValueError(
            f"a {type(shape).__name__} cannot be saved: a file holds Points, Curves, Meshes, Images, and Compounds of "
            "these."
        )
    if isinstance(shape, Compound):
        return {"class": "Compound", "parts": [_encoded(part) for part in shape.parts]}
    names = IMAGE if isinstance(shape, Image) else PARTS[type(shape)]
    tree = {"class": type(shape).__name__} | {name: getattr(shape, name) for name in names}
    kept: dict[str, Any] = getattr(shape, "attributes", {})
    tree["attributes"] = {name: _plain(value) for name, value in kept.items() if _keepable(value)}
    if isinstance(shape, Image):
        tree |= {"grid": _grid(shape.grid), "canvas": None if shape.canvas is None else _grid(shape.canvas)}
        tree["interpolation"] = type(shape.interpolation).__name__
    return tree


def _decoded(tree: dict[str, Any]) -> Shape:
    kind = tree["class"]
    if kind == "Compound":
        return Compound([_decoded(part) for part in tree["parts"]])
    attributes = {k: v.numpy() if isinstance(v, Tensor) else v for k, v in tree["attributes"].items()}
    if kind == "Image":
        given: dict[str, Any] = {name: tree[name] for name in IMAGE}
        given |= {name: None if tree[name] is None else Grid(*tree[name]) for name in ("grid", "canvas")}
        return Image(**given, interpolation=INTERPOLATIONS[tree["interpolation"]](), attributes=attributes)
    known = {cls.__name__: cls for cls in PARTS}[kind]
    return known(**{name: tree[name] for name in PARTS[known]}, attributes=attributes)


def _grid(grid: Grid) -> tuple[tuple[int, ...], Tensor]:
    return tuple(grid.shape), grid.affine


def _keepable(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float, Tensor)) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.isnative
    )


def _plain(value: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
