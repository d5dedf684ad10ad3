"""Ways to train: the same objective, the same data; what differs is what φ is made of, and how its unknowns are found.

| way | unknowns | found by |
| --- | --- | --- |
| `Gradient` | the fields of all layers | any torch optimizer on the Euclidean gradient, minibatches |
| `Annealed` | the same | Adam, its rate falling to 0 within a given number of steps |
| `GradientInV` | the same | the gradient in the metric ∫‖v_t‖²_V dt: one rate for every depth and width |
| `QuasiNewton` | the same | L-BFGS on all data |
| `Shooting` | the initial momentum | L-BFGS; Hamilton's equations give the layers |
| `Growth` | none | layers are grown one at a time, each the steepest descent in V |
| `Pontryagin` | the fields of all layers | successive approximations: the Hamiltonian, maximized in each layer |

Variable projection of the read-out is none of these: it is what losses do that solve for theirs, and goes with all.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Diffeo, Field, Loss, Solver
from diffeo.fields import (
    ConvField,
    FrozenPerceptronField,
    KernelField,
    LinearField,
    PerceptronField,
    TrainedConvField,
)
from diffeo.fit import LBFGS, Batches, Cosine, History, InV, Method, Optimizer, fit
from diffeo.flows import Descent, FieldDescent, FieldGeodesic, Flow, Geodesic
from diffeo.shapes import Points
from diffeo.solvers import Euler, Ralston
from diffeo.training.successive import SuccessiveApproximations


def sgd(rate: float, momentum: float = 0.9) -> Optimizer:
    """Gradient descent with Nesterov's momentum."""
    return partial(torch.optim.SGD, lr=rate, momentum=momentum, nesterov=momentum > 0)


@dataclass(frozen=True)
class Way(ABC):
    """A way to train. All take the same call: `model` makes φ, `fit` makes E(φ) small."""

    def model(self, velocity: Field, x: Tensor, depth: int, solver: Solver | None = None) -> Diffeo:
        """The φ whose unknowns this way finds, at the identity where the field is 0.

        Args:
            velocity: the family of fields; every layer has one.
            x: the points that will be carried, shape (n, d).
            depth: number of layers, one step of the solver each.
            solver: Euler's by default, whose steps are residual blocks.
        """
        return Flow(velocity, solver or Euler(), depth)

    @property
    @abstractmethod
    def optimizer(self) -> Optimizer | Method:
        """What lowers the objective."""

    @property
    def size(self) -> int | None:
        """Points in a minibatch; None for all."""
        return None

    def settings(self) -> dict[str, Any]:
        """Options of `diffeo.fit` that go with this way, whatever else is asked for."""
        return {}

    def fit(
        self,
        phi: Diffeo,
        x: Tensor,
        y: Tensor,
        loss: Loss,
        *,
        weight: float = 1e-3,
        seed: int = 0,
        modules: Sequence[nn.Module] = (),
        **options: Any,
    ) -> History:
        """Lower weight · ½∫‖v‖² + D(φ(x), y) in place.

        Args:
            phi: what `model` made, or a composition with it.
            x: points, shape (n, d).
            y: their labels, shape (n,), int64, or values, shape (n, k), floating point.
            loss: D, with its read-out.
            weight: λ, the price of energy, in units of the loss per squared length.
            seed: of minibatches.
            modules: others whose parameters are trained along.
            options: further ones of `diffeo.fit`.

        Raises: ValueError as `diffeo.fit` does.
        """
        data: Any = [(Points(x), y)]
        if self.size is not None and self.size < len(x):
            data = Batches(x, y, self.size, seed)
        given = {**options, "weight": weight, "optimizer": self.optimizer, "modules": modules, **self.settings()}
        return fit(phi, data, loss, **given)


@dataclass(frozen=True)
class Gradient(Way):
    """A torch optimizer on the Euclidean gradient, which is 1/L of the one in V: a rate serves one depth only.

    Args:
        method: makes the optimizer from a list of parameters; Adam by default, which knows no scale.
        batch: points in a minibatch; None for all.
    """

    method: Optimizer = field(default=partial(torch.optim.Adam, lr=0.03))
    batch: int | None = None

    @property
    def optimizer(self) -> Optimizer | Method:
        """The optimizer itself."""
        return self.method

    def settings(self) -> dict[str, Any]:
        """No tolerance: with momentum the objective rises on the way, which is no sign of the end."""
        return {"tolerance": None}

    @property
    def size(self) -> int | None:
        """Points in a minibatch."""
        return self.batch


