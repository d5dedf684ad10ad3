"""TIFF: one page of grey or colors, however it is compressed and laid out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffeo.io.geometry import Array

PRINT = "its four colors are those of print (CMYK), and RGB is expected: convert it"


class Refusal(ValueError):
    """A file that is whole, and is not a picture."""


def tiff(path: Path) -> Array:
    """All numbers of the file, shape (rows, columns) or (rows, columns, channels); (pages, …) where it has several.

    Colors that are stored plane by plane are colors, pages of a stack are not, however many there are. Palettes are
    resolved, and what tifffile uncompresses only with another package (LZW, JPEG, fax) is read by Pillow.

    Raises: `Refusal` for the colors of print, and where a package is missing; anything for what is damaged.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        page, series = file.pages.first, file.series[0]
        kind = getattr(page.photometric, "name", "")
        if kind == "SEPARATED":
            raise Refusal(PRINT)
        if kind != "PALETTE":
            try:
                array = series.asarray()
            except ValueError as error:
                if "imagecodecs" not in str(error):
                    raise
            else:
                colors = array.ndim == 3 and (series.axes[0] == "S" or (series.axes[0] == "C" and len(array) == 3))
                return np.moveaxis(array, 0, -1) if colors else array
    try:
        return _by_pillow(path)
    except Exception:
        way = getattr(page.compression, "name", "unknown")
        raise Refusal(
            f"its compression is {way}, which needs the package imagecodecs: pip install imagecodecs, or save it "
            "uncompressed"
        ) from None


def _by_pillow(path: Path) -> Array:
    from PIL import Image

    with Image.open(path) as picture:
        pages = []
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            pages.append(_resolved(np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)))
    return pages[0] if len(pages) == 1 else np.stack(pages)


def _resolved(array: Array) -> Array:
    """Colors that are all grey, as palettes of grey have them, are one channel."""
    grey = array.ndim == 3 and bool((array == array[..., :1]).all())
    return array[..., 0] if grey else array
