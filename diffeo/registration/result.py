"""What a registration gives back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from diffeo.core import Diffeo, Shape
from diffeo.fit import Record
from diffeo.io import transform
from diffeo.io.atomic import replacing
from diffeo.registration.course import HISTORY, write_history
from diffeo.registration.files import metadata, write_moved, write_warps
from diffeo.registration.label_maps import by_nearest
from diffeo.registration.origin import known, noted
from diffeo.registration.pyramid import images, points
from diffeo.viz import plot

PIXELS = 1600
"""How wide report.png is."""


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

    def plot(self, *, title: str | None = None) -> Figure:
        """The shapes before and after, the displacement, the deformed grid, and the course of the fit.

        Args:
            title: written above.
        """
        if images(self.source):
            a, b, c = (images(shape)[0] for shape in self._shapes())
            pairs = list(zip(points(self.moved), points(self.target), strict=True))
            return plot.image_registration(a, b, c, self.phi, self.history, title, points=pairs)
        (a,), (b,), (c,) = (points(shape) for shape in (self.source, self.target, self.moved))
        return plot.registration(a, b, c, self.phi, self.history, title)

    def _shapes(self) -> tuple[Shape, Shape, Shape]:
        """Source, target and moved for pictures: labels that were compared are drawn as labels."""
        labels = self.report.get("labels")
        return by_nearest(self.source, labels), by_nearest(self.target, labels), by_nearest(self.moved, labels)

    def animate(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        moments: int = 25,
        seconds: float = 4.0,
        dpi: float = 80,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Write a film of the source on its way to the target: a GIF, or an MP4 where ffmpeg is on the system.

        Args:
            path: ends in .gif or .mp4.
            title: written above.
            moments: of the way, at least 2, evenly spread over its length.
            seconds: from the first moment to the last; a film runs back, too.
            dpi: pixels per inch of the figure.
            progress: called with the frames that are drawn and how many there are.

        Returns: the path.
        Raises: ValueError for another suffix, for .mp4 without ffmpeg, and for numbers that make no film.
        """
        from diffeo.viz.film import Film, write_film
        from diffeo.viz.films.registration import registration_film

        def film() -> Film:
            parts = (*self._shapes(), self.phi, self.history)
            return registration_film(*parts, moments=moments, title=title or "Registration")

        return write_film(film, path, seconds=seconds, dpi=dpi, progress=progress)

    def to_html(self, path: str | Path, *, title: str | None = None) -> Path:
        """Write one page that explains itself and needs no network: shapes on their way, curves, all figures.

        Args:
            path: ends in .html.
            title: written above.

        Returns: the path.
        Raises: ValueError if the file cannot be written.
        """
        from diffeo.viz.page.registration import registration_page

        return registration_page(path, *self._shapes(), self.phi, self.history, self.report, title=title)

    def save(
        self,
        directory: str | Path,
        like: str | Path | Sequence[str | Path | None] | None = None,
        *,
        files: Mapping[str, str | Path] | None = None,
    ) -> Path:
        """Write ``moved.*``, ``transform.safetensors``, ``report.json``, ``report.png``, ``history.csv`` into a folder.

        For images also ``warp.nii.gz``, ``inverse_warp.nii.gz`` and ``jacobian.nii.gz``, as ITK and ANTs read them.
        `open_result` reads the folder again: report.json says where the shapes are, and what was read from no file that
        is known stands beside it, as ``source.safetensors`` and ``target.safetensors``.

        Args:
            directory: made if it is not there; files of these names are replaced, each only when it is complete.
            like: the file the source came from; ``moved`` then has its format, its connectivity and its attributes.
                For a compound, one for each part.
            files: which files the shapes were read from, by their roles: source, target, and mask, of the target.

        Returns: the folder.
        Raises: ValueError if it cannot be written.
        """
        folder = Path(directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {folder}: {error.strerror}; choose another one.") from None
        write_moved(folder, self.moved, self.target, [like] if like is None or isinstance(like, (str, Path)) else like)
        if files is None:
            files = {"source": like} if isinstance(like, (str, Path)) and known(like, self.source) else {}
        origin = noted(folder, {"source": self.source, "target": self.target}, files)
        transform.save(folder / "transform.safetensors", self.phi, metadata(self.report, self.source, self.target))
        if images(self.source):
            write_warps(folder, self.source, self.target, self.phi)
        write_history(folder / HISTORY, self.history)
        with replacing(folder / "report.json") as temporary:
            text = json.dumps(self.report | origin, indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        with replacing(folder / "report.png") as temporary:
            figure = self.plot()
            figure.savefig(temporary, dpi=PIXELS / figure.get_figwidth())
        return folder
