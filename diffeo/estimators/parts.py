"""What the names in an estimator's arguments stand for: strings become objects here and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Diffeo, Field, Loss, Solver
from diffeo.fields import (
    GELU,
    ConvField,
    FeatureField,
    FrozenPerceptronField,
    KernelField,
    PerceptronField,
    TrainedConvField,
)
from diffeo.flows import LearnedAffine
from diffeo.heads import LinearReadIn, LinearReadOut, ReadIn, ZeroPadding
from diffeo.kernels import GaussianKernel, Radial
from diffeo.losses import CrossEntropyLoss, KernelRidgeLoss, RidgeLoss, SquaredLoss
from diffeo.shapes.sampling import farthest_points
from diffeo.solvers import RK4, Euler, Heun, Midpoint
from diffeo.training import WAYS, Way

FIELDS = ("kernel", "features", "perceptron", "random-perceptron", "conv", "random-conv")
CONVOLUTIONS = ("conv", "random-conv")
HEADS = ("linear", "ridge", "kernel-ridge")
SOLVERS: Mapping[str, type[Solver]] = {"euler": Euler, "midpoint": Midpoint, "heun": Heun, "rk4": RK4}

T = TypeVar("T")


def named(value: Any, kind: type[T], known: Mapping[str, Any] | tuple[str, ...], argument: str) -> Any:
    """The value, if it is an object of the kind or a known name. Raises ValueError otherwise."""
    if isinstance(value, kind) or (isinstance(value, str) and value in known):
        return value
    raise ValueError(
        f"{argument} expects one of {', '.join(map(repr, known))}, or a {kind.__name__}, and got {value!r}."
    )


def plain(value: Any) -> Any:
    """A number of numpy as one of Python, as searches over grids of them need it; all else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def median_distance(x: Tensor, count: int = 500) -> float:
    """The median distance between different points of x, shape (n, d), looking at ``count`` of them; 1 if all agree."""
    some = x[torch.linspace(0, len(x) - 1, min(len(x), count)).long()].detach().double()
    distances = torch.pdist(some)
    distances = distances[distances > 0]
    return float(distances.median()) if len(distances) else 1.0


def inducing_points(x: Tensor, count: int) -> Tensor:
    """At most ``count`` of the points of x, shape (n, d), spread over all of them, none twice."""
    return x[farthest_points(x, count)]


def read_in_of(name: str | Field, columns: int, extra: int) -> ReadIn:
    """What stands before φ: extra dimensions, all zero; and a channel of ones, where it gives convolutions a bias."""
    if name not in CONVOLUTIONS:
        return ZeroPadding(extra)
    weight, offset = torch.eye(columns + extra + 1, columns), torch.zeros(columns + extra + 1)
    offset[-1] = 1.0
    return LinearReadIn(columns, columns + extra + 1, trained=False, weight=weight, offset=offset)


def field_of(name: str | Field, kernel: Radial, x: Tensor, width: int, seed: int) -> Field:
    """A velocity field for points like x, shape (n, d), at 0."""
    d = x.shape[1]
    if isinstance(name, Field):
        return copy.deepcopy(name).to(x)  # what an estimator is called with is not trained: it may be fitted again
    if name == "kernel":
        return KernelField(kernel, inducing_points(x, width), whiten=True)
    if name == "features":
        return FeatureField(kernel, d, width + width % 2, seed).to(x)
    if name in ("perceptron", "random-perceptron"):
        radius = float(x.norm(dim=1).quantile(0.9)) or 1.0
        perceptron = PerceptronField if name == "perceptron" else FrozenPerceptronField
        return perceptron(d, width, seed=seed, activation=GELU(), radius=radius).to(x)
    conv = TrainedConvField if name == "conv" else ConvField
    return conv((d, 1, 1), width, kernel_size=1, seed=seed).to(x)  # of one pixel: columns have no neighbors


def loss_of(name: str | Loss, dim: int, outputs: int, classes: bool, kernel: Radial, penalty: float, seed: int) -> Loss:
    """D with its read-out."""
    if isinstance(name, Loss):
        return copy.deepcopy(name)
    if name == "linear":
        head = LinearReadOut(dim, outputs, seed=seed)
        return CrossEntropyLoss(head) if classes else SquaredLoss(head)
    labels = outputs if classes else None
    return RidgeLoss(penalty, classes=labels) if name == "ridge" else KernelRidgeLoss(kernel, penalty, classes=labels)


def way_of(name: str | Way) -> Way:
    """How to train."""
    return name if isinstance(name, Way) else WAYS[name]()


def solver_of(name: str | Solver) -> Solver:
    """The steps that layers are."""
    return name if isinstance(name, Solver) else SOLVERS[name]()


def blocks(way: Way, field: Field, x: Tensor, depth: int, solver: Solver, affine: int) -> list[Diffeo]:
    """The parts of φ: so many learned affine layers, alternating with the parts of a diffeomorphism of that depth."""
    if not affine:
        return [way.model(field, x, depth, solver)]
    parts: list[Diffeo] = []
    for k in range(affine):
        layers = depth // affine + (k < depth % affine)
        parts.append(LearnedAffine(x.shape[1]).to(x))
        if layers:
            parts.append(way.model(field, x, layers, solver))
    return parts


def default_kernel(x: Tensor, scale: float | None) -> Radial:
    """A Gaussian, a third as wide as points are typically apart unless the scale is given."""
    return GaussianKernel(median_distance(x) / 3 if scale is None else scale)
