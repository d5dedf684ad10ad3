"""Pictures (png, jpg, tif, bmp), through scikit-image.

Positions are pixels, x = column and y = row; what the file says of resolution or of the way up is not read.
"""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np

from diffeo.io.geometry import Array
from diffeo.io.guard import silenced
from diffeo.io.raster import PICTURE, ImageFormat, Raster, is_picture, stored
from diffeo.io.tiff import PRINT, Refusal, tiff

_TIF, _JPG, _PNG = (".tif", ".tiff"), (".jpg", ".jpeg"), ".png"


class Picture(ImageFormat):
    """Grey pictures have one channel, those in color three; what is transparent shows a white ground."""

    suffixes = (_PNG, *_JPG, *_TIF, ".bmp")

    def read(self, path: Path) -> Raster:
        """The numbers of the file: 0..255 for most."""
        array = _loaded(path)
        dtype = array.dtype.newbyteorder("=").name
        if array.ndim == 3 and array.shape[-1] == 4 and path.suffix.lower() in _JPG:
            raise ValueError(PRINT)
        if array.ndim > 3 or (array.ndim == 3 and array.shape[-1] > 4):
            raise ValueError(
                f"it is a stack of pages, shape {array.shape}, and one page is expected: save one, or save all as "
                ".nii.gz, which tells how far apart they are"
            )
        channels = _opaque(array[..., None] if array.ndim == 2 else array)
        return Raster(np.moveaxis(channels, -1, 0), PICTURE.copy(), True, {"dtype": dtype})

    def dtype(self, path: Path) -> np.dtype:
        """That of the file."""
        return _loaded(path).dtype.newbyteorder("=")

    def write(self, path: Path, raster: Raster, dtype: np.dtype | None, like: Path | None) -> None:
        """The numbers as they are if the format holds them; fractions in [0, 1] become 0..255."""
        from skimage.io import imsave

        channels, d = len(raster.values), raster.dim
        if d != 2 or channels not in (1, 3):
            raise ValueError(
                f"pictures have two axes and 1 or 3 channels, and the image has {d} axes and {channels} channels: "
                "write it as .nii.gz"
            )
        if not is_picture(raster.affine):
            raise ValueError(
                f"pictures have no place for an affine map, and that of the image is {raster.affine.tolist()}, not "
                "(row, column) to (column, row): write it as .nii.gz"
            )
        suffix = path.suffix.lower()
        array = np.moveaxis(_shown(raster, dtype, suffix), 0, -1)
        array = np.ascontiguousarray(array[..., 0] if channels == 1 else array)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            imsave(path, array, check_contrast=False, **({"quality": 95} if suffix in _JPG else {}))


def _loaded(path: Path) -> Array:
    """All numbers of the file; black and white are 0 and 255."""
    from skimage.io import imread

    array: Array | None = None
    with warnings.catch_warnings(), silenced("tifffile"):
        warnings.simplefilter("ignore")
        try:
            array = np.asarray(tiff(path) if path.suffix.lower() in _TIF else imread(path))
        except (MemoryError, Refusal):
            raise
        except Exception:  # the readers of a dozen formats raise a dozen kinds of errors
            array = None
        if array is None:
            gc.collect()  # some leave the file open, and say so when they are collected
    if array is None:
        raise ValueError(f"it is truncated, damaged, or not a {path.suffix.lower()} picture")
    return array.astype(np.uint8) * 255 if array.dtype.kind == "b" else array


def _opaque(array: Array) -> Array:
    """Shape (rows, columns, 1 or 3): without the last of 2 or 4 channels, which says how opaque a pixel is."""
    if array.shape[-1] not in (2, 4):
        return array
    colors, alpha = array[..., :-1], array[..., -1:]
    white = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1.0
    if (alpha == white).all():
        return colors
    opacity = alpha / white
    return opacity * colors + (1 - opacity) * white


def _shown(raster: Raster, dtype: np.dtype | None, suffix: str) -> Array:
    """The values in a number type that the format holds. Raises ValueError if that would need a guess."""
    values = raster.values
    if suffix in _TIF:
        return stored(values, dtype)
    wanted = raster.attributes.get("dtype") if dtype is None else dtype.name
    deep = suffix == _PNG and len(values) == 1  # 16 bits; Pillow writes no colors of so many
    low, high = float(values.min()), float(values.max())
    kind = np.dtype(np.uint16 if deep and (wanted == "uint16" or high >= 255.5) else np.uint8)
    top = np.iinfo(kind).max
    if low >= -1e-4 and high <= 1 + 1e-4 and bool((values != np.rint(values)).any()):
        return stored(top * values, kind)
    if wanted == "uint8":
        return stored(values, np.dtype(np.uint8))
    if low < -0.5 or high >= top + 0.5:
        raise ValueError(
            f"its values run from {low:g} to {high:g}, and {suffix} holds whole numbers from 0 to {top}: bring them to "
            "[0, 1], or write .tif or .nii.gz"
        )
    return stored(values, kind)
