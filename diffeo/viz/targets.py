"""What rows are to be told by: how targets look, and which directions tell them apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from numpy.typing import NDArray

from diffeo.viz.view import Array

SHRINKAGE = 0.05  # of covariances toward a multiple of the identity, relative to their mean eigenvalue
REPRODUCED = "The read-out reproduces these rows: others tell more, plot(X, y)."


class Fact(NamedTuple):
    """One figure, as tables show it."""

    name: str
    value: float | int | str | None
    """None where it has no meaning."""
    unit: str
    meaning: str


class Dots(NamedTuple):
    """Rows that look alike, as they are drawn."""

    artist: PathCollection
    rows: NDArray[np.intp]
    """Which rows, shape (m,)."""


class Axis(NamedTuple):
    """What stands at an axis: a name, and texts at places instead of numbers, if there are any."""

    name: str
    ticks: tuple[Sequence[float], Sequence[str]] | None = None


class Group(NamedTuple):
    """Rows that are shown and hidden together on a page."""

    name: str
    color: str
    rows: NDArray[np.intp]
    """Which, shape (m,), at least one."""
    visible: bool = True


class Key(NamedTuple):
    """What colors and marks mean."""

    lines: int
    """Of small text."""
    draw: Callable[[Axes], None]
    """Fills axes that show nothing else."""


class Target(ABC):
    """The truth about n rows, and what a network answers for them.

    Attributes:
        answers: shape (n, k): probabilities of k classes, or k values.
        which: what the rows are, such as training rows.
    """

    answers: Array
    which: str

    @property
    @abstractmethod
    def aim(self) -> str:
        """What directions do that are chosen by it, in words: tell the classes apart, say."""

    @abstractmethod
    def directions(self, z: Array) -> Array:
        """Directions that tell the targets of points z, shape (n, d), best first, shape (d, m); there may be none."""

    @property
    @abstractmethod
    def heights(self) -> Array:
        """Where rows are drawn beside their only coordinate, shape (n,)."""

    @property
    @abstractmethod
    def height(self) -> Axis:
        """What these heights are."""

    @abstractmethod
    def dots(self, ax: Axes, xy: Array, rows: NDArray[np.intp]) -> list[Dots]:
        """Draw these rows at places xy, shape (n, 2), so that their targets can be told."""

    @abstractmethod
    def rings(self, ax: Axes, xy: Array, rows: NDArray[np.intp]) -> None:
        """Mark those of these rows that are answered wrong, where that can be said."""

    @abstractmethod
    def key(self, letters: int, most: int = 99) -> Key:
        """What colors and marks mean, with so many letters to a line, and so many lines at most."""

    @abstractmethod
    def landscape(self, ax: Axes, x: Array, y: Array, answers: Array, faint: bool = False) -> None:
        """Draw answers over a rectangle with centers of cells x, (a,), and y, (b,): answers of shape (b, a, k)."""

    @abstractmethod
    def read_line(self, ax: Axes, x: Array, answers: Array) -> None:
        """Draw answers, shape (m, k), at positions x on the line, shape (m,), behind rows at their heights."""

    @abstractmethod
    def curve(self, ax: Axes, x: Array, answers: Array, at: Array, rows: NDArray[np.intp]) -> None:
        """Draw answers, shape (m, k), over the only column x, shape (m,), with these of the rows ``at``, shape (n,)."""

    @abstractmethod
    def errors(self, ax: Axes) -> None:
        """Draw by how much answers are right or wrong."""

    @abstractmethod
    def judged(self, ax: Axes) -> None:
        """Draw answers against the truth."""

    @abstractmethod
    def facts(self) -> list[Fact]:
        """How good the answers are."""

    @abstractmethod
    def scores(self, found: dict[str, Any], rows: str) -> list[Fact]:
        """The same of other rows, from a report of `diffeo train`."""

    @abstractmethod
    def groups(self) -> list[Group]:
        """The rows, by what they are told apart by on a page."""

    @abstractmethod
    def quantities(self) -> dict[str, Array]:
        """What rows can be colored by, shape (n,) each."""

    @property
    @abstractmethod
    def signed(self) -> Sequence[str]:
        """Which of these quantities may be of either sign, and mean nothing at 0."""

    @property
    @abstractmethod
    def telling(self) -> str | None:
        """Which of them colors a page at first; None for the groups' own colors."""


def leading(matrix: Array, count: int) -> Array:
    """The first left singular vectors, orthonormal, shape (d, ≤ count), without those of no weight."""
    u, s, _ = np.linalg.svd(matrix, full_matrices=False)
    return u[:, : min(count, int((s > 1e-8 * max(s[0], 1e-300)).sum()))] if s.size and s[0] > 0 else u[:, :0]


def shrunk_covariance(centered: Array) -> Array:
    """Of rows with mean zero, shape (n, d); positive definite, shape (d, d)."""
    covariance = centered.T @ centered / max(len(centered), 1)
    d = len(covariance)
    return covariance + (SHRINKAGE * float(np.trace(covariance)) / d + 1e-12) * np.eye(d)
