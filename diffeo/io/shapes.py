"""``read`` and ``write``: from a file to a shape and back."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from diffeo.core import Shape
from diffeo.io import images, point_shapes
from diffeo.io.guard import check_readable, has_suffix
from diffeo.io.images import read_image, write_image
from diffeo.io.point_shapes import read_points, write_points
from diffeo.shapes import Image, PointShape

_IMAGES = tuple(suffix for kind in images.FORMATS for suffix in kind.suffixes)
_POINTS = tuple(suffix for kind in point_shapes.FORMATS for suffix in kind.suffixes)


def read(path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> PointShape | Image:
    """The shape in a file: an ``Image``, a ``Mesh`` if it has faces, a ``Curve`` if it has segments, else ``Points``.

    Points keep the order and the number that they have in the file (STL: see ``diffeo.io.stl``); polygons are cut into
    triangles, polylines into segments. A per-point scalar ``weights`` becomes the weights of a cloud, all other
    per-point data are ``attributes``. VTK, PLY, OBJ and OFF files are always in space: a plane curve has z = 0 there.

    Images are in space too, by the affine map of the file: NIfTI and ITK's formats in RAS+ millimeters, pictures with
    x = column and y = row in pixels. Values are those of the file, scaled as its header says, not normalized. The
    attributes ``dtype`` and ``space`` tell the number type of the file and what positions mean.

    Args:
        path: ply, obj, off, stl, vtk, vtp, xyz, txt, csv, npy or npz; images are nii, nii.gz, png, jpg, tif or bmp,
            and with SimpleITK mha, mhd, nrrd or nhdr; the extension decides.
        dtype: of the positions, float64 if left out; or of the values of an image, float32 if left out (float64 if
            there are numbers that float32 cannot hold).
    Raises: ValueError with one sentence that names the file and what is wrong with it.
    """
    path = Path(path)
    check_readable(path)
    _check_known(path)
    if has_suffix(path, _IMAGES):
        return read_image(path, dtype)
    return read_points(path, dtype or torch.float64)


def write(
    path: str | os.PathLike[str],
    shape: Shape,
    like: str | os.PathLike[str] | None = None,
    parents: bool = False,
) -> None:
    """Write a shape; the file appears complete or not at all.

    Args:
        path: where to; the extension decides the format.
        shape: what to write. Attributes that the format has no place for are left out.
        like: the file that the shape was read from before it moved. In the same format, the new file is a copy of it
            with only the points replaced (and normals computed anew): same number type, connectivity, attributes,
            comments. A shape of the plane leaves the third coordinate of the file as it is. An image takes its number
            type (integers are rounded and clipped) and what its header says besides positions; without ``like``,
            integers are written if the image was read from integers and all its values still are.
        parents: create the folders that are missing.
    Raises: ValueError with one sentence if the format cannot hold the shape, ``like`` is not its source, or the file
        cannot be written.
    """
    path, source = Path(path), None if like is None else Path(like)
    _check_known(path)
    if not isinstance(shape, Image | PointShape):
        raise ValueError(f"write expects an Image, a Mesh, a Curve or Points, and got {type(shape).__name__}.")
    known = _IMAGES if isinstance(shape, Image) else _POINTS
    for name in (path, source):
        if name is not None and not has_suffix(name, known):
            raise ValueError(
                f"cannot write {path}: {type(shape).__name__} goes to and comes from files {', '.join(known)}, and "
                f"{name.name} is not one of them."
            )
    if isinstance(shape, Image):
        write_image(path, shape, source, parents)
    else:
        write_points(path, shape, source, parents)


def _check_known(path: Path) -> None:
    """Raise ValueError unless the extension is that of a format."""
    if not has_suffix(path, _POINTS + _IMAGES):
        raise ValueError(
            f"{path}: the extension {path.suffix.lower() or '(none)'} is not one of the formats "
            f"{', '.join(_POINTS + _IMAGES)}; rename or convert it."
        )
