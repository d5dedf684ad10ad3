"""What there is to say about an image: where it is, and what its values look like."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch

from diffeo.grid import Grid
from diffeo.io.images import in_pixels
from diffeo.shapes import Image
from diffeo.shapes.labels import appearance

FEW = 40  # labels that are listed; of more, their number and their range


def inspect_image(image: Image) -> dict[str, Any]:
    """Facts about an image, JSON-able; lengths are in its units."""
    grid, values = image.grid, image.values.detach()
    corners = torch.tensor(list(itertools.product(*[(0.0, n - 1.0) for n in grid.shape])), dtype=torch.float64)
    x = grid.to_space(corners)
    look = appearance(image)
    facts: dict[str, Any] = {
        "type": "Image",
        "dimension": grid.dim,
        "grid": list(grid.shape),
        "channels": len(values),
        "numbers": image.attributes.get("dtype"),
        "positions": image.attributes.get("space"),
        "orientation": None if in_pixels(image) else orientation(grid),
        "spacing": list(grid.spacing),
        "extent": (x.amax(0) - x.amin(0)).tolist(),
        "lower corner": x.amin(0).tolist(),
        "upper corner": x.amax(0).tolist(),
        "affine": grid.affine.tolist(),
        "values": [float(values.min()), float(values.max())],
        "mean": float(values.double().mean()),
        "nonzero part": float((values != 0).any(0).double().mean()),
        "looks like": f"{'a label map' if look.labels else 'intensities'} ({look.why})",
    }
    if look.labels:
        labels = [int(label) for label in values.unique().tolist() if label]
        facts["labels"] = labels if len(labels) <= FEW else [len(labels), min(labels), max(labels)]
    constant = int((values.flatten(1).amax(1) == values.flatten(1).amin(1)).sum())
    facts["defects"] = {"constant channels": constant} if constant else {}
    return facts


def orientation(grid: Grid) -> str:
    """Where the axes point, one letter each: R or L (right, left), A or P (forward, back), S or I (up, down).

    Where they lie between, to the nearest, and by how many degrees they miss it at most.
    """
    from nibabel.orientations import aff2axcodes

    letters = aff2axcodes(grid.affine.numpy(), labels=(("L", "R"), ("P", "A"), ("I", "S"))[: grid.dim])
    nearest = (grid.linear / grid.linear.norm(dim=0)).abs().amax(0).clamp(max=1)
    angle = math.degrees(float(nearest.acos().max()))
    code = "".join(letter or "?" for letter in letters)
    return code if angle < 0.1 else f"{code}, oblique by {angle:.1f} degrees"
