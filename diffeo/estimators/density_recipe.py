"""How a density is fitted unless something else is asked for: a mixture, and a flow that carries the data to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.estimators.watch import Watch
from diffeo.fields import Conditioned, KernelField
from diffeo.fit import Batches, Cosine, History, fit
from diffeo.flows import Flow
from diffeo.kernels import GaussianKernel
from diffeo.laws import Conditional, Law, Mixture
from diffeo.losses import NLLLoss
from diffeo.shapes import Samples
from diffeo.solvers import Euler


@dataclass(frozen=True)
class Fitted:
    """What came out.

    Attributes:
        phi: φ, in standardized units.
        base: the law that it carries the data to.
        history: of the training.
    """

    phi: Diffeo
    base: Law
    history: History


@dataclass(frozen=True)
class DensityRecipe:
    """φ = a flow of ``depth`` layers along kernels on ``width`` points, a mixture of Gaussians as the base.

    Attributes:
        components: of the mixture; chosen by validation if left out.
        depth, width: layers, and inducing points of each.
        scale: of the kernels, in standardized units.
        weight: λ, the price of energy.
        batch: samples that a step looks at.
        epochs: passes over the data.
        floor: determinants of layers below it are held off while training.
        seed: of all draws.
    """

    components: int | None = None
    depth: int = 8
    width: int = 50
    scale: float = 0.7
    weight: float = 1e-4
    batch: int = 500
    epochs: int = 20
    floor: float = 0.2
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
        watch = watch or Watch()
        watch.open(x, validation, self)
        joint = self.mixture(x, validation)
        base = Conditional(joint, context) if context else joint
        draw = torch.Generator().manual_seed(self.seed)
        controls = x[torch.randperm(len(x), generator=draw)[: self.width]]
        field = KernelField(GaussianKernel(self.scale), controls)
        phi = Flow(Conditioned(field, context) if context else field, Euler(), self.depth)
        low, high = x.amin(0), x.amax(0)
        witnesses = low + (high - low) * (torch.rand(256, x.shape[1], generator=draw).to(x) * 1.2 - 0.1)
        history = fit(
            phi,
            Batches(
                x,
                size=min(self.batch, len(x)),
                seed=self.seed,
                shape=partial(Samples, floor=self.floor, witnesses=witnesses),
            ),
            NLLLoss(base),
            weight=self.weight,
            optimizer=partial(torch.optim.Adam, lr=5e-3),
            schedule=Cosine(),
            validation=partial(self._held_out, phi, base, validation),
            max_iterations=self.epochs,
            time_limit=time_limit,
            **watch.options(),
        )
        return Fitted(phi.requires_grad_(False), base.requires_grad_(False), history)

    def mixture(self, x: Tensor, validation: Tensor) -> Mixture:
        """The mixture of Gaussians that fits best."""
        from sklearn.mixture import GaussianMixture

        rows, held = x.double().numpy(), validation.double().numpy()
        counts = [self.components] if self.components else [k for k in (1, 2, 4, 8, 16, 32) if 10 * k <= len(x)] or [1]
        models = [GaussianMixture(k, reg_covar=1e-3, random_state=self.seed).fit(rows) for k in counts]
        best = models[int(np.argmax([model.score(held) for model in models]))]
        weights, means, covariances = (torch.from_numpy(a) for a in (best.weights_, best.means_, best.covariances_))
        return Mixture(weights, means, torch.linalg.cholesky(covariances), trained=True).to(x)

    def _held_out(self, phi: Diffeo, base: Law, validation: Tensor) -> float:
        """Of the validation set; infinite where φ folds there."""
        with torch.no_grad():
            z, logdet = phi.with_logdet(validation)
            value = float(-(base.log_prob(z) + logdet).mean())
        return value if math.isfinite(value) else math.inf
