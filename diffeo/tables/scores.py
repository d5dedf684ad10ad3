"""How good predictions are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def classification_scores(truth: Array, predicted: Array) -> dict[str, float]:
    """The share of rows that are right, and its mean over the classes that occur."""
    right = truth == predicted
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[truth == label].mean() for label in np.unique(truth)])),
    }


def regression_scores(truth: Array, predicted: Array) -> dict[str, float]:
    """Root mean squared and mean absolute error, in the units of the target; R², NaN where all targets are the same."""
    error = predicted - truth
    size = float(np.abs(error).max()) or 1.0  # squares of huge values are infinite
    rmse = size * float(np.sqrt(np.mean((error / size) ** 2)))
    spread = float(np.abs(truth - truth.mean()).max())
    varied = spread * float(np.sqrt(np.mean(((truth - truth.mean()) / (spread or 1.0)) ** 2)))
    return {
        "rmse": rmse,
        "mae": float(np.abs(error).mean()),
        "r2": 1 - (rmse / varied) ** 2 if varied else float("nan"),
    }


def confusion(truth: Array, predicted: Array, classes: Array) -> NDArray[np.int64]:
    """How often class i, in rows, is taken for class j, in columns: shape (k, k); other classes are left out."""
    places = {label: k for k, label in enumerate(classes.tolist())}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    known = [(places[t], places[p]) for t, p in zip(truth.tolist(), predicted.tolist(), strict=True) if t in places]
    np.add.at(counts, tuple(np.array(known, np.int64).reshape(-1, 2).T), 1)
    return counts


def held_out(target: Array, share: float, seed: int, by_class: bool) -> tuple[Array, Array]:
    """The rows to train on and the rows to hold out, in order: a share of all, of each class alike if ``by_class``.

    Every class keeps a row to train on; where there are fewer than ten rows to be shared, none is held out of them.
    """
    draw = np.random.default_rng(seed)
    groups = [np.flatnonzero(target == label) for label in np.unique(target)] if by_class else [np.arange(len(target))]
    order = [draw.permutation(group) for group in groups]
    # the rows of all classes in turn: the first ones of each class, then the second ones, …
    ranks = np.concatenate([(np.arange(len(group)) + 0.5) / len(group) for group in order])
    rows = np.concatenate(order)
    ties = draw.random(len(rows))
    count = round(share * len(rows)) if len(rows) >= 10 else 0
    eligible = np.concatenate([np.arange(len(group)) < len(group) - 1 for group in order])
    chosen = np.lexsort((ties, ranks, ~eligible))[: min(count, int(eligible.sum()))]
    out = np.zeros(len(target), bool)
    out[rows[chosen]] = True
    return np.flatnonzero(~out), np.flatnonzero(out)
