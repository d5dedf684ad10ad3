"""How a density is fitted unless something else is asked for: marginals, a mixture, and a flow, each if it helps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffeo.core import Compose, Diffeo
from diffeo.estimators.density_training import FlowTraining
from diffeo.estimators.marginals import marginal_flow, shrinkage_of
from diffeo.estimators.watch import Watch
from diffeo.fit import History, fit
from diffeo.flows import LearnedAffine
from diffeo.laws import Conditional, Law, Mixture, MixtureFit, Shrinkage, chosen_fit
from diffeo.laws.mixture_fit import LARGE, resolution
from diffeo.losses import NLLLoss
from diffeo.shapes import Samples

COUNTS = (1, 2, 4, 8, 12, 16, 24, 32, 48)  # of components in a single mixture, that are tried
TRIAL = (8, 48)  # components at most of the mixtures that tell whether marginal maps help: of few rows, of many
FEW = 500  # rows, below which a flow has nothing to learn that averaged mixtures have not
MANY = 8  # columns, beyond which kernels on inducing points see none of their neighbors
SUBSET = 20_000  # rows by which mixtures and maps of columns are found; more only cost time
SURE = 1.0  # standard errors by which maps of columns must be better on rows that are held out
GAIN = 0.2  # nats that a flow may gain on its mixture; where averaged ones are better by more, there is none


@dataclass(frozen=True)
class Fitted:
    """What came out.

    Attributes:
        phi: φ, in standardized units.
        base: the law that it carries the data to.
        history: of the training; of one record where nothing had to be trained.
    """

    phi: Diffeo
    base: Law
    history: History


@dataclass(frozen=True)
class DensityRecipe:
    """Maps of single columns; a mixture of Gaussians; a flow and its mixture: what rows that are held out are for.

    Few rows, or many columns, are best described by averages of mixtures, behind maps that straighten columns out; many
    rows in few dimensions by a flow onto a single mixture that is trained along.

    Attributes:
        components: of the mixture; chosen by likelihood of other rows if left out.
        flow: how a flow and the mixture are trained together.
        flow_only: there is a flow, onto a single mixture, whatever the data are.
        seed: of all draws.
    """

    components: int | None = None
    flow: FlowTraining = field(default_factory=FlowTraining)
    flow_only: bool = False
    seed: int = 0

    def train(
        self,
        x: Tensor,
        validation: Tensor,
        *,
        context: int = 0,
        time_limit: float = math.inf,
        watch: Watch | None = None,
    ) -> Fitted:
        """Train on standardized rows x, shape (n, d); ``validation``, shape (m, d), chooses.

        The last ``context`` columns are what the density of the others is conditioned on.
        """
        watch, start = watch or Watch(), time.perf_counter()
        watch.open(x, validation, self)
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(self.seed))]
        if context or self.flow_only:
            single = self.single(x, validation)
            base = Conditional(single, context) if context else single
            return Fitted(*self._trained(x, validation, base, context, time_limit, start, watch))
        first, history = mapped(x, validation, time_limit, certified=self.flow.contraction is not None)
        y, held = moved(first, x), moved(first, validation)
        averaged = self.averaged(y)
        history = history or measured(averaged, y)
        if len(x) < FEW or x.shape[1] > MANY:
            return Fitted(first, averaged, history)
        base, reached = self.single(y, held), mean_likelihood(averaged, held)
        if reached > mean_likelihood(base, held) + GAIN:
            return Fitted(first, averaged, history)
        flow, base, history = self._trained(y, held, base, 0, time_limit, start, watch)
        if reached > mean_likelihood(base, held, flow):
            return Fitted(first, averaged, history)
        return Fitted(Compose([first, flow]), base, history)

    def _trained(
        self, x: Tensor, validation: Tensor, base: Law, context: int, time_limit: float, start: float, watch: Watch
    ) -> tuple[Diffeo, Law, History]:
        training, spent = replace(self.flow, seed=self.seed), time.perf_counter() - start
        phi, history = training.train(x, validation, base, context, time_limit, spent, watch)
        return phi, base.requires_grad_(False), history

    def single(self, x: Tensor, validation: Tensor) -> Mixture:
        """The mixture of Gaussians for rows x that is best for the validation set, to be trained along."""
        counts = [self.components] if self.components else [k for k in COUNTS if 10 * k <= len(x)] or [1]
        how = Shrinkage(strength=0.1, toward_diagonal=0.0, floor=resolution(x) + 1e-4)
        fits = [MixtureFit(k, how, starts=1, outliers=False, iterations=100, seed=self.seed) for k in counts]
        found = [mixture.fit(x[:SUBSET], trained=True) for mixture in fits]
        return max(found, key=lambda law: mean_likelihood(law, validation))

    def averaged(self, x: Tensor) -> Mixture:
        """An average of mixtures of Gaussians for rows x."""
        x = x[:SUBSET]
        if self.components is None:
            return chosen_fit(x, seed=self.seed).fit(x)
        return replace(trial(x), components=self.components, starts=6, seed=self.seed).fit(x)


def mapped(x: Tensor, validation: Tensor, time_limit: float, certified: bool = False) -> tuple[Diffeo, History | None]:
    """Maps of single columns and of their units, if small mixtures say of the validation set that they help.

    Otherwise the identity, and no history. Maps that are to be certified are proven to be invertible.
    """
    rest, x = LearnedAffine(x.shape[1], trained=False).to(x), x[:SUBSET]
    flow, history = marginal_flow(x, time_limit=time_limit, certified=certified)
    if history is None:
        return rest, None
    flow = flow.requires_grad_(False)
    y = moved(flow, x.double())
    spread = y.std(0, correction=0)
    units = LearnedAffine(
        y.shape[1], trained=False, matrix=(-spread.log()).diag(), translation=-y.mean(0) / spread, diagonal=True
    )
    phi, held = Compose([flow, units]), validation.double()
    y = moved(phi, x.double())
    gain = likelihoods(trial(y).fit(y), held, phi) - likelihoods(trial(x).fit(x.double()), held)
    sure = gain.mean() > SURE * gain.std() / math.sqrt(len(gain)) if len(gain) > 1 else gain.mean() > 0
    return (phi, history) if bool(sure) else (rest, None)


def measured(law: Law, x: Tensor) -> History:
    """The history of a fit in which nothing moves: how likely rows x, shape (n, d), are under the law."""
    rest = LearnedAffine(x.shape[1], trained=False).to(x)
    history = fit(rest, [(Samples(x), None)], NLLLoss(law), weight=0.0, max_iterations=0)
    history.converged, history.reason = True, "there was nothing to train"
    return history


def trial(x: Tensor) -> MixtureFit:
    """A mixture that is quickly fitted to rows x, shape (n, d)."""
    strength = 3.0 if x.shape[1] < MANY else 30.0
    how = Shrinkage(strength=strength, toward_diagonal=shrinkage_of(x), floor=resolution(x))
    n = len(x)
    return MixtureFit(max(1, min(TRIAL[0], n // 20) if n < LARGE else min(TRIAL[1], n // 100)), how, starts=2)


@torch.no_grad()
def likelihoods(law: Law, x: Tensor, phi: Diffeo | None = None) -> Tensor:
    """log p of rows x, shape (n, d), which φ carries to the law; −∞ where it cannot be computed."""
    z, logdet = (x, x.new_zeros(len(x))) if phi is None else phi.with_logdet(x)
    return (law.log_prob(z) + logdet).nan_to_num(nan=-math.inf, neginf=-math.inf)


def mean_likelihood(law: Law, x: Tensor, phi: Diffeo | None = None) -> float:
    """The mean of `likelihoods`."""
    return float(likelihoods(law, x, phi).mean())


@torch.no_grad()
def moved(phi: Diffeo, x: Tensor) -> Tensor:
    """φ(x), computed in the precision of φ."""
    like = next(phi.parameters())
    return phi(x.to(like)).to(x)