@dataclass(frozen=True)
class Annealed(Gradient):
    """Adam with a rate that rises, then falls to nothing: for objectives of minibatches, and for few steps.

    Iterations are counted in steps here, not in epochs: ``max_iterations`` of them, rounded up to whole epochs.
    """

    method: Optimizer = field(default=partial(torch.optim.Adam, lr=0.1, betas=(0.9, 0.99)))
    batch: int | None = 700

    def fit(self, phi: Diffeo, x: Tensor, y: Tensor, loss: Loss, **options: Any) -> History:
        """Lower weight · ½∫‖v‖² + D(φ(x), y) in place."""
        steps = options.pop("max_iterations", 120)
        batches = 1 if self.size is None else math.ceil(len(x) / self.size)
        return super().fit(phi, x, y, loss, max_iterations=math.ceil(steps / batches), schedule=Cosine(0.05), **options)


@dataclass(frozen=True)
class GradientInV(Gradient):
    """The gradient in the metric of the energy: the same rate serves every depth and every width."""

    method: Optimizer = field(default=sgd(0.1))

    @property
    def optimizer(self) -> Optimizer | Method:
        """The optimizer on gradients in V."""
        return InV(self.method)


@dataclass(frozen=True)
class QuasiNewton(Way):
    """L-BFGS with a strong Wolfe line search, on all data at once."""

    @property
    def optimizer(self) -> Optimizer | Method:
        """L-BFGS."""
        return LBFGS


@dataclass(frozen=True)
class Shooting(Way):
    """Only the initial momentum is unknown: a penalized flow at its minimum is a geodesic.

    Hamilton's equations need a space of fields that is linear: of perceptrons the inner weights stay as drawn,
    of convolutions the first one.
    Steps are Ralston's unless a solver of higher order is given: Euler's let the Hamiltonian drift.

    Args:
        controls: how many of the points bear momenta, at most; the others are carried along.
        seed: of their choice.
    """

    controls: int = 500
    seed: int = 0

    def model(self, velocity: Field, x: Tensor, depth: int, solver: Solver | None = None) -> Diffeo:
        """A geodesic of the field's space; of its kernel, without a detour, where it has momenta on controls."""
        solver = Ralston() if solver is None or solver.order < 2 else solver
        if isinstance(velocity, KernelField):
            return Geodesic(velocity.kernel, velocity.controls, solver, depth)
        velocity = frozen(velocity).to(x)
        if not isinstance(velocity, LinearField):
            raise ValueError(
                f"shooting needs fields that are linear in their unknowns, and {type(velocity).__name__} is not."
            )
        draw = torch.randperm(len(x), generator=torch.Generator().manual_seed(self.seed))[: self.controls].sort()[0]
        return FieldGeodesic(velocity, x[draw.to(x.device)], solver, depth)

    @property
    def optimizer(self) -> Optimizer | Method:
        """L-BFGS."""
        return LBFGS


@dataclass(frozen=True)
class Growth(Way):
    """Layer by layer, each the steepest descent of the loss in V: boosting by flows. As many as iterations."""

    def model(self, velocity: Field, x: Tensor, depth: int, solver: Solver | None = None) -> Diffeo:
        """An empty stack; layers are id + u, and ask for no solver."""
        if isinstance(velocity, KernelField):
            return Descent(velocity.kernel, velocity.controls)
        return FieldDescent(velocity)

    @property
    def optimizer(self) -> Optimizer | Method:
        """For read-outs, after every layer."""
        return LBFGS

    def settings(self) -> dict[str, Any]:
        """No price of energy: a descent goes downhill on the data term, as far as that leads."""
        return {"weight": 0.0}


@dataclass(frozen=True)
class Pontryagin(Way):
    """The method of successive approximations.

    Args:
        method: plain or extended, and its settings.
    """

    method: SuccessiveApproximations = field(default_factory=SuccessiveApproximations)

    @property
    def optimizer(self) -> Optimizer | Method:
        """The method."""
        return self.method


def frozen(velocity: Field) -> Field:
    """The linear fields with the same inner weights, from 0; fields that have none are left as they are."""
    given = velocity.arguments()
    if isinstance(velocity, PerceptronField):
        return FrozenPerceptronField(**{k: v for k, v in given.items() if k not in ("scale", "outer")})
    if isinstance(velocity, TrainedConvField):
        return ConvField(velocity.shape, velocity.hidden, velocity.kernel_size, inner=velocity.inner.detach())
    return velocity


WAYS: dict[str, Callable[[], Way]] = {
    "gradient": Gradient,
    "v-gradient": GradientInV,
    "annealed": Annealed,
    "lbfgs": QuasiNewton,
    "shooting": Shooting,
    "descent": Growth,
    "msa": partial(Pontryagin, SuccessiveApproximations(extended=False)),
    "emsa": partial(Pontryagin, SuccessiveApproximations(extended=True)),
}
"""By the names that estimators and the command line know them by."""
