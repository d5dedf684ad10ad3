"""What the estimators do unless something else is asked for: learned scales, a flow, a Gaussian process to read out."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Compose, Diffeo
from diffeo.estimators.network import Network, trained
from diffeo.estimators.watch import Watch
from diffeo.fields import FeatureField
from diffeo.flows import Flow, LearnedAffine
from diffeo.heads import Identity
from diffeo.kernels import GaussianKernel, LaplacianKernel, Matern32Kernel, Radial
from diffeo.losses import ProcessLoss
from diffeo.shapes import Points
from diffeo.solvers import Euler
from diffeo.training import Annealed

FEW = 20  # rows at least, to tell whether a flow foresees values better
HELD = 0.2  # the part of them that is held out for it
WORSE = 0.05  # of the variance: by how much more a flow is off, on rows that are held out, where it learns noise
EXTENT = 3.0  # spreads between the extremes of a column, beyond which a column of labelled data counts less


def smooth_and_rough() -> Radial:
    """What values may be made of: what is smooth far around, what has kinks, what jumps from point to point."""
    return 1 / 3 * GaussianKernel(2.0) + 1 / 3 * Matern32Kernel(1.0) + 1 / 3 * LaplacianKernel(1.0)


@dataclass(frozen=True)
class Recipe:
    r"""φ = flow ∘ scales, trained so that a Gaussian process on φ(x) foresees y ("idea registration", 2008.03920).

    E(φ) = price·k/n · ½∫‖v‖² + `ProcessLoss`(φ(x), y) is lowered over one scale per column, the fields of a residual
    network of ``depth`` layers in the space of a Gaussian kernel (random features), and the kernel of the process. The
    energy is the logarithm of a prior; a price of 1 is that of a Gaussian one, with fields as large as their features.

    Of labels, one-hot, the process is no model and its likelihood a poor guide: `LABELS` keep scales as they are, pay
    more for energy and end early. `VALUES` are the defaults here.

    Attributes:
        depth, width: layers, and features of each.
        scale: of the Gaussian kernel of the fields, in units in which points are about √2 from each other.
        price: of energy, in units of log-likelihood.
        weight: of energy, instead of price·k/n.
        penalty: noise at the start.
        kernel: of the process at the start.
        steps: of the optimizer.
        batch: rows a step looks at, at most.
        centers: the read-out is exact up to three times as many rows, and has so many centers beyond.
        scales: whether one per column is learned; otherwise they are 1, or less for columns of rare large values.
        move: False: φ stays the identity but for the scales.
        seed: of all draws.
    """

    depth: int = 4
    width: int = 128
    scale: float = 1.0
    price: float = 28.0
    weight: float | None = None
    penalty: float = 0.01
    kernel: Radial = field(default_factory=smooth_and_rough)
    steps: int = 120
    batch: int = 700
    centers: int = 3000
    scales: bool = True
    move: bool = True
    seed: int = 0

    def train(
        self, x: Tensor, y: Tensor, *, classes: bool, time_limit: float = math.inf, watch: Watch | None = None
    ) -> Network:
        """Train on standardized rows x, shape (n, p), and labels, (n,), or standardized values, (n, k).

        Values of fewer rows than the fields have parameters are first foreseen twice from most rows, with and without
        the fields: `sure`. That takes about twice the time of the training itself.
        """
        watch = watch or Watch()
        watch.open(x, y, self)
        start = time.perf_counter()
        recipe = self if classes else self.sure(x, y, time_limit / 4)
        return recipe.found(x, y, classes, time_limit, watch, time.perf_counter() - start)

    def sure(self, x: Tensor, y: Tensor, time_limit: float = math.inf) -> Recipe:
        """This recipe, or, where rows that are held out are foreseen clearly better without a flow, only scales.

        With more parameters than rows there are flows after which any noise looks smooth: likelihood does not tell.
        """
        n, p = x.shape
        if not self.move or self.weight is not None or not FEW <= n < self.depth * self.width * p:
            return self
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        held, kept = order[: round(HELD * n)], order[round(HELD * n) :]

        def error(recipe: Recipe) -> float:
            network = recipe.found(x[kept], y[kept], False, time_limit, Watch())
            predict: Any = network.read_out
            with torch.no_grad():
                foreseen = predict.predict(Points(network.phi(x[held] / network.unit)))
            return float((foreseen - y[held]).square().mean())

        still = dataclasses.replace(self, move=False)
        flowing = error(self)
        return self if flowing <= WORSE or flowing <= error(still) + WORSE else still

    def found(
        self, x: Tensor, y: Tensor, classes: bool, time_limit: float, watch: Watch, spent: float = 0.0
    ) -> Network:
        """Train, whatever comes out of it; arguments as of ``train``, so many seconds after its start."""
        unit, outputs = x.shape[1] ** 0.5, int(y.max()) + 1 if classes else y.shape[1]
        z = x / unit
        phi = self.model(x).to(z)
        loss = ProcessLoss(
            self.kernel, self.penalty, outputs if classes else None, centers=self.centers, seed=self.seed
        )
        history = Annealed(batch=self.batch).fit(
            phi,
            z,
            y,
            loss,
            weight=self.price * outputs / len(x) if self.weight is None else self.weight,
            seed=self.seed,
            max_iterations=self.steps,
            time_limit=time_limit,
            spent=spent,
            **watch.options(),
        )
        return trained(phi, Identity(), loss, history, unit, (z, y))

    def model(self, x: Tensor) -> Diffeo:
        """φ before training: the identity, up to scales, for standardized rows x, shape (n, p)."""
        p = x.shape[1]
        start = None if self.scales else shrunk(x).diag()
        scales = LearnedAffine(p, trained=self.scales, diagonal=True, matrix=start)
        if not self.move:
            return Compose([scales])
        kernel = GaussianKernel(self.scale)
        layers = [FeatureField(kernel, p, self.width, seed=1000 * self.seed + k) for k in range(self.depth)]
        return Compose([scales, Flow(layers, Euler())])


def shrunk(x: Tensor) -> Tensor:
    """Logarithms of scales, shape (p,), for columns of unit spread: 0 or less, so that none extends over `EXTENT`.

    A column that is almost always the same has a small spread, and its few other values are far away in terms of it.
    """
    extent = x.amax(0) - x.amin(0)
    return (EXTENT / extent.clamp(min=EXTENT)).log()


VALUES = Recipe()
LABELS = Recipe(price=100.0, steps=30, batch=750, scales=False)
