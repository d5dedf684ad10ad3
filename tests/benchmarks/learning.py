"""Learning from tables: UCI regression on its 20 standard splits, and handwritten digits in five folds.

Everybody gets standardized columns and its own usual settings, the same for all tables; what smooth peers must be told
(a penalty, a width) they choose by cross-validation on the training rows. Targets: the best smooth model on four of
five tables, within 5 % on the fifth; 98.9 % of the digits; at most 60 CPU-seconds per split, and for five folds.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import diffeo
from tests.benchmarks.images import DATA
from tests.benchmarks.measure import once, table

TABLES = ("yacht", "energy", "concrete", "wine-quality-red", "power-plant")
BEST_SMOOTH = {"yacht": 0.327, "energy": 0.480, "concrete": 5.33, "wine-quality-red": 0.624, "power-plant": 3.93}
ROWS = 2000  # of a table at most, for peers whose time or memory grows with the cube: a subset, drawn at random


@dataclass(frozen=True)
class Split:
    """Rows to learn from, and others."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def split_of(folder: Path, k: int) -> Split:
    """The k-th standard split of a table."""
    data = np.loadtxt(folder / "data.txt")
    columns = np.loadtxt(folder / "index_features.txt").astype(int)
    target = int(np.loadtxt(folder / "index_target.txt"))
    train, test = (np.loadtxt(folder / f"index_{part}_{k}.txt").astype(int) for part in ("train", "test"))
    return Split(data[train][:, columns], data[train, target], data[test][:, columns], data[test, target])


def folds() -> list[Split]:
    """Digits, five stratified folds."""
    X, y = load_digits(return_X_y=True)
    parts = StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)
    return [Split(X[train], y[train], X[test], y[test]) for train, test in parts]


def standardized(model: Any) -> Any:
    """For values."""
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), model), transformer=StandardScaler())


def searched(model: Any, grid: dict[str, list[float]]) -> Any:
    """The best of a grid, on the training rows."""
    return standardized(GridSearchCV(model, grid, cv=3))


def perceptron(kind: Any, *layers: int) -> Any:
    """A network of scikit-learn."""
    return kind(hidden_layer_sizes=layers, max_iter=500, early_stopping=kind is MLPRegressor)


Regressor = tuple[Callable[[], Any], int | None]  # how it is made, and how many rows it can take

REGRESSORS: dict[str, Regressor] = {
    "diffeo": (diffeo.ResNetRegressor, None),
    "Gaussian process": (
        lambda: standardized(
            GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel(0.1), n_restarts_optimizer=1)
        ),
        ROWS // 2,
    ),
    "kernel ridge": (
        lambda: searched(KernelRidge(kernel="rbf"), {"alpha": [1e-3, 1e-2, 1e-1], "gamma": [0.03, 0.1, 0.3]}),
        ROWS,
    ),
    "SVM": (lambda: searched(SVR(), {"C": [1, 10, 100], "gamma": [0.03, 0.1, 0.3]}), ROWS),
    "MLP": (lambda: standardized(perceptron(MLPRegressor, 50, 50)), None),
    "boosted trees": (HistGradientBoostingRegressor, None),
}
SUPPORT: dict[str, Any] = {"C": 10, "gamma": 1e-3}  # usual for digits

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "diffeo": diffeo.ResNetClassifier,
    "SVM": lambda: SVC(**SUPPORT),
    "1-NN": lambda: KNeighborsClassifier(1),
    "MLP": lambda: make_pipeline(StandardScaler(), perceptron(MLPClassifier, 100)),
    "boosted trees": HistGradientBoostingClassifier,
}


def error(model: Any, split: Split, rows: int | None) -> float:
    """Root mean square on the test rows."""
    n = len(split.x)
    some = np.random.default_rng(0).permutation(n)[:rows] if rows is not None and n > rows else np.arange(n)
    model.fit(split.x[some], split.y[some])
    return float(np.sqrt(np.mean((model.predict(split.x_test) - split.y_test) ** 2)))


def regressed(folder: Path, splits: int, regressor: Regressor) -> tuple[float, float]:
    """Mean test error, and CPU-seconds a split."""
    make, rows = regressor
    timings = [once(partial(error, make(), split_of(folder, k), rows)) for k in range(splits)]
    return float(np.mean([t.result for t in timings])), float(np.mean([t.cpu for t in timings]))


def regression(folder: Path, splits: int) -> None:
    """Print test errors on a table, and as ratios to ours."""
    runs = {name: regressed(folder, splits, regressor) for name, regressor in REGRESSORS.items()}
    ours, seconds = runs["diffeo"]
    rows = [
        [name, f"{rmse:.3f}", f"{rmse / ours:.2f}", f"{cpu:.1f}", f"{cpu / seconds:.2f}"]
        for name, (rmse, cpu) in runs.items()
    ]
    rows.append(["best smooth model, 20 splits", f"{BEST_SMOOTH[folder.name]:.3f}", "", "", ""])
    print(f"\n{folder.name}, {splits} splits")
    print(table(["", "test RMSE", "ratio", "CPU-s a split", "ratio"], rows))


def classified(make: Callable[[], Any]) -> tuple[float, float]:
    """Mean accuracy in per cent, and CPU-seconds for all folds."""
    timings = [once(lambda s=s: make().fit(s.x, s.y).score(s.x_test, s.y_test)) for s in folds()]
    return 100 * float(np.mean([t.result for t in timings])), sum(t.cpu for t in timings)


def classification() -> None:
    """Print accuracies on digits, and errors as ratios to ours."""
    runs = {name: classified(make) for name, make in CLASSIFIERS.items()}
    ours, seconds = runs["diffeo"]
    rows = [
        [name, f"{accuracy:.2f}", f"{(100 - accuracy) / (100 - ours):.2f}", f"{cpu:.1f}", f"{cpu / seconds:.2f}"]
        for name, (accuracy, cpu) in runs.items()
    ]
    print("\ndigits, five folds")
    print(table(["", "accuracy %", "errors, ratio", "CPU-s", "ratio"], rows))


def main(arguments: list[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks learning", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("DIFFEO_DATA", DATA), help="holds tables/…")
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=TABLES, help="which of them")
    parser.add_argument("--splits", type=int, default=20, help="how many of the 20 standard splits")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ConvergenceWarning)  # peers are stopped where they usually are
    classification()
    for name in options.tables:
        folder = Path(options.data) / "tables" / name
        if folder.exists():
            regression(folder, options.splits)
        else:
            print(f"\nskipped: {folder} is not there; name the folder with --data or DIFFEO_DATA.")
