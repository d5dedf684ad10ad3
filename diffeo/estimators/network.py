"""A residual network trained as a registration: from standardized points and targets to φ and its read-out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffeo.core import Compose, Diffeo, Field, Grown, Loss, Solver
from diffeo.estimators import parts
from diffeo.estimators.watch import Watch
from diffeo.fit import History
from diffeo.heads import ReadIn
from diffeo.losses import SolvedLoss
from diffeo.shapes import Points
from diffeo.training import Way


@dataclass(frozen=True)
class Settings:
    """What a residual network is to be; names are those of `parts`, objects are taken as they are."""

    field: str | Field = "kernel"
    head: str | Loss = "linear"
    train: str | Way = "lbfgs"
    depth: int = 10
    width: int = 256
    scale: float | None = None
    weight: float = 1e-4
    penalty: float = 1e-3
    solver: str | Solver = "euler"
    extra_dims: int = 0
    affine_layers: int = 0
    max_iter: int = 200
    tol: float = 1e-5
    time_limit: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        parts.named(self.field, Field, parts.FIELDS, "field")
        parts.named(self.head, Loss, parts.HEADS, "head")
        parts.named(self.train, Way, parts.WAYS, "train")
        parts.named(self.solver, Solver, parts.SOLVERS, "solver")
        for name, least in (("depth", 1), ("width", 2), ("extra_dims", 0), ("affine_layers", 0), ("max_iter", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} expects a whole number, {least} or more, and got {value!r}.")
        for name in ("weight", "penalty", "tol"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 <= value < float("inf")):
                raise ValueError(f"{name} expects a number, 0 or more, and got {value!r}.")
        limit = self.time_limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0):
            raise ValueError(f"time_limit expects a number of seconds, above 0, or None, and got {limit!r}.")


@dataclass
class Network:
    """A trained residual network.

    Attributes:
        phi: the diffeomorphism.
        read_in: what comes before it.
        read_out: the loss, whose ``predict`` reads the moved points out.
        history: how training went.
        unit: what standardized columns were divided by, so that points are about one unit from each other.
    """

    phi: Diffeo
    read_in: ReadIn
    read_out: Loss
    history: History
    unit: float


def train(
    x: Tensor,
    y: Tensor,
    settings: Settings,
    *,
    classes: bool,
    watch: Watch | None = None,
) -> Network:
    """Train on standardized rows x, shape (n, p), and labels, (n,), or standardized values, (n, k)."""
    watch = watch or Watch()
    watch.open(x, y, settings)
    unit = x.shape[1] ** 0.5
    read_in = parts.read_in_of(settings.field, x.shape[1], settings.extra_dims)
    z = read_in(x / unit)
    kernel = parts.default_kernel(z, settings.scale)
    velocity = parts.field_of(settings.field, kernel, z, settings.width, settings.seed)
    way, solver = parts.way_of(settings.train), parts.solver_of(settings.solver)
    pieces = parts.blocks(way, velocity, z, settings.depth, solver, settings.affine_layers)
    if settings.affine_layers and any(isinstance(piece, Grown) for piece in pieces):
        raise ValueError("a descent grows its own layers: affine_layers must be 0 with train='descent'.")
    phi = pieces[0] if len(pieces) == 1 else Compose(pieces)
    outputs = int(y.max()) + 1 if classes else y.shape[1]
    loss = parts.loss_of(settings.head, z.shape[1], outputs, classes, kernel, settings.penalty, settings.seed).to(z)
    history = way.fit(
        phi,
        z,
        y,
        loss,
        weight=settings.weight,
        seed=settings.seed,
        max_iterations=settings.max_iter,
        tolerance=settings.tol,
        time_limit=math.inf if settings.time_limit is None else settings.time_limit,
        **watch.options(),
    )
    return trained(phi, read_in, loss, history, unit, (z, y))


def trained(
    phi: Diffeo, read_in: ReadIn, loss: Loss, history: History, unit: float, data: tuple[Tensor, Tensor]
) -> Network:
    """Nothing is to be trained any more, and a read-out that is solved for is that of the final map.

    Args:
        phi, read_in, loss, history, unit: see `Network`.
        data: the points where φ begins, shape (n, d), and their targets.
    """
    phi.requires_grad_(False)
    loss.requires_grad_(False)
    if isinstance(loss, SolvedLoss):
        with torch.no_grad():
            loss.remember(Points(phi(data[0])), data[1])
    return Network(phi, read_in, loss, history, unit)
