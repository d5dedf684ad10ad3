"""Whether the columns of a table have a joint density at all, and which rows are held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffeo.estimators.standardization import Standardization

OUTLYING = 1e-7  # of the spread: where the middle half of a column is narrower, its spread is that of a few outliers
ALIKE = 1e-6  # of what is taken for the spread of a column, which for nearly equal numbers is their size
LEAST_ROWS = 5  # some to fit, and one to be held out
SAME = 1e-10  # one minus the correlation of columns that are the same but for rounding


def check_density(rows: NDArray[np.float64], who: str, names: list[str]) -> None:
    """Raise ValueError where rows, shape (n, d), cannot have a density; integers are taken for real numbers.

    Fewer rows than columns are enough for a density that is smoothed, but not fewer than five.
    """
    n, d = rows.shape
    label = [repr(names[k]) if k < len(names) else str(k) for k in range(d)]
    if n < LEAST_ROWS:
        raise ValueError(
            f"{who} expects {LEAST_ROWS} rows or more, and got n_samples={n}: one sample or two tell no law."
        )
    constant = np.flatnonzero(rows.max(0) == rows.min(0))
    if len(constant):
        raise ValueError(
            f"{who} expects columns that vary: column {label[constant[0]]} is {rows[0, constant[0]]:g} in all {n} "
            "rows, and has no density; leave it out."
        )
    frame = Standardization.of(rows)
    alike = np.flatnonzero(np.abs(rows - frame.center).max(0) < ALIKE * frame.spread)
    if len(alike):
        k = alike[0]
        raise ValueError(
            f"{who} expects columns whose numbers differ in more than their last digits: column {label[k]} goes from "
            f"{rows[:, k].min():.17g} to {rows[:, k].max():.17g}; subtract what they have in common."
        )
    z = frame.forward(rows)
    low, high = np.quantile(z, [0.25, 0.75], axis=0)
    varied = np.array([len(np.unique(column)) > max(2, n // 10) for column in rows.T])
    outlying = np.flatnonzero((high - low < OUTLYING) & varied)
    if len(outlying):
        k = outlying[0]
        worst = int(np.abs(z[:, k]).argmax())
        raise ValueError(
            f"{who} expects columns of one order of magnitude each: against {rows[worst, k]:g} in row {worst} of "
            f"column {label[k]}, all other rows are the same number; leave such rows out, or take logarithms."
        )
    _check_copies(z, who, label)
    if n > d:
        _check_independent(z, who, label)


def _check_copies(z: NDArray[np.float64], who: str, label: list[str]) -> None:
    """Raise ValueError where standardized columns are the same."""
    correlation = np.abs(z.T @ z) / len(z)
    same = np.argwhere(np.triu(correlation, 1) > 1 - SAME)
    if len(same):
        i, j = same[0]
        raise ValueError(
            f"{who} expects columns that are not copies: columns {label[i]} and {label[j]} say the same, and together "
            "they have no density; leave one out."
        )


def _check_independent(z: NDArray[np.float64], who: str, label: list[str]) -> None:
    """Raise ValueError where standardized columns follow from others."""
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    if values[0] < SAME and len(np.unique(z, axis=0)) > z.shape[1]:
        involved = [label[k] for k in np.flatnonzero(np.abs(vectors[:, 0]) > 1e-4)]
        raise ValueError(
            f"{who} expects columns of which none follows from others: there is a linear relation between columns "
            f"{', '.join(involved)}, and together they have no density; leave one of them out."
        )


def check_within(
    rows: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], who: str, names: list[str]
) -> None:
    """Raise ValueError unless rows, shape (n, d), lie strictly within the bounds, shape (d,)."""
    outside = ~((rows > low) & (rows < high))
    if not outside.any():
        return
    k = int(outside.any(0).argmax())
    row = int(outside[:, k].argmax())
    name = f" ({names[k]})" if k < len(names) else ""
    raise ValueError(
        f"{who} expects column {k}{name} strictly between {low[k]:g} and {high[k]:g}: {int(outside[:, k].sum())} rows "
        f"are not, the first row {row} with {rows[row, k]:g}; correct them, or give wider bounds."
    )


def split(n: int, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of n rows in two parts, drawn at random: what is trained on, and what is held out; one row at least."""
    held = min(max(round(fraction * n), 1), n - 1)
    order = np.random.default_rng(seed).permutation(n)
    return order[held:], order[:held]
