"""NIfTI files (``.nii``, ``.nii.gz``), through nibabel.

Source: the NIfTI-1 data format, https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from diffeo.io.geometry import Array
from diffeo.io.guard import silenced
from diffeo.io.raster import SLICE, ImageFormat, Raster, from_itk, half_turn, plane, stored

VECTOR, DISPLACEMENT = 1007, 1006
"""Intents of files with several values per voxel; ITK and ANTs write their warps as the first, in LPS."""
_COLORS = 2003
_CHANNELS = {VECTOR, DISPLACEMENT, _COLORS, 2004}
_UNITS = {1: 1000.0, 2: 1.0, 3: 0.001}  # meters, millimeters, microns, in millimeters
_SIZES = {348: "Nifti1Image", 540: "Nifti2Image"}  # what a header begins with: its own size
_PIXELS = b"pixels"  # the name of the intent of images whose positions are pixels


class NIfTI(ImageFormat):
    """Images in RAS+ millimeters; several channels are the components of vectors."""

    suffixes = (".nii", ".nii.gz")

    def read(self, path: Path) -> Raster:
        """The content of the file: scaled, in millimeters, axes of one point left out."""
        image = _opened(path)
        header = image.header
        _check_affine(header)
        intent = int(header["intent_code"]) if header.get_data_dtype().fields is None else _COLORS
        values = _channels(_numbers(image), intent)
        affine = np.diag([_UNITS.get(int(header["xyzt_units"]) & 7, 1.0)] * 3 + [1.0]) @ image.affine
        attributes: dict[str, Any] = {"dtype": values.dtype.newbyteorder("=").name}
        column, height = affine[:3, 2], affine[2, 3]
        values, affine = plane(values, affine)
        if len(affine) == 3:
            attributes[SLICE] = [*column.tolist(), float(height)]
        if intent:
            attributes["intent"] = intent
        if header["intent_name"].item() == _PIXELS and len(affine) == 3:
            return from_itk(values, half_turn(2) @ affine, True, attributes)
        return Raster(values, affine, False, attributes)

    def dtype(self, path: Path) -> np.dtype:
        """That of the file; float32 if the file scales its numbers."""
        image = _opened(path)
        dtype = image.header.get_data_dtype().newbyteorder("=")
        if dtype.fields is not None:
            return np.dtype(np.uint8)
        scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
        return np.dtype(np.float32) if scaled and dtype.kind in "iu" else dtype

    def write(self, path: Path, raster: Raster, dtype: np.dtype | None, like: Path | None) -> None:
        """Positions in the sform, and in the qform too if it can hold them; several channels as vectors."""
        import nibabel

        values, affine = raster.in_itk()
        channels, shape = len(values), values.shape[1:]
        slab = None if raster.pixels else raster.attributes.get(SLICE)
        affine = _in_space(half_turn(len(shape)) @ affine, slab)
        array = stored(values, dtype)
        if channels > 1:
            array = np.moveaxis(array, 0, -1).reshape(*shape, *[1] * (4 - len(shape)), channels)
        else:
            array = array[0]
        header = nibabel.Nifti1Header() if like is None else _opened(like).header
        header.set_data_dtype(array.dtype)
        header.set_xyzt_units("mm")
        if channels > 1 or int(header["intent_code"]) in _CHANNELS:
            header.set_intent(VECTOR if channels > 1 else 0)
        if raster.pixels or header["intent_name"].item() == _PIXELS:
            header["intent_name"] = _PIXELS if raster.pixels else b""
        image = getattr(nibabel, _SIZES[int(header["sizeof_hdr"])])(array, affine, header)
        if not int(image.header["sform_code"]) and not int(image.header["qform_code"]):
            image.set_sform(affine, "aligned")  # ``like`` said the same without saying that it meant it
        if not int(image.header["qform_code"]) and _perpendicular(affine):
            image.set_qform(affine, int(image.header["sform_code"]))
        image.to_filename(path)


def _opened(path: Path) -> Any:
    """The image in a file, all of which is in memory. Raises ValueError if it is not NIfTI, truncated or damaged."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    content = _content(path)
    size = int.from_bytes(content[:4], "little")
    size = size if size in _SIZES else int.from_bytes(content[:4], "big")
    if size not in _SIZES:
        raise ValueError("it is not a NIfTI file: its header does not begin with 348 or 540")
    if content[344:348] == b"ni1\0" or content[4:8] == b"ni2\0":
        raise ValueError("it is the header of a pair of files, .hdr and .img: convert them to one .nii")
    try:
        with silenced("nibabel.global"):
            return getattr(nibabel, _SIZES[size]).from_bytes(content)
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, ValueError) as error:
        raise ValueError(f"it is truncated or damaged: {error}") from None


def _content(path: Path) -> bytes:
    """All bytes, uncompressed; that all are there, and are right, is checked by gzip itself."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ValueError("it is truncated or damaged: it cannot be uncompressed") from None


def _check_affine(header: Any) -> None:
    """Raise ValueError unless the file says where its voxels are; nibabel would place them around 0."""
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        sizes = ", ".join(f"{size:g}" for size in header["pixdim"][1:4])
        raise ValueError(
            "it has no affine, its sform_code and qform_code are both 0, so that nobody knows where its voxels are: "
            f"set one, with nibabel.Nifti1Image(values, numpy.diag([{sizes}, 1])) if its axes point right, forward, up"
        )


def _numbers(image: Any) -> Array:
    """Every number of the file, scaled as it says; colors along a last axis."""
    try:
        values = np.asanyarray(image.dataobj)
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"it is truncated or damaged: {error}") from None
    if values.dtype.fields is None:
        return values
    colors = np.stack([values[name] for name in "RGB"], -1)
    return colors.reshape(*values.shape, *[1] * (4 - values.ndim), 3)


def _channels(values: Array, intent: int) -> Array:
    """Shape (c, n_1, n_2, n_3). Raises ValueError for series in time, and for what is none of the known kinds."""
    shape = values.shape
    if len(shape) == 5 and shape[3] == 1 and shape[4] > 1 and intent in _CHANNELS:
        return np.moveaxis(values[..., 0, :], -1, 0)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 4:
        raise ValueError(
            f"it is a series of {shape[3]} volumes, shape {shape}, and one volume is expected: take one of them, or "
            "their mean, such as image.slicer[..., 0] in nibabel"
        )
    if len(shape) > 4:
        raise ValueError(
            f"its shape is {shape} and its intent_code is {intent}, and images with several values per voxel are "
            f"expected to have the shape (x, y, z, 1, values) and the intent_code {VECTOR}"
        )
    return values.reshape(1, *shape, *[1] * (3 - len(shape)))


def _in_space(affine: Array, slab: Any = None) -> Array:
    """The affine of a plane, shape (3, 3), as one of space, shape (4, 4), where the slice lay that it was read from."""
    if len(affine) == 4:
        return affine
    full = np.eye(4)
    full[np.ix_([0, 1, 3], [0, 1, 3])] = affine
    if isinstance(slab, list) and len(slab) == 4 and slab[2]:
        full[:3, 2], full[2, 3] = slab[:3], slab[3]
    return full


def _perpendicular(affine: Array) -> bool:
    """Whether the axes are, as a qform needs them: where they are not, ITK would read it and be wrong."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < 1e-5)
