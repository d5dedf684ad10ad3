"""Networks that show themselves: as a picture, a film, a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.estimators.shown import details, energies, proven
from diffeo.fit import History


class Pictured(ABC):
    """What pictures need of a trained network.

    Attributes:
        phi_: the diffeomorphism.
        history_: how training went.
        rows_: some of the training rows, and their targets; not there if the network comes from a file.
        n_features_in_: columns of the rows.
    """

    phi_: Diffeo
    history_: History
    rows_: tuple[np.ndarray, np.ndarray]
    n_features_in_: int

    def plot(
        self,
        X: Any = None,
        y: Any = None,
        *,
        names: Sequence[str] = (),
        title: str | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> Any:
        """A figure: the data on their way through the layers, answers, the training, and what is known of the network.

        Args:
            X: rows, shape (n, p), with their targets y; rows of the training (2,000 of them at most) if left out.
            y: as ``fit`` takes them.
            names: of the columns, with their units, if not those that the fit was told; those of values may follow.
            title: written above.
            report: other figures to be told, as `diffeo train` writes them into ``report.json``.

        Returns: a figure of matplotlib; ``figure.savefig("network.png")``.
        Raises: ValueError without rows, if the network comes from a file: files do not keep the rows.
        """
        from diffeo.viz.learning_overview import learning_overview

        return learning_overview(self._shown("plot", X, y, names, report), title=title)

    def animate(
        self,
        path: str | Path,
        X: Any = None,
        y: Any = None,
        *,
        names: Sequence[str] = (),
        title: str | None = None,
        moments: int = 25,
        seconds: float = 4.0,
        dpi: float = 80,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """A film of the data on their way through the layers.

        Args:
            path: ends in .gif, or in .mp4 where ffmpeg is on the system.
            X, y, names, title: as for ``plot``.
            moments: how many there are from the first layer to the last, evenly along the way.
            seconds: from the first moment to the last.
            dpi: pixels per inch; a film is about 5 inches wide.
            progress: called with the frames that are drawn and how many there are.

        Returns: the path.
        Raises: ValueError as ``plot`` does, and for a film that cannot be written.
        """
        from diffeo.viz.film import write_film
        from diffeo.viz.films.learning import LearningFilm

        def film() -> LearningFilm:
            return LearningFilm(self._shown("animate", X, y, names), moments, title=title)

        return write_film(film, path, seconds=seconds, dpi=dpi, progress=progress)

    def to_html(
        self,
        path: str | Path,
        X: Any = None,
        y: Any = None,
        *,
        names: Sequence[str] = (),
        title: str | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> Path:
        """One page to look at in a browser: the data in motion, answers, layers, figures; it needs no network.

        Args:
            path: the file.
            X, y, names, title, report: as for ``plot``.

        Returns: the path.
        Raises: ValueError as ``plot`` does.
        """
        from diffeo.viz.page.learning import learning_page

        shown = self._shown("to_html", X, y, names, report)
        return learning_page(path, shown, title=title, details=details(self, report))

    def _shown(self, who: str, X: Any, y: Any, names: Sequence[str], report: Mapping[str, Any] | None = None) -> Any:
        """What pictures are made of."""
        from diffeo.viz.learned import Learned

        check_is_fitted(self, "phi_")
        if X is None and y is None:
            if not hasattr(self, "rows_"):
                raise ValueError(f"{who} expects rows: this network was loaded from a file, which keeps none.")
            (rows, y), which = self.rows_, "training rows"
        elif X is None or y is None:
            raise ValueError(f"{who} expects rows X together with their targets y, or neither.")
        else:
            rows, which = self._checked_rows(X), "rows"
        given, p = list(names) or self._names(), self.n_features_in_
        start = self._encoded(rows)
        with torch.no_grad():
            answers = self._answers(self.phi_(start))
        report = dict(report or {})
        return Learned(
            self.phi_,
            rows,
            start,
            self._target(y, answers, which, given[p:] or ([report["target"]] if "target" in report else [])),
            self._encoded,
            self._answers,
            energies(self.phi_),
            given[:p],
            self.history_.records,
            proven(self.phi_, start),
            report,
        )

    @abstractmethod
    def _target(self, y: Any, answers: np.ndarray, which: str, names: Sequence[str]) -> Any:
        """The truth about rows and what is answered, as pictures take it."""

    @abstractmethod
    def _answers(self, z: Tensor) -> np.ndarray:
        """Probabilities, or values, shape (n, k), read out at z, shape (n, d), where φ ends."""

    @abstractmethod
    def _checked_rows(self, X: Any) -> np.ndarray:
        """Rows as wide as those of the training. Raises ValueError otherwise."""

    @abstractmethod
    def _encoded(self, rows: np.ndarray) -> Tensor:
        """Where φ begins for rows, shape (n, d)."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Of the columns, if they are known."""
