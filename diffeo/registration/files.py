"""What a registration leaves in a folder: the moved shape and the map, for images as other programs read it too."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffeo.core import CHUNK, Diffeo, Shape
from diffeo.io import write, write_warp
from diffeo.io.grids import with_grids
from diffeo.io.images import in_pixels, space_of
from diffeo.io.pictures import Picture
from diffeo.io.raster import is_picture
from diffeo.registration.brightness import difference
from diffeo.registration.pyramid import images
from diffeo.shapes import Compound, Image, Mesh, Points

IMAGES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def write_moved(folder: Path, moved: Shape, target: Shape, like: Sequence[str | Path | None]) -> None:
    """``moved.*``, or ``moved_1.*``, ``moved_2.*``, … for the parts of a compound, each in the format it came in.

    A picture that was moved onto a scan is a scan: it lies where the target lies, in millimeters.
    """
    fixed = images(target)
    parts = [
        replace(part, attributes=part.attributes | space_of(fixed[0])) if isinstance(part, Image) and fixed else part
        for part in (moved.parts if isinstance(moved, Compound) else (moved,))
    ]
    sources = [*like, *[None] * (len(parts) - len(like))]
    for number, (part, source) in enumerate(zip(parts, sources, strict=True), 1):
        name = "moved" if len(parts) == 1 else f"moved_{number}"
        write(folder / f"{name}{suffix(part, source)}", part, like=source)


def suffix(shape: Shape, like: str | Path | None) -> str:
    """The extension of a file, both of it for .nii.gz; or of a format that can hold the shape."""
    if like is not None:
        name = Path(like).name.lower()
        found = next((s for s in IMAGES if name.endswith(s)), Path(like).suffix)
        flat = isinstance(shape, Image) and is_picture(shape.grid.affine.numpy())
        return found if flat or found not in Picture.suffixes else ".nii.gz"  # pictures lie on a grid of pixels only
    if isinstance(shape, Image):
        return ".nii.gz"
    if isinstance(shape, Mesh):
        return ".ply"
    return ".csv" if isinstance(shape, Points) and shape.x.shape[1] <= 3 else ".npz"


def write_warps(folder: Path, source: Shape, target: Shape, phi: Diffeo) -> None:
    """``warp.nii.gz`` and ``inverse_warp.nii.gz`` as ITK and ANTs read them, and ``jacobian.nii.gz`` of the former.

    Where the map folds there is no ``inverse_warp.nii.gz``.
    """
    moving, fixed = images(source)[0], images(target)[0]
    pixels = in_pixels(fixed)
    write_warp(folder / "warp.nii.gz", phi, fixed.grid, pixels=pixels)
    inverse = folder / "inverse_warp.nii.gz"
    try:
        write_warp(inverse, phi, moving.grid, inverse=True, pixels=pixels)
    except ArithmeticError:  # φ⁻¹ folds and has no inverse there: the report says so, and an older file would lie
        inverse.unlink(missing_ok=True)
    write(folder / "jacobian.nii.gz", jacobian(phi, fixed))


@torch.no_grad()
def jacobian(phi: Diffeo, fixed: Image) -> Image:
    """det Dφ⁻¹ on the grid of the fixed image, by central differences: above 1 where the moving image is larger."""
    u = phi.pullback(fixed.grid)
    rows = [part.shape[0] for part in fixed.grid.slabs(CHUNK)]
    ends = [sum(rows[:k]) for k in range(len(rows) + 1)]
    determinants = torch.cat([central_determinants(u, a, b) for a, b in itertools.pairwise(ends)])
    return Image(determinants[None].float(), fixed.grid, attributes=space_of(fixed))


def central_determinants(u: Tensor, first: int, last: int) -> Tensor:
    """det(I + Du) by central differences, one-sided at the ends of the grid, for some of its slabs.

    Args:
        u: steps, shape (d, *grid.shape).
        first, last: the slabs first ≤ i < last along the first axis.

    Returns: shape (last − first, *grid.shape[1:]).
    """
    start = max(0, first - 1)
    part = u[:, start : last + 1]
    slopes = torch.stack([difference(part, axis) for axis in range(1, u.ndim)], 1)
    slopes = slopes.narrow(2, first - start, last - first)
    matrices = slopes.flatten(2).permute(2, 0, 1) + torch.eye(len(u)).to(u)
    return torch.linalg.det(matrices).reshape(slopes.shape[2:])


def metadata(report: dict[str, Any], source: Shape, target: Shape) -> dict[str, Any]:
    """What stands beside a map: the report, and the grids of the images it was found from."""
    if not images(source):
        return report
    return with_grids(report, fixed=images(target)[0].grid, moving=images(source)[0].grid)
