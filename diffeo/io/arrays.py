"""NumPy files: npy (positions) and npz (positions, connectivity, weights, attributes)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from diffeo.io.geometry import Array, Format, Geometry, like_numbers

_KEYS = "x (n, d), and optionally edges (e, 2), faces (f, 3), weights (n,)"


class NPY(Format):
    """One array of shape (n, 2) or (n, 3)."""

    suffixes = (".npy",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise ValueError("it is not a NumPy file")
            file.seek(0)
            return Geometry(_loaded(file, "it"))

    def write(self, path: Path, geometry: Geometry) -> None:
        """The positions only."""
        if geometry.faces is not None or geometry.edges is not None:
            raise ValueError("npy files hold points only: write curves and surfaces to .npz")
        np.save(path, geometry.x, allow_pickle=False)

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """x in the number type of the file ``like``."""
        np.save(path, like_numbers(x, self.read(like).x.dtype), allow_pickle=False)


class NPZ(Format):
    """Arrays by name: x (n, d), edges (e, 2), faces (f, 3), weights (n,); others with n rows are attributes."""

    suffixes = (".npz",)

    def read(self, path: Path) -> Geometry:
        """The content of the file."""
        arrays = _unpacked(path)
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
        np.savez(path, allow_pickle=False, **arrays, **{k: v for k, v in given.items() if v is not None})

    def rewrite(self, path: Path, like: Path, x: Array) -> None:
        """All arrays of the file ``like``, in the same order, with x replaced; compressed if they were."""
        arrays = _unpacked(like)
        arrays["x"] = like_numbers(x, arrays["x"].dtype)
        with zipfile.ZipFile(like) as archive:
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
        (np.savez_compressed if compressed else np.savez)(path, allow_pickle=False, **arrays)


def _unpacked(path: Path) -> dict[str, Array]:
    """All arrays of an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): _member(archive, name) for name in names}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError):
        raise ValueError("it is truncated, damaged, or not an npz archive") from None


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as file:
        return _loaded(file, f"its array {name.removesuffix('.npy')!r}")


def _loaded(file, what: str) -> Array:
    """One array; never a pickled object."""
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "pickle" in str(error):
            raise ValueError(f"{what} holds Python objects, and numbers are expected") from None
        raise ValueError(f"{what} is truncated or damaged") from None
