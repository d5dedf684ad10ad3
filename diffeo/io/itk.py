"""ITK's own formats (MetaImage, NRRD), through SimpleITK: ``pip install "diffeo[itk]"``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from diffeo.io.geometry import Array
from diffeo.io.raster import ImageFormat, Raster, from_itk, plane, stored

_SPACE, _PIXELS = "diffeo_space", "pixels"  # an entry of the header, for images whose positions are pixels


class ITK(ImageFormat):
    """Images in LPS millimeters, read into RAS."""

    suffixes = (".mha", ".mhd", ".nrrd", ".nhdr")

    def read(self, path: Path) -> Raster:
        """The content of the file."""
        sitk = simpleitk(path.suffix)
        try:
            image = sitk.ReadImage(str(path))
        except RuntimeError:
            raise ValueError("it is truncated, damaged, or in another format than its extension says") from None
        if image.GetDimension() > 3:
            raise ValueError(f"it is a series, of size {image.GetSize()}, and one volume is expected: take one of them")
        values, affine = arrays(image)
        attributes = {"dtype": values.dtype.name}
        pixels = image.HasMetaDataKey(_SPACE) and image.GetMetaData(_SPACE) == _PIXELS
        values, affine = plane(values, affine) if len(affine) == 4 else (values, affine)
        return from_itk(values, affine, pixels, attributes)

    def dtype(self, path: Path) -> np.dtype:
        """That of the file."""
        return self.read(path).values.dtype

    def write(self, path: Path, raster: Raster, dtype: np.dtype | None, like: Path | None) -> None:
        """A compressed file; of the header of ``like`` nothing is taken."""
        if path.suffix.lower() in (".mhd", ".nhdr"):
            raise ValueError(f"{path.suffix} comes in two files, of which one could be lost: write .mha or .nrrd")
        sitk = simpleitk(path.suffix)
        image = itk_image(sitk, *raster.in_itk(), dtype)
        if raster.pixels:
            image.SetMetaData(_SPACE, _PIXELS)
        try:
            sitk.WriteImage(image, str(path), True)
        except RuntimeError as error:
            raise OSError(f"ITK cannot write there: {str(error).splitlines()[-1]}") from None


def simpleitk(suffix: str) -> Any:
    """SimpleITK, imported when needed: it takes 0.2 s and is optional."""
    try:
        return import_module("SimpleITK")
    except ImportError:
        raise ValueError(
            f'{suffix} files need SimpleITK: pip install "diffeo[itk]", or save the file as .nii.gz'
        ) from None


def arrays(image: Any) -> tuple[Array, Array]:
    """Values, shape (c, n_1, …, n_d), first axis first, and affine, shape (d + 1, d + 1), in LPS."""
    d = image.GetDimension()
    array = import_module("SimpleITK").GetArrayFromImage(image)
    array = array[..., None] if array.ndim == d else array
    affine = np.eye(d + 1)
    affine[:d, :d] = np.reshape(image.GetDirection(), (d, d)) * image.GetSpacing()
    affine[:d, d] = image.GetOrigin()
    return array.transpose(), affine


def itk_image(sitk: Any, values: Array, affine: Array, dtype: np.dtype | None) -> Any:
    """The inverse of `arrays`. Raises ValueError for axes that are not perpendicular, which ITK does not have."""
    d = len(affine) - 1
    spacing = np.linalg.norm(affine[:d, :d], axis=0)
    direction = affine[:d, :d] / spacing
    if np.abs(direction.T @ direction - np.eye(d)).max() > 1e-4:
        raise ValueError("the axes of the grid are not perpendicular, and ITK's must be: write .nii.gz")
    array = stored(values, dtype).transpose()
    many = array.shape[-1] > 1
    image = sitk.GetImageFromArray(np.ascontiguousarray(array if many else array[..., 0]), isVector=many)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:d, d].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image
