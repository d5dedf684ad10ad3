"""NumPy files: npy (positions) and npz (positions, connectivity, weights, attributes)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from diffeo.io.geometry import Array, Format, Geometry, like_numbers

_KEYS = "x (n, d), and optionally edges (e, 2), faces (f, 3), weights (n,)"


class NPY(Format):
    """One array of shape (n, 2) or (n, 3)."""

    suffixes = (".npy",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        return Geometry(single(path))

    def write(self, path: Path, geometry: Geometry) -> None:
        """The positions only."""
        if geometry.faces is not None or geometry.edges is not None:
            raise ValueError("npy files hold points only: write curves and surfaces to .npz")
        _save(path, geometry.x)

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """x in the number type of the file ``like``."""
        _save(path, like_numbers(x, self.read(like).x.dtype))


class NPZ(Format):
    """Arrays by name: x (n, d), edges (e, 2), faces (f, 3), weights (n,); others with n rows are attributes."""

    suffixes = (".npz",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        arrays = unpacked(path)
        if "x" not in arrays:
            raise ValueError(f"it holds {', '.join(arrays) or 'no arrays'}, and what is expected is {_KEYS}")
        x = arrays.pop("x")
        edges, faces = arrays.pop("edges", None), arrays.pop("faces", None)
        n = len(x) if x.ndim else -1
        return Geometry(x, edges, faces, {k: v for k, v in arrays.items() if v.ndim in (1, 2) and len(v) == n})

    def write(self, path: Path, geometry: Geometry) -> None:
        """All there is."""
        given = {"x": geometry.x, "edges": geometry.edges, "faces": geometry.faces}
        arrays = {k: v for k, v in geometry.attributes.items() if k not in given and v.dtype != object}
        _pack(path, arrays | {k: v for k, v in given.items() if v is not None}, compressed=False)

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """All arrays of the file ``like``, in the same order, with x replaced; compressed if they were."""
        arrays = unpacked(like)
        arrays["x"] = like_numbers(x, arrays["x"].dtype)
        with zipfile.ZipFile(like) as archive:
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
        _pack(path, arrays, compressed)


def _save(path: Path, x: Array) -> None:
    with path.open("wb") as file:  # given a name, numpy would append its own extension to .NPY
        np.save(file, x, allow_pickle=False)


def _pack(path: Path, arrays: dict[str, Array], compressed: bool) -> None:
    """An npz archive; written here because numpy takes names such as ``file`` for its own parameters."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)


def single(path: Path) -> Array:
    """The array in an npy file."""
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it is not a NumPy file")
        file.seek(0)
        return _loaded(file, "it")


def unpacked(path: Path) -> dict[str, Array]:
    """All arrays of an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): _member(archive, name) for name in names}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, OSError):
        raise ValueError("it is truncated, damaged, or not an npz archive") from None


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as file:
        return _loaded(file, f"its array {name.removesuffix('.npy')!r}")


def _loaded(file: IO[bytes], what: str) -> Array:
    """One array; never a pickled object."""
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # numpy evaluates the header as Python text, with the errors of the tokenizer and so on
        if isinstance(error, ValueError) and "pickle" in str(error):
            raise ValueError(f"{what} holds Python objects, and numbers are expected") from None
        raise ValueError(f"{what} is truncated or damaged") from None
