"""What a registration gives back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from diffeo.core import Diffeo, Shape
from diffeo.fit import Record
from diffeo.io import transform
from diffeo.io.atomic import replacing
from diffeo.registration.files import metadata, write_moved, write_warps
from diffeo.registration.pyramid import images, points
from diffeo.viz import plot


@dataclass(frozen=True)
class Registration:
    """A source, a target, and the diffeomorphism between them.

    Attributes:
        source, target: as given.
        moved: φ · source.
        phi: the diffeomorphism, in the data's units.
        history: one record per outer iteration, over all stages; energies in units of the extent squared.
        report: figures that say how good it is (see the README), all of them numbers, strings, lists or dicts.
    """

    source: Shape
    target: Shape
    moved: Shape
    phi: Diffeo
    history: Sequence[Record]
    report: dict[str, Any]

    @property
    def energy(self) -> float:
        """½∫‖v_t‖²_V dt, in the data's units squared."""
        return self.report["energy"]

    @property
    def converged(self) -> bool:
        """Whether the last stage made no more progress beyond its tolerance."""
        return self.report["converged"]

    def plot(self) -> Figure:
        """The shapes before and after, the displacement, the deformed grid, and the course of the fit."""
        if images(self.source):
            a, b, c = (images(shape)[0] for shape in (self.source, self.target, self.moved))
            pairs = list(zip(points(self.moved), points(self.target), strict=True))
            return plot.image_registration(a, b, c, self.phi, self.history, points=pairs)
        (a,), (b,), (c,) = (points(shape) for shape in (self.source, self.target, self.moved))
        return plot.registration(a, b, c, self.phi, self.history)

    def save(self, directory: str | Path, like: str | Path | Sequence[str | Path | None] | None = None) -> Path:
        """Write ``moved.*``, ``transform.safetensors``, ``report.json`` and ``report.png`` into a folder.

        For images also ``warp.nii.gz``, ``inverse_warp.nii.gz`` and ``jacobian.nii.gz``, as ITK and ANTs read them.

        Args:
            directory: made if it is not there; files of these names are replaced, each only when it is complete.
            like: the file the source came from; ``moved`` then has its format, its connectivity and its attributes.
                For a compound, one for each part.

        Returns: the folder.
        Raises: ValueError if it cannot be written.
        """
        folder = Path(directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {folder}: {error.strerror}; choose another one.") from None
        write_moved(folder, self.moved, [like] if like is None or isinstance(like, (str, Path)) else like)
        transform.save(folder / "transform.safetensors", self.phi, metadata(self.report, self.source, self.target))
        if images(self.source):
            write_warps(folder, self.source, self.target, self.phi)
        with replacing(folder / "report.json") as temporary:
            temporary.write_text(json.dumps(self.report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with replacing(folder / "report.png") as temporary:
            self.plot().savefig(temporary, dpi=110)
        return folder
