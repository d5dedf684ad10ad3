"""Densities that show themselves: as a picture, a film, a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from diffeo.diagnostics import DensityReport, density_report
from diffeo.estimators.columns import check_within
from diffeo.estimators.frame import Frame
from diffeo.estimators.shown import SHOWN, details, some
from diffeo.fit import History
from diffeo.laws import Law

PAGE = 25  # moments of a page's slider


class PicturedDensity(ABC):
    """What pictures need of a fitted density.

    Attributes:
        law_, history_, report_: the density, how it was fitted, and what was checked.
        rows_: some of the rows of the fit, and their context; not there if the density comes from a file.
        frame_: from the units of the table to those of the flow.
        n_context_: columns of the context.
    """

    law_: Law
    history_: History
    report_: DensityReport | None
    rows_: tuple[np.ndarray, np.ndarray | None]
    frame_: dict[str, Any]
    n_context_: int

    def plot(
        self,
        X: Any = None,
        context: Any = None,
        *,
        report: DensityReport | None = None,
        names: Sequence[str] = (),
        title: str | None = None,
    ) -> Any:
        """A figure: the density, rows beside draws, the flow, how it was fitted, what is known of it.

        Args:
            X: rows, shape (n, d); those of the fit (2,000 of them at most) if left out.
            context: of these rows, shape (n, k), where there is one.
            report: what is known of the density; `report_` if left out.
            names: of the columns, with their units, if not those that the fit was told.
            title: written above.

        Returns: a figure of matplotlib; ``figure.savefig("density.png")``.
        Raises: ValueError for names of other columns, for a context without its rows, and without rows, if the density
            comes from a file: files do not keep the rows.
        """
        from diffeo.viz.density_overview import density_overview

        *shown, c = self._shown("plot", X, context, report)
        return density_overview(*shown, context=c, names=list(names) or self._names(), title=title)

    def animate(
        self,
        path: str | Path,
        X: Any = None,
        context: Any = None,
        *,
        moments: int = 25,
        seconds: float = 4.0,
        dpi: float = 80,
        names: Sequence[str] = (),
        title: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """A film: rows are carried to the base, then draws of the base become draws of the density.

        Behind them is the density that each moment has: computed for one and two columns, told by draws for more, of
        which the first four are shown in pairs. Coordinates are those of the flow, standardized.

        Args:
            path: ends in .gif, or in .mp4 where ffmpeg is on the system.
            X: rows, shape (n, d); those of the fit (2,000 of them at most) if left out. 400 of them are seen.
            context: of these rows, shape (n, k), where there is one.
            moments: frames on the way there, and as many on the way back.
            seconds: of the way there, and of the way back.
            dpi: pixels per inch; a film is about 6 inches wide.
            names: of the columns, if not those that the fit was told.
            title: written above.
            progress: called with the frames that are drawn and how many there are.

        Returns: the path.
        Raises: ValueError for another suffix, numbers that make no film, and as ``plot`` does.
        """
        from diffeo.viz.film import write_film
        from diffeo.viz.films.density import DensityFilm

        def film() -> DensityFilm:
            return DensityFilm(self._way("animate", X, context, moments, names), title)

        return write_film(film, path, seconds=2 * seconds, back=False, dpi=dpi, progress=progress)

    def to_html(
        self,
        path: str | Path,
        X: Any = None,
        context: Any = None,
        *,
        report: DensityReport | None = None,
        names: Sequence[str] = (),
        title: str | None = None,
    ) -> Path:
        """One page to look at in a browser: rows on their way to the base, draws, the fit, figures; no network.

        Args:
            path: ends in .html.
            X, context, report, names, title: as for ``plot``.

        Returns: the path.
        Raises: ValueError for another suffix, and as ``plot`` does.
        """
        from diffeo.viz.page.density import check_page, density_page

        check_page(path)
        law, *shown, c = self._shown("to_html", X, context, report)
        way, more = self._way("to_html", X, context, PAGE, names), details(self, None)
        names = list(names) or self._names()
        return density_page(path, law, way, *shown, context=c, names=names, title=title, details=more)

    def _shown(self, who: str, X: Any, context: Any, report: DensityReport | None) -> Any:
        """What pictures are made of: the law, rows, draws, what is known, the course of the fit, the context if any."""
        rows, c, given = self._pictured(who, X, context)
        report = report or self.report_ or density_report(self.law_, torch.tensor(np.hstack([rows, c])))
        if self.n_context_:
            chosen = some(len(rows))
            rows, c = rows[chosen], c[chosen]
            drawn = self.sample(1, given[chosen], random_state=0)
        else:
            drawn = self.sample(SHOWN if rows.shape[1] > 2 else min(len(rows), SHOWN), random_state=0)
        x, y = torch.tensor(rows), torch.tensor(drawn)
        return self.law_, x, y, report, self.history_.records, torch.tensor(c) if self.n_context_ else None

    def _way(self, who: str, X: Any, context: Any, moments: int, names: Sequence[str]) -> Any:
        """Rows and draws between the density and its base."""
        from diffeo.viz.density_way import density_way

        rows, c, _ = self._pictured(who, X, context)
        names = list(names) or list(self._names())
        if names:
            numbered = ["context"] if self.n_context_ == 1 else [f"context {k + 1}" for k in range(self.n_context_)]
            names += getattr(self, "context_names_", numbered)
        return density_way(self.law_, torch.tensor(np.hstack([rows, c])), moments=moments, names=names)

    def _pictured(self, who: str, X: Any, context: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows for pictures, shape (n, d), their context as the law knows it, shape (n, k), and as it was given."""
        check_is_fitted(self, "law_")
        if X is None:
            if context is not None:
                raise ValueError(f"{who} expects rows X together with their context, or neither.")
            if not hasattr(self, "rows_"):
                raise ValueError(f"{who} expects rows: this density was loaded from a file, which keeps none.")
            X, context = self.rows_
        rows, frame = self._checked(X), Frame(**self.frame_)
        check_within(rows, frame.low, frame.high, type(self).__name__, self._names())
        return rows, self._context(context, len(rows)), np.asarray(context, dtype=np.float64)

    @abstractmethod
    def sample(
        self, n_samples: int = 1, context: Any = None, random_state: Any = None, return_log_prob: bool = False
    ) -> Any:
        """Draw new rows."""

    @abstractmethod
    def _checked(self, X: Any, reset: bool = False) -> np.ndarray:
        """Rows of finite numbers, as wide as those of the training. Raises ValueError otherwise."""

    @abstractmethod
    def _context(self, context: Any, n: int) -> np.ndarray:
        """The context of n rows, standardized, shape (n, k). Raises ValueError unless it is as in the training."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Of the columns, if they are known."""
