"""Maps as other programs read them: displacement fields in NIfTI, MetaImage and NRRD, and ITK's transform files.

ITK and ANTs resample the moving image by looking it up at x + v(x) for every point x of the fixed image: the map that
they want is φ⁻¹, from fixed to moving, while points go from moving to fixed by φ. v is in millimeters, its components
are in LPS (x to the left, y to the back), whatever the axes of the file are. tests/io/test_io_warps.py compares with
SimpleITK.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from diffeo.core import Compose, Diffeo, Inverse
from diffeo.flows import Affine
from diffeo.grid import Grid
from diffeo.io.atomic import replacing
from diffeo.io.displacement import displacement, warp
from diffeo.io.guard import check_readable, guarded, has_suffix
from diffeo.io.images import FORMATS, format_of, read_raster
from diffeo.io.itk_transforms import TRANSFORMS, read_transform, write_transform
from diffeo.io.raster import from_itk, is_picture


def write_warp(
    path: str | os.PathLike[str],
    phi: Diffeo,
    grid: Grid,
    inverse: bool = False,
    pixels: bool | None = None,
    parents: bool = False,
) -> None:
    """Write a map as ITK and ANTs read it; the file appears complete or not at all.

    What is written takes points of ``grid``, which is that of the fixed image, to the moving image: the displacement
    of φ⁻¹, by which ITK resamples the moving image onto the fixed one.

    Args:
        path: nii, nii.gz, mha or nrrd for a displacement field, float32, in millimeters and LPS; h5 for a composite
            transform, in which affine maps at the beginning of φ stay affine.
        phi: the map, from moving to fixed.
        grid: where the displacement is written; of the fixed image, or of the moving one for ``inverse``.
        inverse: write the displacement of φ instead, by which the fixed image is resampled onto the moving one, and
            points go from moving to fixed.
        pixels: whether positions are pixels, x = column and y = row, rather than RAS millimeters; for ITK they are the
            same numbers then. By default they are where the grid is that of a picture; of an image that was read,
            `diffeo.io.images.in_pixels` knows better.
        parents: create the folders that are missing.
    Raises: ValueError with one sentence if the file cannot be written; ArithmeticError if the map is not finite there.
    """
    path = Path(path)
    pixels = is_picture(grid.affine.numpy()) if pixels is None else pixels
    if has_suffix(path, TRANSFORMS):
        affine, rest = ([], Inverse(phi)) if inverse else _split(phi)
        field = None if rest is None else displacement(rest, grid, pixels)
        write_transform(path, affine, field, pixels, parents)
        return
    kind = format_of(path)
    raster = displacement(Inverse(phi) if inverse else phi, grid, pixels)
    with replacing(path, parents) as temporary:
        guarded(path, lambda: kind.write(temporary, raster, np.dtype(np.float32), None), "write")


def read_warp(path: str | os.PathLike[str], dtype: torch.dtype = torch.float32, pixels: bool | None = None) -> Diffeo:
    """The map φ in a file that ``write_warp``, ANTs or ITK wrote: what the file holds is φ⁻¹, from fixed to moving.

    A file written with ``inverse`` holds φ: the map is then ``Inverse(read_warp(path))``.

    Args:
        path: a displacement field (nii, nii.gz, mha, mhd, nrrd, nhdr), which gives a ``Warp``; or a transform file of
            ITK (h5, mat, tfm, txt, xfm), which gives a ``Warp``, an ``Affine``, or a ``Compose`` of them.
        dtype: of the displacement.
        pixels: whether positions are pixels, x = column and y = row; by default where the file says so, as fields
            written by ``write_warp`` do (h5 files never do).
    Raises: ValueError with one sentence that names the file and what is wrong with it.
    """
    path = Path(path)
    check_readable(path)
    if has_suffix(path, TRANSFORMS):
        return read_transform(path, dtype, bool(pixels))
    raster = read_raster(path)
    if pixels is not None and pixels != raster.pixels:
        raster = from_itk(*raster.in_itk(), pixels, raster.attributes)
    return guarded(path, lambda: warp(raster, dtype))


def is_warp(path: Path) -> bool:
    """Whether a file is one that ``read_warp`` reads, by its name."""
    return has_suffix(path, TRANSFORMS) or any(has_suffix(path, kind.suffixes) for kind in FORMATS)


def _split(phi: Diffeo) -> tuple[list[Affine], Diffeo | None]:
    """The affine maps with which φ begins, and what comes after them, if anything does."""
    parts = phi.diffeos if isinstance(phi, Compose) else [phi]
    affine: list[Affine] = []
    for part in parts:
        if not isinstance(part, Affine):
            return affine, Compose(parts[len(affine) :])
        affine.append(part)
    return affine, None
