"""How a flow and the mixture it carries the data to are trained together, and what is not accepted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from diffeo.core import Diffeo, Field
from diffeo.estimators.slowing import slowed
from diffeo.estimators.watch import Watch
from diffeo.fields import Conditioned, Contractive, TrainedKernelField
from diffeo.fit import Averaged, Batches, Cosine, History, fit
from diffeo.flows import Flow
from diffeo.kernels import GaussianKernel
from diffeo.laws import Law
from diffeo.losses import NLLLoss
from diffeo.shapes import Samples
from diffeo.solvers import Euler

MARGIN = 0.5  # of the box in which nothing may fold, around the data, in standardized units
LEAST = 0.05  # determinants of layers: with smaller ones, on points looked at, nothing is accepted


@dataclass(frozen=True)
class FlowTraining:
    r"""A flow that begins at the identity, and a base that begins as a mixture was found; then both move together.

    What limits densities is not how well they fit, but how soon they overfit. These have shown to help: many inducing
    points in each layer, each of which moves little; small batches; a mixture that moves fifty times faster than the
    flow, and whose noise is averaged away; and to end where validation knows nothing better, be it where it began.

    Attributes:
        depth, width: layers, and inducing points of each.
        scale: of the kernels at the start, in standardized units; √d/5 if left out.
        weight: λ, the price of energy.
        rate, base_rate: step lengths of Adam, of the flow and of the mixture.
        batch: samples that a step looks at.
        steps: of the optimizer, about; or so many that every row is seen 20 times, up to four times as many.
        epochs: passes over the data, instead of ``steps``.
        patience: passes without improvement, as a part of all of them, after which training ends.
        decay: of the average over steps.
        floor: determinants of layers below it are held off while training.
        witnesses: points per step, off the data, where they are held off, too.
        contraction: c < 1, to get layers id + g with Lip(g) < c whatever is trained, so that none folds, anywhere;
            nothing is held off then.
        seed: of all draws.
    """

    depth: int = 8
    width: int = 256
    scale: float | None = None
    weight: float = 1e-4
    rate: float = 3e-3
    base_rate: float = 0.1
    batch: int = 250
    steps: int = 1200
    epochs: int | None = None
    patience: float = 0.5
    decay: float = 0.995
    floor: float = 0.2
    witnesses: int = 64
    contraction: float | None = None
    seed: int = 0

    def train(
        self, x: Tensor, validation: Tensor, base: Law, context: int, time_limit: float, spent: float, watch: Watch
    ) -> tuple[Flow, History]:
        """The flow for rows x, shape (n, d), and how it was trained; the base is left as it belongs to it.

        Args:
            x: what is trained on.
            validation: rows that choose, shape (m, d).
            base: trained along.
            context: columns, the last ones, that stay where they are.
            time_limit: seconds, after which training ends.
            spent: seconds of them that are over.
            watch: who looks on, and where the training is kept.
        """
        phi, box = self.flow(x, context), Box.around(x, self.seed)
        places = torch.cat([validation, box.points(2048)])
        free = self.contraction is None
        shape = partial(guarded, box, self.floor, self.witnesses) if free else Samples
        size = min(self.batch, len(x))
        passes = self.steps / math.ceil(len(x) / size)
        epochs = self.epochs or max(1, round(max(passes, min(20, 4 * passes))))
        history = fit(
            phi,
            Batches(x, size=size, seed=self.seed, shape=shape),
            NLLLoss(base),
            weight=self.weight,
            optimizer=Averaged(partial(adam, base, self.rate, self.base_rate), self.decay),
            schedule=Cosine(warmup=0.05),
            validation=partial(held_out, phi, base, validation, places, LEAST if free else 0.0),
            patience=math.ceil(self.patience * epochs),
            max_iterations=epochs,
            time_limit=time_limit,
            spent=spent,
            **watch.options(),
        )
        phi.requires_grad_(False)
        momenta = [p for name, p in phi.named_parameters() if name.endswith("momenta")]
        slowed(phi, momenta, torch.cat([x, validation, box.points(8192)]), least=0.0)
        return phi, history

    def flow(self, x: Tensor, context: int = 0) -> Flow:
        """The identity, with inducing points near data x, shape (n, d)."""
        draw = torch.Generator().manual_seed(self.seed)
        kernel = GaussianKernel(math.sqrt(x.shape[1]) / 5 if self.scale is None else self.scale)
        fields = []
        for _ in range(self.depth):
            controls = x[torch.randint(len(x), (self.width,), generator=draw)]
            controls = controls + 0.1 * torch.randn(controls.shape, generator=draw).to(x)
            field: Field = TrainedKernelField(kernel, controls)
            if self.contraction is not None:
                field = Contractive(field, self.contraction * self.depth)
            fields.append(Conditioned(field, context) if context else field)
        return Flow(fields, Euler())


@dataclass(frozen=True)
class Box:
    """Where data are, and a little beyond.

    Attributes:
        low, high: its corners, shape (d,).
        unit: points that fill the unit cube, shape (m, d).
    """

    low: Tensor
    high: Tensor
    unit: Tensor

    @staticmethod
    def around(x: Tensor, seed: int) -> Box:
        """That of the data, shape (n, d)."""
        unit = torch.quasirandom.SobolEngine(x.shape[1], scramble=True, seed=seed).draw(8192)
        return Box(x.amin(0) - MARGIN, x.amax(0) + MARGIN, unit.to(x))

    def points(self, n: int, shift: Tensor | float = 0.0) -> Tensor:
        """The first n of them, shape (n, d), moved by a part of the box, around its edges."""
        return self.low + (self.high - self.low) * ((self.unit[:n] + shift) % 1)


def guarded(box: Box, floor: float, witnesses: int, x: Tensor) -> Samples:
    """A batch with witnesses, which the batch decides on: others in every one, the same if it is repeated."""
    return Samples(x, floor=floor, witnesses=box.points(witnesses, 7 * x[0]))


def adam(base: Law, rate: float, base_rate: float, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Adam with a rate of its own for the parameters of the base."""
    theirs = {id(p) for p in base.parameters()}
    groups = [
        {"params": [p for p in parameters if id(p) not in theirs], "lr": rate},
        {"params": [p for p in parameters if id(p) in theirs], "lr": base_rate},
    ]
    return torch.optim.Adam([g for g in groups if g["params"]], betas=(0.9, 0.99), fused=True)


@torch.no_grad()
def held_out(phi: Diffeo, base: Law, validation: Tensor, places: Tensor, least: float) -> float:
    """The negative log-likelihood of the validation set; infinite where φ (nearly) folds, there or at other places."""
    z, volumes = phi.with_volumes(torch.cat([validation, places]))
    if not bool((volumes > least).all()):
        return math.inf
    n = len(validation)
    value = float(-(base.log_prob(z[:n]) + volumes[:, :n].log().sum(0)).mean())
    return value if math.isfinite(value) else math.inf
