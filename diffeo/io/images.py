"""Files of images: what is in them is checked here, whatever the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffeo.grid import Grid
from diffeo.io.atomic import replacing
from diffeo.io.geometry import Array
from diffeo.io.guard import check_readable, guarded, has_suffix
from diffeo.io.itk import ITK
from diffeo.io.nifti import NIfTI
from diffeo.io.pictures import Picture
from diffeo.io.raster import SLICE, ImageFormat, Raster, is_picture, whole_numbers
from diffeo.shapes import Image

FORMATS: tuple[ImageFormat, ...] = (NIfTI(), Picture(), ITK())
"""All formats of images; a new one is one file and one entry here."""

MILLIMETERS, PIXELS = "RAS+ millimeters", "pixels (x = column, y = row)"
_EXACT = 2**24  # up to here float32 holds every integer


def read_image(path: Path, dtype: torch.dtype | None) -> Image:
    """The image in a file; what `diffeo.read` says of images."""
    raster = read_raster(path)
    values = guarded(path, lambda: torch.from_numpy(_floating(raster.values)))
    attributes = raster.attributes | {"space": PIXELS if raster.pixels else MILLIMETERS}
    return guarded(
        path,
        lambda: Image(
            values if dtype is None else values.to(dtype),
            Grid(raster.values.shape[1:], torch.from_numpy(raster.affine)),
            attributes=attributes,
        ),
    )


def write_image(path: Path, image: Image, source: Path | None, parents: bool) -> None:
    """Write an image; what `diffeo.write` says of images."""
    kind = format_of(path)
    raster = _raster(image)
    if source is None:
        dtype, like = _kept(raster), None
    else:
        check_readable(source)
        other = format_of(source)
        dtype = guarded(source, lambda: other.dtype(source))
        like = source if other is kind else None
    with replacing(path, parents) as temporary:
        guarded(path, lambda: kind.write(temporary, raster, dtype, like), "write")


def format_of(path: Path) -> ImageFormat:
    """The format of an image file, by its extension. Raises ValueError if it is none."""
    for kind in FORMATS:
        if has_suffix(path, kind.suffixes):
            return kind
    known = ", ".join(s for kind in FORMATS for s in kind.suffixes)
    raise ValueError(f"{path} is not an image: its extension is none of {known}; rename or convert it.")


def in_pixels(image: Image) -> bool:
    """Whether positions are pixels, rather than RAS millimeters: as its file said, or else as its grid looks."""
    space = image.attributes.get("space")
    return space == PIXELS if space in (PIXELS, MILLIMETERS) else is_picture(image.grid.affine.numpy())


def space_of(image: Image) -> dict[str, Any]:
    """Those attributes that say where in space an image is: what is sampled on its grid has them, too."""
    return {name: image.attributes[name] for name in ("space", SLICE) if name in image.attributes}


def read_raster(path: Path) -> Raster:
    """The content of a file, checked. Raises ValueError with one sentence that names the file."""
    check_readable(path)
    kind = format_of(path)
    return guarded(path, lambda: _checked(kind.read(path)))


def _checked(raster: Raster) -> Raster:
    """The same; ValueError unless it is an image of the plane or of space with numbers that are all finite."""
    values, shape = raster.values, raster.values.shape[1:]
    if values.dtype.kind not in "iuf":
        hint = ": save its magnitude" if values.dtype.kind == "c" else ""
        raise ValueError(f"its voxels are {values.dtype}, and real numbers are expected{hint}")
    if not values.size:
        raise ValueError(f"it has no voxels, its shape is {shape}")
    if len(shape) not in (2, 3) or min(shape) < 2:
        slice_of = len(shape) == 3 and sorted(shape)[1] > 1
        way_out = ": of a single slice, the third axis has to be the one with one voxel" if slice_of else ""
        raise ValueError(
            f"its shape is {shape}, and two or three axes with at least 2 voxels along each are expected{way_out}"
        )
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ValueError(
            f"{bad:,} of its {values.size:,} voxels are NaN or infinite: replace them first, as numpy.nan_to_num does, "
            "and leave them out with a mask"
        )
    return raster


def _floating(values: Array) -> Array:
    """Contiguous float32; float64 if there are integers that float32 rounds, or numbers beyond what it holds."""
    limit = _EXACT if values.dtype.kind in "iu" else float(np.finfo(np.float32).max)
    large = values.dtype.itemsize > 2 and max(float(values.max()), -float(values.min())) > limit
    return np.ascontiguousarray(values, np.float64 if large else np.float32)


def _raster(image: Image) -> Raster:
    values = image.values.detach().cpu()
    values = values if values.dtype == torch.float64 else values.float()
    return Raster(values.numpy(), image.grid.affine.numpy(), in_pixels(image), dict(image.attributes))


def _kept(raster: Raster) -> np.dtype | None:
    """The integers that an image was read as, if all its values are such: nothing is rounded unasked."""
    name = raster.attributes.get("dtype")
    if not isinstance(name, str) or name not in np.sctypeDict:
        return None
    dtype = np.dtype(name)
    return dtype if whole_numbers(raster.values, dtype) else None
