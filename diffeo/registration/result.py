"""What a registration gives back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from diffeo.core import Diffeo
from diffeo.fit import Record
from diffeo.io import transform
from diffeo.io.atomic import replacing
from diffeo.io.shapes import write
from diffeo.shapes import Curve, Mesh, PointShape
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

    source: PointShape
    target: PointShape
    moved: PointShape
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
        return plot.registration(self.source, self.target, self.moved, self.phi, self.history)

    def save(self, directory: str | Path, like: str | Path | None = None) -> Path:
        """Write ``moved.*``, ``transform.safetensors``, ``report.json`` and ``report.png`` into a folder.

        Args:
            directory: made if it is not there; files of these names are replaced, each only when it is complete.
            like: the file the source came from; ``moved`` then has its format, its connectivity and its attributes.

        Returns: the folder.
        Raises: ValueError if it cannot be written.
        """
        folder = Path(directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {folder}: {error.strerror}; choose another one.") from None
        suffix = Path(like).suffix if like is not None else default_suffix(self.source)
        write(folder / f"moved{suffix}", self.moved, like=like)
        transform.save(folder / "transform.safetensors", self.phi, self.report)
        with replacing(folder / "report.json") as temporary:
            temporary.write_text(json.dumps(self.report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with replacing(folder / "report.png") as temporary:
            self.plot().savefig(temporary, dpi=110)
        return folder


def default_suffix(shape: PointShape) -> str:
    """A format that can hold the shape."""
    return ".ply" if isinstance(shape, Mesh) else ".npz" if isinstance(shape, Curve) else ".csv"
