"""Grids in the metadata of a transform: where the images were that it was found from."""

from __future__ import annotations

from typing import Any

import torch

from diffeo.grid import Grid

GRIDS = "grids"


def with_grids(metadata: dict[str, Any], **grids: Grid) -> dict[str, Any]:
    """The metadata, with grids by name: ``fixed``, on which images are carried, and ``moving``, for the inverse."""
    plain = {name: {"shape": list(grid.shape), "affine": grid.affine.tolist()} for name, grid in grids.items()}
    return {**metadata, GRIDS: plain}


def grids_in(metadata: dict[str, Any]) -> dict[str, Grid]:
    """The grids that `with_grids` put there, by name; none if there are none.

    Raises: ValueError if they are not grids.
    """
    try:
        return {
            name: Grid(tuple(grid["shape"]), torch.tensor(grid["affine"], dtype=torch.float64))
            for name, grid in metadata.get(GRIDS, {}).items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the grids in the metadata of a transform are damaged: {error}.") from None
