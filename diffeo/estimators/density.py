"""A normalizing flow as an estimator of scikit-learn: the registration of a density onto a law that is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from diffeo.core import Compose, Diffeo
from diffeo.diagnostics import Certificate, DensityReport, certificate, density_report
from diffeo.estimators.columns import LEAST_ROWS, check_density, check_within, split
from diffeo.estimators.density_pictured import PicturedDensity
from diffeo.estimators.density_recipe import DensityRecipe
from diffeo.estimators.density_training import FlowTraining
from diffeo.estimators.frame import Frame, bounds_of, periods_of
from diffeo.estimators.parts import plain
from diffeo.estimators.resnet import finite
from diffeo.estimators.shown import some
from diffeo.estimators.standardization import Standardization
from diffeo.estimators.watch import Watch
from diffeo.fit import History, Record
from diffeo.flows.frames import parted
from diffeo.laws import Law, Transported, Wrapped

CHUNK = 25_000  # rows that go through a flow at a time: work for all threads, and little memory
CONTRACTION, LAYERS = 0.95, 16  # of flows that are certified: closer to 1, or with more layers, nothing is gained


class DensityFlow(PicturedDensity, DensityMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""The density of a table of numbers, as $\log p(x) = \log p_0(\varphi(x)) + \log\det D\varphi(x)$.

    E(φ) = weight · ½∫‖v_t‖²_V dt − mean log p is made small over a flow φ and the parameters of a mixture of Gaussians
    p₀. What is left out is chosen by rows that are held out. With a context c it is the density p(x|c): a flow of
    (x, c) that leaves c alone.

    Integers are taken for real numbers, fewer rows than columns for what a smoothed density can be fitted to; columns
    that are constant, copies of each other, or follow from others have no density and are refused.

    Args:
        components: Gaussians in the mixture.
        depth: layers of the flow.
        width: inducing points of each layer's field.
        scale: of the kernels, in standardized units.
        weight: λ, the price of energy. Where one of these four is given, there is a flow onto one mixture, and nothing
            else is tried.
        certified: every layer is id + g with a Lipschitz constant of g that is below 1 whatever is trained, or moves
            columns alone, with slopes that are proven to be positive: φ is a diffeomorphism everywhere. Otherwise
            folds are looked for, at the data and in a box around them. As less can be done in a layer there are twice
            as many of them, which takes two to three times as long.
        bounds: {column: (low, high)} where values cannot lie beyond; ±inf for an open side.
        periods: {column: period} of columns that go round: angles, hours.
        validation_fraction: of the rows, held out to choose and to stop by, where no others are given.
        max_iter: passes over the data at most.
        time_limit: seconds after which training ends; None for no limit.
        dtype: precision of the training: "float32" or "float64"; what is computed afterwards is in float64.
        check: whether the density is checked after the fit.
        random_state: seed of all that is drawn at random.

    Attributes:
        law_: the density: a `Transported` law, or, with periods, a `Wrapped` one, in the units of the table; of rows
            (x, c) with standardized c, where there is a context.
        phi_: φ, from the units of the table to those of the base.
        history_: how training went.
        report_: what was checked afterwards, a `diagnostics.DensityReport`; None without ``check``.
        energy_: ½∫‖v_t‖²_V dt of φ, in standardized units.
        n_context_: columns of the context.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    law_: Law
    history_: History
    report_: DensityReport | None
    n_features_in_: int

    def __init__(
        self,
        *,
        components: int | None = None,
        depth: int | None = None,
        width: int | None = None,
        scale: float | None = None,
        weight: float | None = None,
        certified: bool = False,
        bounds: Mapping[Any, tuple[float, float]] | None = None,
        periods: Mapping[Any, float] | None = None,
        validation_fraction: float = 0.15,
        max_iter: int | None = None,
        time_limit: float | None = None,
        dtype: str = "float32",
        check: bool = True,
        random_state: int = 0,
    ) -> None:
        self.components, self.depth, self.width = components, depth, width
        self.scale, self.weight, self.certified = scale, weight, certified
        self.bounds, self.periods = bounds, periods
        self.validation_fraction = validation_fraction
        self.max_iter, self.time_limit = max_iter, time_limit
        self.dtype, self.check, self.random_state = dtype, check, random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        context: Any = None,
        validation: Any = None,
        callbacks: Sequence[Callable[[Record], None]] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Fit the density of rows X, shape (n, d).

        Args:
            X: rows of numbers, shape (n, d).
            y: nothing; scikit-learn wants it.
            context: c, shape (n, k), for the density p(x|c).
            validation: other rows of the same law, to choose and to stop by; with a context a pair (rows, context).
            callbacks: called with the `Record` of every iteration.
            checkpoint: a file that keeps what is needed to go on after an interruption.
            resume: go on from there.

        Raises: ValueError for data that have no density, and for settings that make no sense.
        """
        recipe = self._recipe()
        rows = self._checked(X, reset=True)
        names, who = self._names(), type(self).__name__
        check_density(rows, who, names)
        d = rows.shape[1]
        low, high = bounds_of(self.bounds, d, names)
        periods = periods_of(self.periods, d, names)
        check_within(rows, low, high, who, names)
        frame, z = Frame.of(rows, low, high, periods)
        self.frame_ = dataclasses.asdict(frame)
        c = self._learned_context(context, len(rows))
        train, table = np.hstack([z, c]), np.hstack([rows, c])
        if validation is None:
            chosen, left = split(len(rows), self.validation_fraction, recipe.seed)
            if len(chosen) < LEAST_ROWS - 1:
                raise ValueError(
                    f"validation_fraction expects a part that leaves {LEAST_ROWS - 1} rows or more to learn from: "
                    f"{self.validation_fraction:g} of {len(rows)} rows leaves {len(chosen)}."
                )
            train, held, table, held_table = train[chosen], train[left], table[chosen], table[left]
        else:
            others, theirs = paired(validation, context is not None, who)
            others, theirs = self._checked(others), self._context(theirs, len(others))
            check_within(others, low, high, who, names)
            held, held_table = np.hstack([frame.forward(others), theirs]), np.hstack([others, theirs])
        limit = math.inf if self.time_limit is None else self.time_limit
        watch = Watch(callbacks, checkpoint, resume)
        found = recipe.train(
            self._tensor(train), self._tensor(held), context=self.n_context_, time_limit=limit, watch=watch
        )
        self.energy_ = float(found.phi.energy())
        self.law_ = frame.law(found.phi, found.base, self.n_context_)
        self.history_ = found.history
        self.n_iter_ = max(1, len(found.history) - 1)
        shown = some(len(rows))
        self.rows_ = rows[shown], None if context is None else np.asarray(context, dtype=np.float64)[shown]
        self.report_ = None
        if self.check:
            self.report_ = density_report(self.law_, torch.tensor(table), validation=torch.tensor(held_table))
        return self

    @property
    def _flow(self) -> Transported:
        """The law before its periods."""
        check_is_fitted(self, "law_")
        law = self.law_.law if isinstance(self.law_, Wrapped) else self.law_
        assert isinstance(law, Transported)
        return law

    @property
    def _n_features_out(self) -> int:
        """For scikit-learn to name the columns of `transform`."""
        return self.n_features_in_

    @property
    def phi_(self) -> Diffeo:
        """φ, from the units of the table to those of the base."""
        return self._flow.phi

    @property
    def geodesic_distance_(self) -> float:
        """√(2E), how far the identity is from φ at most, in standardized units: no path is shorter than a geodesic."""
        check_is_fitted(self, "law_")
        return math.sqrt(2 * self.energy_)

    def certificate(self) -> Certificate:
        """What is proven of the flow for all points, layer by layer, between changes of units.

        How tight it is at rows, `report_` says. A map that only changes units has no layers.
        """
        parts = parted(self.phi_)[1]
        return certificate(Compose(parts)) if parts else Certificate([])

    def score_samples(self, X: Any, context: Any = None) -> np.ndarray:
        """log p of every row of X, shape (n,), in nats per unit of volume; −∞ for rows beyond the bounds."""
        return self.log_prob(X, context)

    def log_prob(self, X: Any, context: Any = None) -> np.ndarray:
        """log p of every row of X, shape (n,), in nats per unit of volume; −∞ for rows beyond the bounds."""
        check_is_fitted(self, "law_")
        rows = self._checked(X)
        c, inside = self._context(context, len(rows)), Frame(**self.frame_).inside(rows)
        found = np.full(len(rows), -math.inf)
        found[inside] = through(self.law_.log_prob, np.hstack([rows, c])[inside])
        return found

    def score(  # pyright: ignore[reportIncompatibleMethodOverride] - scikit-learn's says that it returns nothing
        self, X: Any, y: Any = None, context: Any = None
    ) -> float:
        """The mean of log p over the rows of X: the larger the better."""
        return float(self.log_prob(X, context).mean())

    def transform(self, X: Any, context: Any = None) -> np.ndarray:
        """φ of the rows of X, shape (n, d): where they have the law of the base."""
        check_is_fitted(self, "law_")
        rows, names = self._checked(X), self._names()
        frame = Frame(**self.frame_)
        check_within(rows, frame.low, frame.high, type(self).__name__, names)
        c = self._context(context, len(rows))
        return through(self.phi_, np.hstack([frame.wrap(rows), c]))[:, : rows.shape[1]]

    def inverse_transform(self, Z: Any, context: Any = None) -> np.ndarray:
        """φ⁻¹ of points Z, shape (n, d)."""
        check_is_fitted(self, "law_")
        z = check_array(Z, dtype="float64", ensure_all_finite=False)  # of columns that are not those of the table
        finite(z, "inverse_transform", [])
        if z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"inverse_transform expects points of shape (n, {self.n_features_in_}), and got {z.shape}."
            )
        c = self._context(context, len(z))
        return Frame(**self.frame_).shown(through(self.phi_.inverse, np.hstack([z, c]))[:, : z.shape[1]])

    def sample(
        self, n_samples: int = 1, context: Any = None, random_state: Any = None, return_log_prob: bool = False
    ) -> Any:
        """Draw new rows.

        Args:
            n_samples: how many; with a context, as many for each of its rows.
            context: c, shape (m, k).
            random_state: a seed or a generator of numpy; fresh numbers if left out.
            return_log_prob: their log-densities, too.

        Returns: rows, shape (n, d), or (m·n, d), those of the first row of the context first; with log-densities a
            pair.
        """
        check_is_fitted(self, "law_")
        if isinstance(n_samples, bool) or not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
            raise ValueError(f"sample expects a whole number of rows, 1 or more, and got {n_samples!r}.")
        draw = torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))
        flow, given = self._flow, None
        if self.n_context_:
            rows = np.empty((0, 0)) if context is None else np.asarray(context, dtype=np.float64)
            rows = rows[:, None] if rows.ndim == 1 else rows
            if not rows.size:
                raise ValueError(
                    f"sample expects a context of shape (m, {self.n_context_}), a row or more: the density is one for "
                    "each context."
                )
            given = np.repeat(rows, n_samples, axis=0)
            c = self._context(given, len(given))
            x = through(lambda part: flow.sample_given(part, draw), c)
        else:
            self._context(context, int(n_samples))
            x = through(flow.phi.inverse, flow.base.sample(int(n_samples), draw).numpy())
        x = Frame(**self.frame_).shown(x)
        return (x, self.log_prob(x, given)) if return_log_prob else x

    def _recipe(self) -> DensityRecipe:
        """What is asked for, and the defaults of the rest. Raises ValueError for what makes no sense."""
        seed = self.random_state
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"random_state expects a whole number, 0 or more, and got {seed!r}.")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype expects 'float32' or 'float64', and got {self.dtype!r}.")
        part = self.validation_fraction
        if part is None or isinstance(part, str) or not 0 < part < 1:
            raise ValueError(f"validation_fraction expects a part between 0 and 1, and got {part!r}.")
        asked = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        for name in ("components", "depth", "width", "max_iter"):
            value = asked[name]
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} expects a whole number, 1 or more, and got {value!r}.")
        for name in ("scale", "weight", "time_limit"):
            value = asked[name]
            fine = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
            if value is not None and not (fine and (value > 0 or name == "weight")):
                least = "0 or more" if name == "weight" else "above 0"
                raise ValueError(f"{name} expects a number, {least}, and got {value!r}.")
        given = {name: asked[name] for name in ("depth", "width", "scale", "weight")} | {"epochs": asked["max_iter"]}
        given = {name: value for name, value in given.items() if value is not None}
        if not isinstance(self.certified, (bool, np.bool_)):
            raise ValueError(f"certified expects True or False, and got {self.certified!r}.")
        flow = FlowTraining(contraction=CONTRACTION, depth=LAYERS) if self.certified else FlowTraining()
        flow = dataclasses.replace(flow, **given)
        only = any(name in given for name in ("depth", "width", "scale", "weight"))
        return DensityRecipe(components=asked["components"], flow=flow, flow_only=only, seed=int(seed))

    def _learned_context(self, context: Any, n: int) -> np.ndarray:
        """The context, standardized; remembered how."""
        c = np.empty((n, 0)) if context is None else np.asarray(context, dtype=np.float64)
        c = c[:, None] if c.ndim == 1 else c
        if context is not None and (c.ndim != 2 or not c.size):
            raise ValueError(f"{type(self).__name__} expects a context of shape (n, k), and got {c.shape}.")
        columns = Standardization.of(c) if c.size else Standardization(np.empty(0), np.empty(0))
        self.n_context_, self.context_center_, self.context_spread_ = c.shape[1], columns.center, columns.spread
        return self._context(context, n)

    def _context(self, context: Any, n: int) -> np.ndarray:
        """The context of n rows, standardized, shape (n, k). Raises ValueError unless it is as in the training."""
        who, k = type(self).__name__, self.n_context_
        if context is None and k == 0:
            return np.empty((n, 0))
        c = np.empty(0) if context is None else np.asarray(context, dtype=np.float64)
        c = c[:, None] if c.ndim == 1 and k == 1 else c
        if c.shape != (n, k):
            wanted = f"a context of shape ({n}, {k})" if k else "no context, as in its training"
            raise ValueError(f"{who} expects {wanted}, and got {'none' if context is None else c.shape}.")
        finite(c, f"{who}'s context", [])
        return Standardization(self.context_center_, self.context_spread_).forward(c)

    def _checked(self, X: Any, reset: bool = False) -> np.ndarray:
        """Rows of finite numbers, as wide as those of the training. Raises ValueError otherwise."""
        X = validate_data(self, X, dtype=np.float64, reset=reset, ensure_all_finite=False)
        finite(X, type(self).__name__, self._names())
        return X

    def _names(self) -> list[str]:
        return [str(name) for name in getattr(self, "feature_names_in_", getattr(self, "names_", []))]

    def _tensor(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(getattr(torch, self.dtype))


def paired(validation: Any, conditional: bool, who: str) -> tuple[Any, Any]:
    """Rows and their context. Raises ValueError unless they come as a pair where there is one, and as rows else."""
    pair = isinstance(validation, tuple) or (conditional and isinstance(validation, list) and len(validation) == 2)
    if not conditional and not pair:
        return validation, None
    if conditional and pair and len(validation) == 2:
        return validation[0], validation[1]
    expected = "a pair (rows, context), as there is a context" if conditional else "rows, as there is no context"
    raise ValueError(f"{who} expects validation to be {expected}, and got a {type(validation).__name__}.")


def through(function: Callable[[Tensor], Tensor], rows: np.ndarray) -> np.ndarray:
    """A function of rows, shape (n, d), so many at a time."""
    if not len(rows):
        return np.empty((0, rows.shape[1]))[:, 0]
    with torch.no_grad():
        return torch.cat([function(part) for part in torch.tensor(rows).split(CHUNK)]).numpy()
