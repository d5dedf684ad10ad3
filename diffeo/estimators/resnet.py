"""scikit-learn's estimators, trained as registrations: of data onto labels, of data onto values."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from diffeo.core import Diffeo, Field, Loss, Solver
from diffeo.estimators.defaults import LABELS, VALUES, Recipe
from diffeo.estimators.network import Settings, train
from diffeo.estimators.parts import plain
from diffeo.estimators.pictured import Pictured
from diffeo.estimators.shown import some
from diffeo.estimators.standardization import Standardization
from diffeo.estimators.watch import Watch
from diffeo.fit import History, Record
from diffeo.heads import ReadIn
from diffeo.losses import CrossEntropyLoss
from diffeo.shapes import Points
from diffeo.training import Way


class ResNet(Pictured, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    r"""What both estimators share: standardized columns, a diffeomorphism φ, a read-out.

    E(φ) = weight · ½∫‖v_t‖²_V dt + D(φ(x), y) is made small over the fields v_1 … v_L of a residual network
    $z_{k+1} = z_k + v_k(z_k)/L$.

    What is left out is chosen: without field, head and train, extra dimensions, affine layers and another solver, all
    follow the `Recipe` of `diffeo.estimators.defaults`: learned scales, a flow along random features, a Gaussian
    process that learns its kernel to read out. Else they are "kernel", "linear", "lbfgs", of depth 10 and width 256,
    with weight 1e-4, penalty 1e-3, and 200 iterations.

    Args:
        field: the space of the velocities: "kernel", "features", "perceptron", "random-perceptron", "conv",
            "random-conv", or a `Field`.
        head: how targets are read out: "linear", "ridge", "kernel-ridge", or a loss with a read-out.
        train: how: "gradient", "v-gradient", "annealed", "lbfgs", "shooting", "descent", "msa", "emsa", or a `Way`.
        depth: number L of layers; a descent has as many as iterations.
        width: features, hidden units or inducing points of a field.
        scale: width of the kernels, in units of standardized columns over √p; found from the data if left out.
        weight: λ, the price of energy.
        penalty: of exact read-outs.
        solver: "euler", "midpoint", "heun", "rk4", or a `Solver`.
        extra_dims: dimensions added to the data, all zero: what cannot be untangled in the plane can be in space.
        affine_layers: learned affine maps that alternate with the parts of the diffeomorphism.
        max_iter: iterations at most; epochs, with minibatches; steps, if annealed.
        tol: relative decrease over five iterations below which training ends.
        time_limit: seconds after which training ends; None for no limit.
        dtype: precision: "float32" or "float64".
        random_state: seed of all that is drawn at random.

    Attributes:
        phi_: the diffeomorphism of R^d; every tool for shapes works on it.
        read_in_, read_out_: what comes before and after it.
        unit_: what standardized columns are divided by.
        center_, spread_: of the columns, shape (p,).
        history_: how training went.
        rows_: up to 2,000 of the training rows and their targets, for pictures.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    phi_: Diffeo
    read_in_: ReadIn
    read_out_: Loss
    history_: History

    def __init__(
        self,
        field: str | Field | None = None,
        head: str | Loss | None = None,
        train: str | Way | None = None,
        depth: int | None = None,
        width: int | None = None,
        scale: float | None = None,
        weight: float | None = None,
        penalty: float | None = None,
        solver: str | Solver = "euler",
        extra_dims: int = 0,
        affine_layers: int = 0,
        max_iter: int | None = None,
        tol: float = 1e-5,
        time_limit: float | None = None,
        dtype: str = "float32",
        random_state: int = 0,
    ) -> None:
        self.field, self.head, self.train = field, head, train
        self.depth, self.width, self.scale = depth, width, scale
        self.weight, self.penalty, self.solver = weight, penalty, solver
        self.extra_dims, self.affine_layers = extra_dims, affine_layers
        self.max_iter, self.tol, self.time_limit = max_iter, tol, time_limit
        self.dtype, self.random_state = dtype, random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # that of the network is chosen by ``dtype``
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        callbacks: Sequence[Callable[[Record], None]] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train on rows X, shape (n, p), and their targets.

        Args:
            X: rows of numbers, shape (n, p).
            y: labels, shape (n,), of a classifier; values, shape (n,) or (n, k), of a regressor.
            callbacks: called with the `Record` of every iteration.
            checkpoint: a file that keeps what is needed to go on after an interruption.
            resume: go on from there.

        Raises: ValueError for data and settings that cannot be trained on.
        """
        self._learn(X, y, self._settings(), Watch(callbacks, checkpoint, resume))
        return self

    @abstractmethod
    def _learn(self, X: Any, y: Any, settings: Settings, watch: Watch) -> None:
        """Check the targets, bring them into the form a network is trained on, and train."""

    def encode(self, X: Any) -> Tensor:
        """Where φ begins for rows of X, shape (n, d): standardized, in units of √p, with extra dimensions."""
        check_is_fitted(self, "phi_")
        return self._encoded(self._checked_rows(X))

    def _encoded(self, rows: np.ndarray) -> Tensor:
        with torch.no_grad():
            return self.read_in_(self._rows(rows) / self.unit_)

    def transform(self, X: Any) -> np.ndarray:
        """φ of the rows of X, shape (n, d): the representation that is read out."""
        check_is_fitted(self, "phi_")
        start = self.encode(X)
        with torch.no_grad():
            return self.phi_(start).numpy()

    @property
    def _n_features_out(self) -> int:
        """d, for scikit-learn to name the columns of `transform`."""
        check_is_fitted(self, "phi_")
        with torch.no_grad():
            return self.read_in_(torch.zeros(1, len(self.center_), dtype=getattr(torch, self.dtype))).shape[1]

    def certificate(self, X: Any = None) -> Any:
        """Lipschitz constants and invertibility, layer by layer, and how tight they are (on rows X, if given)."""
        from diffeo.diagnostics import certificate

        return certificate(self.phi_, None if X is None else self.encode(X))

    def _settings(self) -> Settings:
        seed = self.random_state
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise ValueError(f"random_state expects a whole number, and got {seed!r}.")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype expects 'float32' or 'float64', and got {self.dtype!r}.")
        names = Settings.__dataclass_fields__
        given = {name: value for name, value in self.get_params(deep=False).items() if name in names}
        return Settings(**{name: plain(value) for name, value in given.items() if value is not None}, seed=int(seed))

    def _recipe(self, classes: bool) -> Recipe | None:
        """What is done unless a field, a head, a way to train, or what else it does not have, is asked for."""
        others = (self.field, self.head, self.train)
        if any(other is not None for other in others) or self.extra_dims or self.affine_layers:
            return None
        if self.solver != "euler":
            return None
        given = {"depth": self.depth, "width": self.width, "scale": self.scale, "weight": self.weight}
        given |= {"penalty": self.penalty, "steps": self.max_iter, "seed": int(self.random_state)}
        given = {name: plain(value) for name, value in given.items() if value is not None}
        return dataclasses.replace(LABELS if classes else VALUES, **given)

    def _checked(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows and targets, remembered in number and names. Raises ValueError for what cannot be trained on."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=False, multi_output=True, y_numeric=False)
        finite(X, type(self).__name__, self._names())
        if len(X) < 2:
            raise ValueError(f"{type(self).__name__} expects two rows or more (n_samples), and got {len(X)} sample.")
        columns = Standardization.of(X)
        self.center_, self.spread_ = columns.center, columns.spread
        return X, y

    def _names(self) -> list[str]:
        return [str(name) for name in getattr(self, "feature_names_in_", getattr(self, "names_", []))]

    def _checked_rows(self, X: Any) -> np.ndarray:
        """Rows as wide as those of the training. Raises ValueError otherwise."""
        X = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False)
        finite(X, type(self).__name__, self._names())
        return X

    def _rows(self, X: np.ndarray) -> Tensor:
        """Standardized."""
        return torch.from_numpy(Standardization(self.center_, self.spread_).forward(X)).to(getattr(torch, self.dtype))

    def _train(self, X: np.ndarray, y: Tensor, settings: Settings, classes: bool, watch: Watch) -> None:
        """Train, and keep what came out."""
        recipe = self._recipe(classes)
        if recipe is None:
            network = train(self._rows(X), y, settings, classes=classes, watch=watch)
        else:
            limit = math.inf if settings.time_limit is None else settings.time_limit
            network = recipe.train(self._rows(X), y, classes=classes, time_limit=limit, watch=watch)
        self.phi_, self.read_in_, self.read_out_ = network.phi, network.read_in, network.read_out
        self.unit_, self.history_ = network.unit, network.history
        self.n_iter_ = max(1, len(network.history) - 1)

    def _scores(self, X: Any) -> np.ndarray:
        start = self.encode(X)
        with torch.no_grad():
            return self._read_out(self.phi_(start))

    def _read_out(self, z: Tensor) -> np.ndarray:
        predict: Any = self.read_out_
        with torch.no_grad():
            return predict.predict(Points(z)).double().numpy()


class ResNetClassifier(ClassifierMixin, ResNet):
    """A residual network that carries points to where their classes can be told apart; arguments: see `ResNet`.

    Attributes:
        classes_: the labels, sorted.
    """

    def _learn(self, X: Any, y: Any, settings: Settings, watch: Watch) -> None:
        """From labels y, shape (n,)."""
        X, y = self._checked(X, y)
        y = flat(y, type(self).__name__)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"ResNetClassifier expects at least two classes, and got one class only: {self.classes_.tolist()[0]!r}."
            )
        self._train(X, torch.from_numpy(labels.reshape(-1)).long(), settings, True, watch)
        kept = some(len(X))
        self.rows_ = X[kept], y[kept]

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores, shape (n, k); with two classes the difference of the second and the first, shape (n,)."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Labels, shape (n,)."""
        scores = self._scores(X)
        return self.classes_[scores.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, shape (n, k): softmax of scores, or, of exact read-outs, their positive parts, normalized."""
        return self._probabilities(self._scores(X))

    def _probabilities(self, scores: np.ndarray) -> np.ndarray:
        if isinstance(self.read_out_, CrossEntropyLoss):
            return torch.from_numpy(scores).softmax(1).numpy()
        positive = np.maximum(scores, 1e-6)
        return positive / positive.sum(1, keepdims=True)

    def _answers(self, z: Tensor) -> np.ndarray:
        return self._probabilities(self._read_out(z))

    def _target(self, y: Any, answers: np.ndarray, which: str, names: Sequence[str]) -> Any:
        from diffeo.viz.target_labels import Labels

        y = flat(np.asarray(y), "ResNetClassifier")
        unknown = sorted(set(y.tolist()) - set(self.classes_.tolist()), key=str)
        if unknown or len(y) != len(answers):
            problem = f"the label {unknown[0]!r}, which is none" if unknown else f"{len(y)} for {len(answers)} rows"
            raise ValueError(f"pictures expect for every row one of the labels of the training, and got {problem}.")
        return Labels(np.searchsorted(self.classes_, y), answers, [str(label) for label in self.classes_], which)


class ResNetRegressor(RegressorMixin, ResNet):
    """A residual network that carries points to where their values can be read out; arguments: see `ResNet`."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn(self, X: Any, y: Any, settings: Settings, watch: Watch) -> None:
        """From values y, shape (n,) or (n, k)."""
        values = np.asarray(y)
        if np.issubdtype(values.dtype, np.floating) and values.ndim in (1, 2):
            finite(values.reshape(len(values), -1), "ResNetRegressor", ["y"] if values.ndim == 1 else [])
        X, y = self._checked(X, y)
        if not np.issubdtype(np.asarray(y).dtype, np.number):
            y = numbers(y)
        y = np.asarray(y, dtype=np.float64)
        self.single_output_ = y.ndim == 1
        values = y.reshape(len(y), -1)
        targets = Standardization.of(values)
        self.target_center_, self.target_spread_ = targets.center, targets.spread
        standard = torch.from_numpy(targets.forward(values)).to(getattr(torch, self.dtype))
        self._train(X, standard, settings, False, watch)
        kept = some(len(X))
        self.rows_ = X[kept], y[kept]

    def predict(self, X: Any) -> np.ndarray:
        """Values, shape (n,) or (n, k)."""
        values = self._values(self._scores(X))
        return values[:, 0] if self.single_output_ else values

    def _values(self, scores: np.ndarray) -> np.ndarray:
        return Standardization(self.target_center_, self.target_spread_).backward(scores)

    def _answers(self, z: Tensor) -> np.ndarray:
        return self._values(self._read_out(z))

    def _target(self, y: Any, answers: np.ndarray, which: str, names: Sequence[str]) -> Any:
        from diffeo.viz.target_values import Values

        truth = numbers(np.asarray(y))
        truth = truth[:, None] if truth.ndim == 1 else truth
        if truth.shape != answers.shape:
            raise ValueError(f"pictures expect values of shape {answers.shape}, as predicted, and got {truth.shape}.")
        finite(truth, "ResNetRegressor", ["y"])
        k = truth.shape[1]
        own = [str(name) for name in names] if len(names) == k else []
        return Values(truth, answers, own or (["y"] if k == 1 else [f"y{j + 1}" for j in range(k)]), which)


def finite(x: np.ndarray, who: str, names: list[str]) -> None:
    """Raise ValueError, naming the column and the row, unless all numbers are finite."""
    bad = ~np.isfinite(x)
    if not bad.any():
        return
    column = int(bad.any(0).argmax())
    name = f" ({names[column]})" if column < len(names) else ""
    raise ValueError(
        f"{who} expects finite numbers: column {column}{name} has {int(bad[:, column].sum())} NaN or infinite values "
        f"(inf), the first in row {int(bad[:, column].argmax())}; fill them in or drop these rows."
    )


def flat(y: np.ndarray, who: str) -> np.ndarray:
    """One target per row. Raises ValueError for several; warns, as scikit-learn does, of a column."""
    from sklearn.utils import column_or_1d

    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(f"{who} expects one label per row, shape (n,), and got {y.shape}.")
    return column_or_1d(y, warn=True)


def numbers(y: np.ndarray) -> np.ndarray:
    """Targets as numbers. Raises ValueError if they are none."""
    if any(not isinstance(value, Real) for value in np.asarray(y, dtype=object).reshape(-1)[:1000]):
        raise ValueError(
            "ResNetRegressor expects numbers as targets, and got other objects: for labels use a classifier."
        )
    return np.asarray(y, dtype=np.float64)
