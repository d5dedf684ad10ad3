"""What a trained network is to pictures, films and pages: rows, their way through the layers, and what is read out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.viz.learning import short
from diffeo.viz.targets import Axis, Target
from diffeo.viz.timeline import between
from diffeo.viz.view import Array, array

CHUNK = 256  # rows whose whole way through the layers is kept at a time
MEASURED = 1e9  # multiplications that determinants may take
LINES, FINE = 21, 60  # of a grid that is carried along; points on each line
MARGIN = 0.06  # around the rows, relative to their extent
SUBSCRIPTS = "₁₂₃"
TURN, TILT = np.radians(-60), np.radians(30)
SIDEWAYS = np.array(
    [
        [-np.sin(TURN), -np.cos(TURN) * np.sin(TILT)],
        [np.cos(TURN), -np.sin(TURN) * np.sin(TILT)],
        [0.0, np.cos(TILT)],
    ]
)
"""To the right and upward, for a parallel projection of space from the right and from above."""


@dataclass(frozen=True)
class Learned:
    """A trained network, and rows to look at it by.

    Attributes:
        phi: the diffeomorphism of R^d.
        rows: shape (n, p), in the units of the table.
        start: where φ begins for these rows, shape (n, d).
        target: the truth about them, and what is answered.
        encode: where φ begins for other rows, shape (m, p).
        read: what is answered at positions after φ, shape (m, d): as ``target.answers``, shape (m, k).
        energies: each layer's part of the energy of φ, shape (L,).
        names: of the p columns, with their units; may be empty.
        records: one per iteration of the training; may be empty.
        certificate: as `diffeo.diagnostics.certificate` gives it, with or without points; None where nothing is proven.
        report: other figures: as `diffeo train` writes them.
    """

    phi: Diffeo
    rows: Array
    start: Tensor
    target: Target
    encode: Callable[[Array], Tensor]
    read: Callable[[Tensor], Array]
    energies: Array
    names: Sequence[str] = ()
    records: Sequence[Any] = ()
    certificate: Any = None
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def column_names(self) -> list[str]:
        """What the columns are called, p of them; no part is read as mathematics."""
        p = self.rows.shape[1]
        given = [short(name, 28) for name in self.names] if len(self.names) == p else []
        return given or ([f"$x_{{{k + 1}}}$" for k in range(p)] if p > 1 else ["x"])

    def answers(self, rows: Array) -> Array:
        """What is answered for rows, shape (m, p): shape (m, k)."""
        with torch.no_grad():
            parts = np.array_split(rows, max(1, len(rows) // 4096))
            return np.concatenate([self.read(self.phi(self.encode(part))) for part in parts])

    def box(self, column: int) -> tuple[float, float]:
        """Between what values a column is shown, in its units."""
        low, high = float(self.rows[:, column].min()), float(self.rows[:, column].max())
        room = MARGIN * (high - low) or 0.5
        return low - room, high + room

    def sheet(self) -> Tensor | None:
        """Lines of the plane, or the line, in which rows of one or two columns lie: shape (lines, points, d).

        None where there are more columns, or where all that happens is on a line.
        """
        p, d = self.rows.shape[1], self.start.shape[1]
        if p == 1 and d > 1:
            lines = np.linspace(*self.box(0), 10 * FINE)[None, :, None]
        elif p == 2:
            (a, b), (c, e) = self.box(0), self.box(1)
            along = np.linspace(0, 1, FINE)
            across = np.linspace(0, 1, LINES)[:, None]
            one = np.stack(np.broadcast_arrays(a + (b - a) * across, c + (e - c) * along), -1)
            other = np.stack(np.broadcast_arrays(a + (b - a) * along, c + (e - c) * across), -1)
            lines = np.concatenate([one, other])
        else:
            return None
        return self.encode(lines.reshape(-1, p)).reshape(*lines.shape[:2], d)


@dataclass(frozen=True)
class View:
    """How points of R^d are seen: along orthonormal directions, shape (d, w), the same at all moments.

    Attributes:
        matrix: the directions.
        axes: what stands at the axes.
        remark: which directions they are, in a sentence; empty for the coordinates themselves.
        heights: on a line, where rows are drawn beside their coordinate, shape (n,).
        oblique: whether three coordinates are seen from the side, and their directions are to be drawn.
    """

    matrix: Array
    axes: Sequence[Axis]
    remark: str = ""
    heights: Array | None = None
    oblique: bool = False


def view(learned: Learned, width: int = 2) -> View:
    """How rows are seen in ``width`` dimensions, or fewer if φ lives in fewer.

    Where R^d is no larger these are its coordinates; a plane that bends in space is seen from the side; otherwise
    along the directions that tell targets apart after the last layer.
    """
    d, target = learned.start.shape[1], learned.target
    if d == 1:
        return View(np.eye(1), (Axis("z (standardized)"), target.height), heights=target.heights)
    if d <= width:
        return View(np.eye(d), [Axis(f"z{SUBSCRIPTS[k]} (standardized)") for k in range(d)])
    if d == 3 and learned.rows.shape[1] < 3:
        return View(SIDEWAYS, [Axis(""), Axis("")], "Space is seen from the side.", oblique=True)
    with torch.no_grad():
        end = array(learned.phi(learned.start))
    chosen = target.directions(end)[:, :width]
    found = _completed(chosen, end, width)
    sign = np.sign(found[np.abs(found).argmax(0), np.arange(width)])
    count = {2: "two", 3: "three"}[width]
    remark = f"Seen along {count} fixed directions of the {d}, {_how(chosen.shape[1], width, target.aim)}."
    return View(found * sign, [Axis(f"direction {k + 1}") for k in range(width)], remark)


def _how(count: int, width: int, aim: str) -> str:
    """How directions were chosen, the first so many by an aim."""
    if count == 0:
        return "along which rows are spread most after the last layer"
    verb, what = aim.split(" ", 1)
    first = f"the one that best {verb}s {what}" if count == 1 else f"those that best {verb} {what}"
    if count == width:
        return f"{first} after the last layer"
    return f"{first} after the last layer, and the longest of the others"


def _completed(chosen: Array, z: Array, width: int) -> Array:
    """Orthonormal directions, those chosen first, then the principal axes of what they leave, shape (d, width)."""
    centered = z - z.mean(0)
    left = centered - centered @ chosen @ chosen.T
    axes = np.linalg.eigh(left.T @ left)[1][:, ::-1]
    return np.linalg.qr(np.concatenate([chosen, axes], 1))[0][:, :width]


@dataclass(frozen=True)
class Course:
    """Rows, and what goes along, at T moments.

    Attributes:
        at: how many layers are done, shape (T,), from 0 to L; not whole in between.
        rows: where rows are seen, shape (T, n, w).
        sheet: where the lines of the input space are seen, shape (T, lines, points, w), if there are any.
        moved: how far rows are from where they began, in R^d, shape (T, n).
    """

    at: Array
    rows: Array
    sheet: Array | None
    moved: Array

    @property
    def layers(self) -> int:
        """L."""
        return round(float(self.at[-1]))


@torch.no_grad()
def course(learned: Learned, seen: View, moments: int) -> Course:
    """Follow rows through the layers, at moments evenly spread over the length of their way.

    Raises: ValueError for fewer than two moments.
    """
    if moments < 2:
        raise ValueError(f"a way is followed over 2 moments or more, and got {moments}.")
    parts = [_followed(learned.phi, x, seen.matrix) for x in learned.start.split(CHUNK)]
    rows, moved, steps = (np.concatenate([part[k] for part in parts], 1) for k in range(3))
    length = np.r_[0.0, steps.mean(1).cumsum()]
    ends = np.arange(len(length))
    at = (
        np.interp(np.linspace(0, length[-1], moments), length, ends)
        if length[-1]
        else np.linspace(0, ends[-1], moments)
    )
    if seen.heights is not None:
        rows = np.stack([rows[..., 0], np.broadcast_to(seen.heights, rows.shape[:2])], -1)
    sheet = learned.sheet() if learned.start.shape[1] > 1 else None
    lines = None
    if sheet is not None:
        carried = [_followed(learned.phi, x, seen.matrix)[0] for x in sheet.flatten(0, 1).split(CHUNK)]
        path = np.concatenate(carried, 1)
        lines = between(path.reshape(len(path), *sheet.shape[:2], -1), at)
    return Course(at, between(rows, at), lines, between(moved, at))


def _followed(phi: Diffeo, x: Tensor, matrix: Array) -> tuple[Array, Array, Array]:
    """Where x is seen after each layer, how far from the start, and how far each layer moved it."""
    path = [array(y) for y in phi.path(x)]
    moved = [np.linalg.norm(y - path[0], axis=1) for y in path]
    steps = [np.linalg.norm(b - a, axis=1) for a, b in pairwise(path)]
    return np.stack([y @ matrix for y in path]), np.stack(moved), np.stack(steps or [np.zeros(len(x))])[: len(path) - 1]


@torch.no_grad()
def volumes(learned: Learned) -> Array:
    """log det Dφ at the rows, or at the first of them where d is large, shape (m,); NaN where φ folds."""
    d = learned.start.shape[1]
    rows = max(8, int(MEASURED / (d**3 * max(1, len(learned.phi.path(learned.start[:1])) - 1))))
    parts = learned.start[:rows].split(CHUNK)
    return np.concatenate([array(learned.phi.with_logdet(part)[1]) for part in parts])
