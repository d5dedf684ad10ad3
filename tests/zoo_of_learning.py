"""The zoo's other wing: every head, encoded inputs, and every loss with a read-out, with labels and values for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffeo.heads import Chain, ConvReadIn, Identity, LinearReadIn, LinearReadOut, ZeroPadding
from diffeo.kernels import CauchyKernel, GaussianKernel, LaplacianKernel, Radial
from diffeo.laws import Gaussian, Mixture, TorchLaw, Transported, Uniform, Wrapped
from diffeo.laws.toys import TOYS
from diffeo.losses import (
    CrossEntropyLoss,
    KernelRidgeLoss,
    LeaveOneOutLoss,
    LikelihoodLoss,
    ProcessLoss,
    ReadOutLoss,
    RidgeLoss,
    SquaredLoss,
)
from diffeo.shapes import Encoded, Points
from tests.oracles import cloud
from tests.zoo import Entry, affine, bounded, flow

ROWS, CLASSES, VALUES = 12, 3, 2


# ---- heads


def read_in(rows: int, trained: bool = True) -> Callable[[int, torch.dtype, int], LinearReadIn]:
    """Builder of a `LinearReadIn` to so many dimensions, with an offset."""

    def make(d: int, dtype: torch.dtype, seed: int) -> LinearReadIn:
        offset = cloud(1, rows, dtype, 100 + seed)[0]
        return LinearReadIn(d, rows, trained=trained, seed=seed, offset=offset).to(dtype)

    return make


def read_out(outputs: int, bias: bool = True, trained: bool = True) -> Callable[[int, torch.dtype, int], LinearReadOut]:
    """Builder of a `LinearReadOut`."""

    def make(d: int, dtype: torch.dtype, seed: int) -> LinearReadOut:
        weight, offset = cloud(outputs, d, dtype, 200 + seed), cloud(1, outputs, dtype, 300 + seed)[0]
        return LinearReadOut(d, outputs, bias, trained, weight=weight, offset=offset if bias else None)

    return make


def chain(d: int, dtype: torch.dtype, seed: int) -> Chain:
    """One that is trained, then one that is fixed."""
    return Chain([read_in(d + 1)(d, dtype, seed), ZeroPadding(2)])


def conv_read_in(trained: bool) -> Callable[[int, torch.dtype, int], ConvReadIn]:
    """Builder of a `ConvReadIn` of images of one row."""
    return lambda d, dtype, seed: ConvReadIn((1, 1, d), 2, kernel_size=1, stride=1, trained=trained, seed=seed).to(
        dtype
    )


READ_INS = [
    Entry("ConvReadIn", conv_read_in(True)),
    Entry("ConvReadIn(fixed)", conv_read_in(False)),
    Entry("Identity", lambda d, dtype, seed: Identity()),
    Entry("ZeroPadding", lambda d, dtype, seed: ZeroPadding(2)),
    Entry("LinearReadIn(more dimensions)", read_in(5)),
    Entry("LinearReadIn(one dimension, fixed)", read_in(1, trained=False)),
    Entry("Chain", chain),
]
READ_OUTS = [
    Entry("LinearReadOut", read_out(3)),
    Entry("LinearReadOut(fixed, no bias)", read_out(2, bias=False, trained=False)),
]
HEADS = [*READ_INS, *READ_OUTS]


def encoded(d: int, dtype: torch.dtype, seed: int) -> Encoded:
    """Inputs behind a trained read-in."""
    return Encoded(cloud(ROWS, 4, dtype, 400 + seed), read_in(d)(4, dtype, seed))


ENCODED = Entry("Encoded", encoded)


# ---- losses


def labels(seed: int) -> Tensor:
    """Labels, shape (ROWS,), of all classes."""
    draw = torch.Generator().manual_seed(500 + seed)
    return torch.randperm(ROWS, generator=draw) % CLASSES


def values(dtype: torch.dtype, seed: int) -> Tensor:
    """Values, shape (ROWS, VALUES)."""
    return cloud(ROWS, VALUES, dtype, 600 + seed, size=1.0)


@dataclass(frozen=True)
class ReadOutEntry:
    """A loss with a read-out.

    Attributes:
        make: builds it for a dimension, a dtype and a seed.
        labels, values: whether it takes them.
        solved: whether its read-out is the best for the points, and is remembered.
        bounded: whether it is never negative.
        ordered: whether the order of the points matters.
        twice: whether it has second derivatives.
    """

    name: str
    make: Callable[[int, torch.dtype, int], ReadOutLoss]
    labels: bool = True
    values: bool = True
    solved: bool = True
    bounded: bool = True
    ordered: bool = False
    twice: bool = True

    def __repr__(self) -> str:
        return self.name

    def __call__(self, d: int = 2, dtype: torch.dtype = torch.float64, seed: int = 0) -> ReadOutLoss:
        return self.make(d, dtype, seed)

    def target(self, kind: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
        """Labels or values."""
        return labels(seed) if kind == "labels" else values(dtype, seed)


def solved(cls: Callable[..., ReadOutLoss], *arguments: Any, **options: Any) -> Callable[..., ReadOutLoss]:
    """Builder of a loss that has nothing of a dtype in it before it remembers."""
    return lambda d, dtype, seed: cls(*arguments, **options).to(dtype)


KERNEL: Radial = GaussianKernel(0.6) + 0.3 * CauchyKernel(0.4)
READ_OUT_LOSSES = [
    ReadOutEntry("CrossEntropyLoss", lambda *a: CrossEntropyLoss(read_out(CLASSES)(*a)), values=False, solved=False),
    ReadOutEntry(
        "CrossEntropyLoss(smoothed)",
        lambda *a: CrossEntropyLoss(read_out(CLASSES)(*a), smoothing=0.2),
        values=False,
        solved=False,
    ),
    ReadOutEntry("SquaredLoss", lambda *a: SquaredLoss(read_out(VALUES)(*a)), labels=False, solved=False),
    ReadOutEntry(
        "SquaredLoss(fixed read-out)",
        lambda *a: SquaredLoss(read_out(VALUES, False, False)(*a)),
        labels=False,
        solved=False,
    ),
    ReadOutEntry("RidgeLoss", solved(RidgeLoss, 0.3)),
    ReadOutEntry("KernelRidgeLoss", solved(KernelRidgeLoss, KERNEL, 0.05)),
    ReadOutEntry("KernelRidgeLoss(Laplacian)", solved(KernelRidgeLoss, LaplacianKernel(0.8), 0.1), twice=False),
    ReadOutEntry(
        "KernelRidgeLoss(on centers)", solved(KernelRidgeLoss, KERNEL, 0.05, centers=3), ordered=True, twice=False
    ),
    ReadOutEntry("LikelihoodLoss", solved(LikelihoodLoss, KERNEL, 0.1, trained=True), bounded=False),
    ReadOutEntry("ProcessLoss", solved(ProcessLoss, KERNEL, 0.1), bounded=False),
    ReadOutEntry(
        "ProcessLoss(Laplacian, fixed)",
        solved(ProcessLoss, LaplacianKernel(0.8), 0.1, trained=False),
        bounded=False,
        twice=False,
    ),
    ReadOutEntry("LeaveOneOutLoss", solved(LeaveOneOutLoss, KERNEL, 0.1, trained=True)),
    ReadOutEntry(
        "LeaveOneOutLoss(Laplacian, fixed penalty)", solved(LeaveOneOutLoss, LaplacianKernel(0.8), 0.1), twice=False
    ),
]


def each_read_out_loss() -> list[Any]:
    """(loss, kind of target, dimension) for all that fit together."""
    kinds = ((e, kind) for e in READ_OUT_LOSSES for kind in ("labels", "values") if getattr(e, kind))
    return [(entry, kind, d) for entry, kind in kinds for d in (1, 2, 3)]


def cloud_of(d: int, dtype: torch.dtype = torch.float64, seed: int = 0, weighted: bool = False) -> Points:
    """As many points as there are labels."""
    weights = cloud(ROWS, 1, dtype, 800 + seed)[:, 0].abs() + 0.1 if weighted else None
    return Points(cloud(ROWS, d, dtype, 700 + seed), weights=weights)


# ---- laws: of about unit size, around the origin


@dataclass(frozen=True, repr=False)
class LawEntry(Entry):
    """A law.

    Attributes:
        box: where its mass is, along each axis; none where tests of its own integrate it.
        integral: how far the sum over a grid in the box may be from 1.
        everywhere: whether there is mass everywhere, and the density is smooth.
        saved: whether a file can hold it.
        stated: whether its state dictionary says all of it.
    """

    box: tuple[tuple[float, float], ...] = ((-8.0, 8.0),) * 3
    integral: float = 1e-6
    everywhere: bool = True
    saved: bool = True
    stated: bool = True


def factor(d: int, dtype: torch.dtype, seed: int) -> Tensor:
    """A triangular factor of a covariance of about unit size."""
    below = 0.4 * cloud(d, d, seed=1100 + seed).tril(-1)
    return (below + torch.diag(0.8 + 0.1 * cloud(d, 1, seed=1200 + seed)[:, 0].tanh())).to(dtype)


def gaussian(trained: bool) -> Callable[[int, torch.dtype, int], Gaussian]:
    """Builder of a `Gaussian`."""
    return lambda d, dtype, seed: Gaussian(
        cloud(1, d, dtype, 1300 + seed, size=0.4)[0], factor(d, dtype, seed), trained
    )


def mixture(trained: bool) -> Callable[[int, torch.dtype, int], Mixture]:
    """Builder of a `Mixture` of three."""

    def make(d: int, dtype: torch.dtype, seed: int) -> Mixture:
        weights = torch.tensor([0.2, 0.5, 0.3], dtype=dtype)
        factors = torch.stack([0.7 * factor(d, dtype, 10 * seed + k) for k in range(3)])
        return Mixture(weights, cloud(3, d, dtype, 1400 + seed, size=1.2), factors, trained)

    return make


def uniform(d: int, dtype: torch.dtype, seed: int) -> Uniform:
    """A box, not a cube."""
    low = -1.5 - 0.1 * (seed % 10) - 0.2 * cloud(1, d, dtype, 1500)[0].tanh()
    return Uniform(low, torch.tensor([1.5, 1.0, 1.2], dtype=dtype)[:d])


def of_torch(d: int, dtype: torch.dtype, seed: int) -> TorchLaw:
    """One of numbers, of points, of independent columns that are positive."""
    mean = cloud(1, d, dtype, 1600 + seed)[0]
    if d == 1:
        return TorchLaw(torch.distributions.Normal(mean[0], torch.ones((), dtype=dtype)))
    if d == 2:
        return TorchLaw(torch.distributions.MultivariateNormal(mean, scale_tril=factor(d, dtype, seed)))
    return TorchLaw(torch.distributions.Gamma(torch.full((d,), 3.0, dtype=dtype), 2 + mean.tanh()))


def transported(d: int, dtype: torch.dtype, seed: int) -> Transported:
    """A flow after an affine map, to a mixture."""
    phi = flow(KERNEL, 3)(d, dtype, seed) @ affine(d, dtype, seed)
    return Transported(phi, mixture(True)(d, dtype, seed))


def in_a_box(d: int, dtype: torch.dtype, seed: int) -> Transported:
    """Of columns that are bounded."""
    return Transported(bounded(d, dtype, seed), gaussian(False)(d, dtype, seed))


def wrapped(d: int, dtype: torch.dtype, seed: int) -> Wrapped:
    """One column is periodic, with a period of 2; or all are."""
    periods = torch.tensor([2.0, math.inf, 2.0], dtype=dtype)[:d]
    start = torch.tensor([-1.0, 0.0, -1.0], dtype=dtype)[:d]
    return Wrapped(mixture(True)(d, dtype, seed), periods, start, copies=3)


def toy(name: str) -> LawEntry:
    """A toy, in other units; `tests/laws/test_toys.py` integrates it, and draws from it."""
    return LawEntry(
        f"toy {name}",
        lambda d, dtype, seed: TOYS[name](0.5 + 0.1 * (seed % 10), torch.tensor([0.3, -0.2], dtype=dtype)),
        (2,),
        box=(),
        everywhere=False,
        stated=False,
    )


BOUNDS = ((-2.6, 2.8), (-80.0, 3.0), (-2.7, 80.0))
PERIOD = (-1.0, 1.0)
LAWS = [
    LawEntry("Gaussian", gaussian(False)),
    LawEntry("Gaussian(trained)", gaussian(True)),
    LawEntry("Mixture", mixture(False)),
    LawEntry("Mixture(trained)", mixture(True)),
    LawEntry("Uniform", uniform, box=((-2.0, 2.0),) * 3, integral=3e-2, everywhere=False),
    LawEntry("TorchLaw", of_torch, saved=False, stated=False),
    LawEntry("Transported", transported),
    LawEntry("Transported(bounded)", in_a_box, box=BOUNDS, integral=1e-3, everywhere=False),
    LawEntry("Wrapped", wrapped, box=(PERIOD, (-8.0, 8.0), PERIOD), integral=1e-4, everywhere=False),
    *map(toy, TOYS),
]
