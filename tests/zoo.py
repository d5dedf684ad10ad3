"""Every kernel, backend, solver, field, diffeo, shape and loss, once. Every law runs on every entry.

Things that know no dimension (kernels, backends, solvers) are listed as they are; the others are built by functions of
(dimension, dtype, seed), and `tests/test_zoo.py` fails where a class of the library is missing here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from diffeo.backends import AutoBackend, CPUBackend, DenseBackend, KeOpsBackend
from diffeo.core import Compose, Diffeo, Field, Inverse, Loss, Shape
from diffeo.fields import (
    GELU,
    Activation,
    Conditioned,
    Contractive,
    ConvField,
    DipoleField,
    FeatureField,
    FrozenPerceptronField,
    GridField,
    KernelField,
    PerceptronField,
    ReLU,
    SeparableField,
    Tanh,
    TrainedConvField,
    TrainedKernelField,
)
from diffeo.flows import (
    Affine,
    Bounded,
    Descent,
    Exponential,
    FieldDescent,
    FieldGeodesic,
    Flow,
    Geodesic,
    GridDescent,
    GridGeodesic,
    LearnedAffine,
    Warp,
)
from diffeo.grid import Grid
from diffeo.kernels import (
    CauchyKernel,
    GaussianKernel,
    InverseMultiquadricKernel,
    LaplacianKernel,
    Matern32Kernel,
    Matern52Kernel,
    Radial,
    ScaledKernel,
    SumKernel,
)
from diffeo.kernels.measures import Aligned, Oriented, Unoriented
from diffeo.laws import Conditional, Gaussian, Independent, Mixture, Transported
from diffeo.losses import (
    CompoundLoss,
    CurrentLoss,
    DiceLoss,
    FacingLoss,
    GaussianProfileLoss,
    KLLoss,
    LandmarkLoss,
    LNCCLoss,
    MILoss,
    MMDLoss,
    NLLLoss,
    SinkhornLoss,
    SSDLoss,
    VarifoldLoss,
)
from diffeo.shapes import Compound, Curve, Image, Mesh, Points, Samples
from diffeo.solvers import RK4, Adaptive, Euler, Heun, Midpoint, Ralston
from tests.oracles import cloud, rotation

DIMENSIONS = [1, 2, 3]
DTYPES = [torch.float32, torch.float64]

KERNELS: list[Radial] = [
    GaussianKernel(0.7),
    LaplacianKernel(0.7),
    Matern32Kernel(0.8),
    Matern52Kernel(0.8),
    CauchyKernel(0.6),
    InverseMultiquadricKernel(0.5),
    GaussianKernel(0.9) + GaussianKernel(0.45) + GaussianKernel(0.225),
    2.5 * GaussianKernel(0.6),
    GaussianKernel(0.9) + 0.3 * (CauchyKernel(0.5) + Matern52Kernel(0.7)),
]
FIELD_KERNELS = [k for k in KERNELS if k.smoothness >= 1]  # with Lipschitz fields
SMOOTH_KERNELS = [k for k in KERNELS if k.smoothness >= 2]  # with geodesics

BACKENDS = [DenseBackend(), CPUBackend(), AutoBackend(), KeOpsBackend()]

ORIENTATIONS = [Aligned(), Unoriented(), Oriented(), Oriented(0.6)]

FIXED_SOLVERS = [Euler(), Midpoint(), Heun(), Ralston(), RK4()]
SOLVERS = [*FIXED_SOLVERS, Adaptive()]


@dataclass(frozen=True)
class Entry:
    """Something that is built for a dimension and a dtype."""

    name: str
    make: Callable[[int, torch.dtype, int], Any]
    dimensions: tuple[int, ...] = (1, 2, 3)
    inexact: float = 0.0  # how far the computed map depends on which points it is asked for (adaptive steps)
    smooth: float = 1e-3  # how far apart finite differences may be taken: what is interpolated has kinks

    def __repr__(self) -> str:
        return self.name

    def __call__(self, d: int = 2, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        return self.make(d, dtype, seed)


def each(entries: list[Entry]) -> list[Any]:
    """(entry, dimension) for every dimension that the entry knows."""
    return [(entry, d) for entry in entries for d in entry.dimensions]


VARIANTS = (
    "FieldGeodesic(FeatureField, not whitened)",
    "FieldGeodesic(KernelField, RK4)",
    "Flow(Matern32, Heun)",
    "Flow(TrainedKernelField, RK4)",
    "Flow(carried, checkpointed)",
    "Flow(carried, refined)",
    "Flow(one GridField, RK4)",
    "Geodesic(Matern52, Heun)",
    "Geodesic(sum of kernels, not whitened, RK4)",
    "GridGeodesic(two channels, sum of kernels)",
)
"""Diffeos that take long, and differ from others, which are run with the fast tests, by solvers, kernels or memory."""


def plane_first(pairs: list[Any]) -> list[Any]:
    """Parameters (entry, dimension), of which those in the plane are run with the fast tests, the others with the slow.

    Entries that know no plane are run with the fast ones all the same, those whose steps adapt never, nor `VARIANTS`.
    """
    late = [entry.inexact > 0 or entry.name in VARIANTS or (d != 2 and 2 in entry.dimensions) for entry, d in pairs]
    return [
        pytest.param(entry, d, marks=[pytest.mark.slow] if is_late else [])
        for (entry, d), is_late in zip(pairs, late, strict=True)
    ]


def basic_first(entries: list[Any]) -> list[Any]:
    """Entries as parameters, of which those whose steps adapt, and `VARIANTS`, are run with the slow tests."""
    late = [entry.inexact > 0 or entry.name in VARIANTS for entry in entries]
    return [
        pytest.param(entry, marks=[pytest.mark.slow] if is_late else [])
        for entry, is_late in zip(entries, late, strict=True)
    ]


def named(value: Any) -> str:
    """A short name for pytest."""
    if isinstance(value, SumKernel):
        return "+".join(map(named, value.terms))
    if isinstance(value, ScaledKernel):
        return f"{value.weight}*{named(value.kernel)}"
    return str(value).removeprefix("torch.").replace("Kernel", "").replace("scale=", "").replace("()", "")


# ---- fields and diffeos: m control points in a cloud of standard deviation ½, momenta of about that size

CONTROLS = 6


def controls(d: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Control points."""
    return cloud(CONTROLS, d, dtype, seed=1000 + seed)


def momenta(d: int, dtype: torch.dtype, seed: int, size: float = 0.4) -> Tensor:
    """Momenta."""
    return cloud(CONTROLS, d, dtype, seed=2000 + seed, size=size)


def field(kernel: Radial, whiten: bool | None = None, size: float = 0.4) -> Callable[[int, torch.dtype, int], Field]:
    """Builder of a `KernelField`."""
    return lambda d, dtype, seed: KernelField(
        kernel, controls(d, dtype, seed), momenta(d, dtype, seed, size), whiten=whiten
    )


def placed(d: int, points: int = 9, step: float = 0.3, seed: int = 0) -> Grid:
    """A grid around the cloud of points, turned, a little sheared, with different steps along its axes."""
    affine = torch.eye(d + 1, dtype=torch.float64)
    affine[:d, :d] = rotation(d, seed=seed) @ torch.diag(step * torch.tensor([1.0, 0.9, 1.05], dtype=torch.float64)[:d])
    affine[:d, :d] += 0.02 * cloud(d, d, seed=seed + 1)
    affine[:d, d] = 0.01 - affine[:d, :d].sum(1) * (points - 1) / 2
    return Grid((points,) * d, affine)


def grid_field(kernel: Radial, size: float = 0.4, **options: Any) -> Callable[[int, torch.dtype, int], GridField]:
    """Builder of a `GridField`."""

    def make(d: int, dtype: torch.dtype, seed: int) -> GridField:
        grid = placed(d)
        z = cloud(d, grid.size, dtype, seed=6000 + seed, size=size).reshape(d, *grid.shape)
        return GridField(kernel, grid, z, **options)

    return make


KERNEL_FIELDS = [
    *(Entry(f"KernelField({named(kernel)})", field(kernel)) for kernel in FIELD_KERNELS),
    Entry("KernelField(Gaussian, not whitened)", field(GaussianKernel(0.7), whiten=False)),
]
GRID_FIELDS = [
    Entry("GridField(Gaussian)", grid_field(GaussianKernel(0.7))),
    Entry("GridField(Matern52, refined)", grid_field(Matern52Kernel(0.8), refine=2, padding=1.5)),
    Entry("GridField(sum of kernels)", grid_field(GaussianKernel(1.2) + 0.5 * GaussianKernel(0.5))),
]


def feature_field(kernel: Radial, width: int = 20) -> Callable[[int, torch.dtype, int], FeatureField]:
    """Builder of a `FeatureField`."""

    def make(d: int, dtype: torch.dtype, seed: int) -> FeatureField:
        theta = cloud(width, d, dtype, seed=8000 + seed, size=0.4)
        return FeatureField(kernel, d, width, seed, theta)

    return make


def frozen_perceptrons(activation: Activation, width: int = 20) -> Callable[..., FrozenPerceptronField]:
    """Builder of a `FrozenPerceptronField`."""

    def make(d: int, dtype: torch.dtype, seed: int) -> FrozenPerceptronField:
        theta, center = cloud(width, d, dtype, seed=8000 + seed, size=0.4), cloud(1, d, dtype, seed=3)[0]
        return FrozenPerceptronField(d, width, seed, activation, 0.8, center, theta)

    return make


def perceptrons(activation: Activation, width: int = 20, scale: float = 1.0) -> Callable[..., PerceptronField]:
    """Builder of a `PerceptronField`."""

    def make(d: int, dtype: torch.dtype, seed: int) -> PerceptronField:
        outer, center = cloud(width, d, dtype, seed=8000 + seed, size=2 / scale), cloud(1, d, dtype, seed=3)[0]
        return PerceptronField(d, width, scale, seed, activation, 0.8, center, outer)

    return make


FEATURE_FIELDS = [
    Entry("FeatureField(Gaussian)", feature_field(GaussianKernel(0.7))),
    Entry("FeatureField(sum of kernels)", feature_field(GaussianKernel(0.9) + 0.3 * CauchyKernel(0.5))),
    Entry("FeatureField(Matern52)", feature_field(Matern52Kernel(0.8))),
]
PERCEPTRON_FIELDS = [
    Entry("PerceptronField(ReLU)", perceptrons(ReLU()), smooth=1e-6),
    Entry("PerceptronField(Tanh, lazy)", perceptrons(Tanh(), scale=20**0.5)),
    Entry("PerceptronField(GELU)", perceptrons(GELU(), scale=3.0)),
]
LINEAR_FIELDS = [
    *FEATURE_FIELDS,
    Entry("FrozenPerceptronField(ReLU)", frozen_perceptrons(ReLU())),
    Entry("FrozenPerceptronField(Tanh)", frozen_perceptrons(Tanh())),
]


def conv_field(d: int, dtype: torch.dtype, seed: int) -> ConvField:
    """Images of one, two or three points in all, of one channel or more."""
    shape = {1: (1, 1, 1), 2: (2, 1, 1), 3: (1, 1, 3)}[d]
    return ConvField(shape, hidden=6, seed=seed, coefficients=cloud(shape[0], 54, dtype, seed=8000 + seed, size=0.4))


def trained_conv_field(d: int, dtype: torch.dtype, seed: int) -> TrainedConvField:
    """The same images."""
    shape = {1: (1, 1, 1), 2: (1, 1, 2), 3: (3, 1, 1)}[d]
    weights = cloud(shape[0], 54, dtype, seed=8000 + seed, size=0.4).reshape(shape[0], 6, 3, 3)
    return TrainedConvField(shape, hidden=6, scale=2.0, seed=seed, radius=0.8, weights=weights)


def trained_kernel_field(kernel: Radial) -> Callable[[int, torch.dtype, int], TrainedKernelField]:
    """Builder of a `TrainedKernelField`."""
    return lambda d, dtype, seed: TrainedKernelField(
        kernel, controls(d, dtype, seed), momenta(d, dtype, seed), torch.tensor([0.1 + 0.01 * (seed % 10)], dtype=dtype)
    )


def dipole_field(kernel: Radial, size: float = 0.4) -> Callable[[int, torch.dtype, int], DipoleField]:
    """Builder of a `DipoleField`."""

    def make(d: int, dtype: torch.dtype, seed: int) -> DipoleField:
        strengths = cloud(CONTROLS, 1, dtype, seed=2500 + seed, size=size / 4)[:, 0]
        return DipoleField(kernel, controls(d, dtype, seed), momenta(d, dtype, seed, size), strengths)

    return make


def separable_field(d: int, dtype: torch.dtype, seed: int) -> SeparableField:
    """Bends at the control points."""
    theta, origin = cloud(CONTROLS + 2, d, dtype, seed=8000 + seed, size=0.3), cloud(1, d, dtype, seed=3)[0]
    return SeparableField(controls(d, dtype, seed), 0.7, theta, origin)


SEPARABLE_FIELDS = [Entry("SeparableField", separable_field)]
CONV_FIELDS = [Entry("ConvField", conv_field)]
DIPOLE_FIELDS = [Entry(f"DipoleField({named(kernel)})", dipole_field(kernel)) for kernel in FIELD_KERNELS]
FIELDS_OF_KERNELS = [*KERNEL_FIELDS, *GRID_FIELDS, *FEATURE_FIELDS, *DIPOLE_FIELDS]  # radial ones
CONTRACTIVE_FIELDS = [
    Entry("Contractive(KernelField)", lambda *arguments: Contractive(field(GaussianKernel(0.7))(*arguments), 1.5)),
    Entry("Contractive(FeatureField)", lambda *arguments: Contractive(FEATURE_FIELDS[0].make(*arguments), 4.0)),
]
CONDITIONED_FIELDS = [
    Entry("Conditioned(KernelField)", lambda *a: Conditioned(field(GaussianKernel(0.7))(*a), 1), (2, 3)),
    Entry("Conditioned(TrainedKernelField)", lambda *a: Conditioned(TRAINED_KERNEL_FIELDS[0].make(*a), 1), (2,)),
    Entry("Conditioned(FeatureField)", lambda *a: Conditioned(FEATURE_FIELDS[0].make(*a), 1), (2,)),
    Entry("Conditioned(PerceptronField)", lambda *a: Conditioned(perceptrons(Tanh())(*a), 1), (2,)),
    Entry("Conditioned(Contractive)", lambda *a: Conditioned(CONTRACTIVE_FIELDS[0].make(*a), a[0] - 1), (2, 3)),
]
TRAINED_CONV_FIELD = Entry("TrainedConvField", trained_conv_field, smooth=1e-6)
TRAINED_KERNEL_FIELDS = [
    Entry("TrainedKernelField(Gaussian)", trained_kernel_field(GaussianKernel(0.7))),
    Entry("TrainedKernelField(sum of kernels)", trained_kernel_field(KERNELS[-1])),
]
NONLINEAR_FIELDS = [  # in their parameters
    *PERCEPTRON_FIELDS,
    TRAINED_CONV_FIELD,
    *TRAINED_KERNEL_FIELDS,
    *CONTRACTIVE_FIELDS,
    *CONDITIONED_FIELDS,
]
FIELDS = [
    *KERNEL_FIELDS,
    *GRID_FIELDS,
    *LINEAR_FIELDS,
    *CONV_FIELDS,
    *DIPOLE_FIELDS,
    *SEPARABLE_FIELDS,
    *NONLINEAR_FIELDS,
]


def geodesic(kernel: Radial, **options: Any) -> Callable[[int, torch.dtype, int], Diffeo]:
    """Builder of a `Geodesic`."""
    return lambda d, dtype, seed: Geodesic(kernel, controls(d, dtype, seed), momenta=momenta(d, dtype, seed), **options)


def flow(kernel: Radial, layers: int, **options: Any) -> Callable[[int, torch.dtype, int], Diffeo]:
    """Builder of a `Flow` whose layers all differ."""

    def make(d: int, dtype: torch.dtype, seed: int) -> Diffeo:
        seeds = [10 * seed + k for k in range(1 if options.get("shared") else layers)]
        return Flow([field(kernel)(d, dtype, s) for s in seeds], steps=layers, **options)

    return make


def field_flow(make: Callable[[int, torch.dtype, int], Any], layers: int, **options: Any) -> Callable[..., Flow]:
    """Builder of a `Flow` whose layers all differ, of any fields."""
    return lambda d, dtype, seed: Flow([make(d, dtype, 10 * seed + k) for k in range(layers)], **options)


def field_geodesic(make: Callable[[int, torch.dtype, int], Any], **options: Any) -> Callable[..., FieldGeodesic]:
    """Builder of a `FieldGeodesic` in the space of a field."""
    return lambda d, dtype, seed: FieldGeodesic(
        make(d, dtype, seed), controls(d, dtype, seed), momenta=momenta(d, dtype, seed), **options
    )


def descent(d: int, dtype: torch.dtype, seed: int) -> Descent:
    """Three grown layers."""
    phi = Descent(GaussianKernel(0.7))
    for k in range(3):
        phi.append(controls(d, dtype, 10 * seed + k), momenta(d, dtype, 10 * seed + k, size=0.15))
    return phi


def dipole_descent(d: int, dtype: torch.dtype, seed: int) -> Descent:
    """A layer of momenta, and two that have dipoles, too."""
    phi = Descent(Matern52Kernel(0.9))
    phi.append(controls(d, dtype, 10 * seed), momenta(d, dtype, 10 * seed, size=0.15))
    for k in (1, 2):
        field = dipole_field(phi.kernel, size=0.15)(d, dtype, 10 * seed + k)
        phi.append(field.controls, field.momenta, field.strengths)
    return phi


def field_descent(make: Callable[[int, torch.dtype, int], Any], **options: Any) -> Callable[..., FieldDescent]:
    """Builder of three layers along fields of one family."""

    def build(d: int, dtype: torch.dtype, seed: int) -> FieldDescent:
        fields = [make(d, dtype, 10 * seed + k) for k in range(3)]
        return FieldDescent(make(d, dtype, 10 * seed), fields=fields, sizes=[0.3, 0.25, 0.2], **options)

    return build


def affine(d: int, dtype: torch.dtype, seed: int) -> Affine:
    """A rotation after a stretch, and a shift."""
    stretch = torch.diag(1 + 0.2 * torch.arange(1, d + 1, dtype=torch.float64))
    matrix = rotation(d, seed=seed) @ stretch
    return Affine(matrix.to(dtype), cloud(1, d, dtype, seed=3000 + seed)[0])


def bounded(d: int, dtype: torch.dtype, seed: int) -> Bounded:
    """A box around the cloud, half-spaces that hold it: bounds on both sides, below, above."""
    low = torch.tensor([-2.6, -math.inf, -2.7], dtype=dtype)[:d] - 0.2 * (seed % 10)
    high = torch.tensor([2.8, 3.0, math.inf], dtype=dtype)[:d]
    return Bounded(low, high, torch.tensor([1.0, 2.0, 3.0], dtype=dtype)[:d])


def learned_affine(penalty: float = 0.0, diagonal: bool = False) -> Callable[[int, torch.dtype, int], LearnedAffine]:
    """Builder of a `LearnedAffine`."""

    def make(d: int, dtype: torch.dtype, seed: int) -> LearnedAffine:
        matrix = cloud(d, d, dtype, 9000 + seed, 0.4) + 0.2 * torch.eye(d, dtype=dtype)
        translation = cloud(1, d, dtype, 3000 + seed)[0]
        matrix = matrix.diagonal().diag() if diagonal else matrix
        return LearnedAffine(d, matrix=matrix, translation=translation, penalty=penalty, diagonal=diagonal)

    return make


def compose(d: int, dtype: torch.dtype, seed: int) -> Compose:
    """An affine map, then a geodesic, then a flow."""
    first, second = affine(d, dtype, seed), geodesic(GaussianKernel(0.7), steps=3)(d, dtype, seed)
    return Compose([first, second, flow(GaussianKernel(0.7), 3)(d, dtype, seed + 1)])


def grid_flow(kernel: Radial, layers: int, refine: int = 1, **options: Any) -> Callable[[int, torch.dtype, int], Flow]:
    """Builder of a `Flow` along fields on a grid."""

    def make(d: int, dtype: torch.dtype, seed: int) -> Flow:
        seeds = [10 * seed + k for k in range(1 if options.get("shared") else layers)]
        return Flow([grid_field(kernel, refine=refine)(d, dtype, s) for s in seeds], steps=layers, **options)

    return make


def exponential(d: int, dtype: torch.dtype, seed: int) -> Exponential:
    """Scaling and squaring of a field on a grid."""
    return Exponential(grid_field(GaussianKernel(0.7))(d, dtype, seed), squarings=4)


def warp(d: int, dtype: torch.dtype, seed: int) -> Warp:
    """A displacement that is smooth, and 0 at the border of its grid."""
    field = grid_field(GaussianKernel(0.7))(d, torch.float64, seed).frozen()
    u = torch.tensordot(torch.linalg.inv(field.grid.linear), 0.3 * field.values, 1)
    return Warp(field.grid, u.detach().to(dtype), energy=0.3)


def grid_descent(d: int, dtype: torch.dtype, seed: int) -> GridDescent:
    """What a registration of images leaves."""
    grown = warp(d, dtype, seed)
    return GridDescent(grown.grid, GaussianKernel(0.4), grown.u, squares=0.1, layers=3)


def grid_geodesic(kernel: Radial, channels: int = 0, **options: Any) -> Callable[[int, torch.dtype, int], GridGeodesic]:
    """Builder of a `GridGeodesic` whose momentum is a vector, or normal to the level sets of so many channels."""

    def make(d: int, dtype: torch.dtype, seed: int) -> GridGeodesic:
        nodes = placed(d)
        z = cloud(channels or d, nodes.size, dtype, seed=7000 + seed, size=0.15).reshape(-1, *nodes.shape)
        template = None
        if channels:
            x = nodes.points(z)
            template = torch.stack([(x @ cloud(d, 1, dtype, seed=k, size=2.0)).sin() for k in range(channels)])
            template = template.reshape(z.shape)
        return GridGeodesic(kernel, nodes, z, template, **options)

    return make


def inverse(d: int, dtype: torch.dtype, seed: int) -> Inverse:
    """How images are registered by a flow."""
    return Inverse(grid_flow(GaussianKernel(0.7), 3)(d, dtype, seed))


GAUSSIAN, HALVING = KERNELS[0], KERNELS[6]
DIFFEOS = [
    Entry("Geodesic", geodesic(GAUSSIAN)),
    Entry("Geodesic(Euler)", geodesic(GAUSSIAN, solver=Euler(), steps=6)),
    Entry("Geodesic(sum of kernels, not whitened, RK4)", geodesic(HALVING, solver=RK4(), steps=6, whiten=False)),
    Entry("Geodesic(Matern52, Heun)", geodesic(Matern52Kernel(0.8), solver=Heun())),
    Entry("Geodesic(adaptive)", geodesic(CauchyKernel(0.7), solver=Adaptive(), steps=2), inexact=1e-5),
    Entry("FieldGeodesic(FeatureField)", field_geodesic(feature_field(GAUSSIAN), steps=5)),
    Entry("FieldGeodesic(KernelField, RK4)", field_geodesic(field(Matern52Kernel(0.8)), solver=RK4(), steps=4)),
    Entry(
        "FieldGeodesic(FeatureField, not whitened)",
        field_geodesic(feature_field(CauchyKernel(0.8)), steps=4, whiten=False),
    ),
    Entry("Flow(Euler)", flow(GAUSSIAN, 5)),
    Entry("Flow(one field, Midpoint)", flow(GAUSSIAN, 4, shared=True, solver=Midpoint())),
    Entry("Flow(carried, Ralston)", flow(GAUSSIAN, 4, carried=True, solver=Ralston())),
    Entry("Flow(carried, refined)", flow(HALVING, 3, carried=True, solver=RK4(), substeps=2)),
    Entry("Flow(carried, checkpointed)", flow(GAUSSIAN, 5, carried=True, solver=Midpoint(), checkpoint=True)),
    Entry("Flow(Matern32, Heun)", flow(Matern32Kernel(0.8), 4, solver=Heun())),
    Entry("Flow(FeatureField)", field_flow(feature_field(GAUSSIAN), 4, solver=Midpoint())),
    Entry("Flow(SeparableField)", field_flow(separable_field, 3)),
    Entry("Flow(SeparableField, Midpoint)", field_flow(separable_field, 2, solver=Midpoint()), (2,)),
    Entry("Flow(PerceptronField)", field_flow(perceptrons(GELU()), 4)),
    Entry("Flow(FrozenPerceptronField)", field_flow(frozen_perceptrons(Tanh()), 4, solver=Heun())),
    Entry("Flow(TrainedKernelField)", field_flow(trained_kernel_field(GAUSSIAN), 5)),
    Entry("Flow(TrainedKernelField, RK4)", field_flow(trained_kernel_field(CauchyKernel(0.8)), 3, solver=RK4())),
    Entry("Flow(adaptive)", flow(InverseMultiquadricKernel(0.6), 2, solver=Adaptive()), inexact=1e-5),
    Entry("Flow(Conditioned)", field_flow(CONDITIONED_FIELDS[0].make, 3, solver=Heun()), (2, 3)),
    Entry("Descent", descent),
    Entry("Descent(dipoles)", dipole_descent),
    Entry("FieldDescent(FeatureField)", field_descent(feature_field(GAUSSIAN))),
    Entry("FieldDescent(PerceptronField)", field_descent(perceptrons(Tanh()))),
    Entry("Affine", affine),
    Entry("LearnedAffine", learned_affine()),
    Entry("LearnedAffine(penalized)", learned_affine(0.3)),
    Entry("LearnedAffine(diagonal)", learned_affine(0.3, diagonal=True)),
    Entry("Bounded", bounded),
    Entry("Compose", compose),
    Entry("Inverse(Flow of GridField)", inverse, smooth=1e-6),
    Entry("Flow(GridField, Midpoint)", grid_flow(GAUSSIAN, 3, refine=2, solver=Midpoint()), (2, 3), smooth=1e-6),
    Entry(
        "Flow(one GridField, RK4)",
        grid_flow(Matern52Kernel(0.8), 2, shared=True, solver=RK4(), substeps=2),
        smooth=1e-6,
    ),
    Entry("Exponential", exponential, smooth=1e-6),
    Entry("Warp", warp, smooth=1e-6),
    Entry("GridDescent", grid_descent, smooth=1e-6),
    Entry("GridGeodesic", grid_geodesic(GAUSSIAN), (2, 3), smooth=1e-6),
    Entry(
        "GridGeodesic(two channels, sum of kernels)",
        grid_geodesic(GaussianKernel(1.2) + 0.5 * GaussianKernel(0.6), channels=2, steps=3, padding=2.0),
        (2, 3),
        smooth=1e-6,
    ),
]


# ---- shapes: blobs of size about ½


def points(d: int, dtype: torch.dtype, seed: int) -> Points:
    """Points of equal mass."""
    return Points(cloud(12, d, dtype, seed=4000 + seed))


def weighted_points(d: int, dtype: torch.dtype, seed: int) -> Points:
    """Points of different masses, one of them 0."""
    weights = cloud(12, 1, dtype, seed=5000 + seed)[:, 0].abs() + 0.1
    weights[3] = 0
    return Points(cloud(12, d, dtype, seed=4000 + seed), weights=weights)


def curve(d: int, dtype: torch.dtype, seed: int) -> Curve:
    """A closed polygon and a loose segment."""
    n = 14
    edges = torch.tensor([*((k, (k + 1) % (n - 2)) for k in range(n - 2)), (n - 2, n - 1)])
    angles = torch.arange(n, dtype=torch.float64)[:, None] * (2 * torch.pi / (n - 2))
    ring = torch.cat([angles.cos(), angles.sin(), (2 * angles).sin() / 2], dim=1)[:, :d]
    return Curve((0.6 * ring).to(dtype) + cloud(n, d, dtype, seed=4000 + seed, size=0.08), edges=edges)


def mesh(d: int, dtype: torch.dtype, seed: int) -> Mesh:
    """A dented octahedron, subdivided once, normals outward."""
    corners = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    vertices = [torch.tensor(v, dtype=torch.float64) for v in corners]
    faces = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)]
    middles: dict[tuple[int, int], int] = {}

    def middle(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in middles:
            middles[key] = len(vertices)
            vertices.append(torch.nn.functional.normalize(vertices[a] + vertices[b], dim=0))
        return middles[key]

    fine = []
    for a, b, c in faces:
        ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
        fine += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    x = (0.6 * torch.stack(vertices)).to(dtype) + cloud(len(vertices), 3, dtype, seed=4000 + seed, size=0.05)
    return Mesh(x, faces=torch.tensor(fine))


def samples(d: int, dtype: torch.dtype, seed: int) -> Samples:
    """Draws that have come a part of the way."""
    return Samples(cloud(12, d, dtype, seed=4000 + seed), logvolume=cloud(12, 1, dtype, seed=4500 + seed)[:, 0])


POINTS, WEIGHTED = Entry("Points", points), Entry("Points(weighted)", weighted_points)
SAMPLES = Entry("Samples", samples)
CURVE, MESH = Entry("Curve", curve, (2, 3)), Entry("Mesh", mesh, (3,))
POINT_SHAPES = [POINTS, WEIGHTED, CURVE, MESH]


def grid(d: int) -> Grid:
    """A box about the origin, of size about 2: anisotropic, oblique, and one axis the other way round."""
    shape = {1: (25,), 2: (13, 15), 3: (9, 8, 7)}[d]
    steps = torch.tensor([-1.0, 1.1, 0.9][:d], dtype=torch.float64) * 2 / torch.tensor(shape)
    affine = torch.eye(d + 1, dtype=torch.float64)
    affine[:d, :d] = rotation(d, seed=6000) * steps
    affine[:d, d] = 0.1 - affine[:d, :d] @ (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    return Grid(shape, affine)


def image(channels: int = 1, masked: bool = False) -> Callable[[int, torch.dtype, int], Image]:
    """Builder of an `Image` of Gaussian blobs on a slope, all on one grid."""

    def make(d: int, dtype: torch.dtype, seed: int) -> Image:
        on = grid(d)
        x = on.points(torch.empty((), dtype=torch.float64))

        def blobs(seed: int) -> Tensor:
            heights = cloud(6, 1, seed=seed + 1).abs() + 0.2
            distances = (x[:, None] - cloud(6, d, seed=seed)).square().sum(2)
            return torch.exp(-distances / (2 * 0.35**2)) @ heights[:, 0]

        values = torch.stack([blobs(7000 + 10 * seed + 2 * k) + 0.2 * x[:, 0] for k in range(channels)])
        mask = (2 * blobs(8000 + 10 * seed) - 0.3).clamp(0, 1).reshape(on.shape) if masked else None
        return Image(values.reshape(channels, *on.shape).to(dtype), on, mask=mask)

    return make


def compound(d: int, dtype: torch.dtype, seed: int) -> Compound:
    """An image, and what was found in it."""
    return Compound([image()(d, dtype, seed), weighted_points(d, dtype, seed), curve(d, dtype, seed)])


IMAGE, MASKED = Entry("Image", image()), Entry("Image(masked)", image(masked=True), (2, 3))
COLORS = Entry("Image(2 channels, masked)", image(2, masked=True), (2,))
IMAGES = [IMAGE, MASKED, COLORS]
COMPOUND = Entry("Compound", compound, (2, 3))
SHAPES = [*POINT_SHAPES, SAMPLES, *IMAGES, COMPOUND]


def numbers(shape: Any) -> Tensor:
    """All that a loss may be differentiated in, one after the other: positions, values."""
    if isinstance(shape, Compound):
        return torch.cat([numbers(part) for part in shape.parts])
    return (shape.values if isinstance(shape, Image) else shape.x).flatten()


def with_numbers(shape: Any, x: Tensor) -> Any:
    """The shape with other ones."""
    if isinstance(shape, Compound):
        pieces = x.split([len(numbers(part)) for part in shape.parts])
        return Compound([with_numbers(part, piece) for part, piece in zip(shape.parts, pieces, strict=True)])
    if isinstance(shape, Image):
        return dataclasses.replace(shape, values=x.reshape(shape.values.shape))
    return shape.with_positions(x.reshape(shape.x.shape))


def moved_by(motion: Affine, shape: Any) -> Any:
    """The shape after a motion, exactly: grids move with their images."""
    if isinstance(shape, Compound):
        return Compound([moved_by(motion, part) for part in shape.parts])
    return shape.moved(motion.matrix, motion.translation) if isinstance(shape, Image) else motion @ shape


# ---- losses


@dataclass(frozen=True)
class LossEntry:
    """A loss with what is known of it.

    Attributes:
        make: builds it for a (source, target) of the given dtype.
        shapes: what it compares.
        symmetric: D(a, b) = D(b, a).
        rigid: D is the same after one rigid motion of both.
        rest: how large its gradient may be where shapes agree.
        power: D of shapes grown s times, the loss rescaled too, is s^power D; a function of the shape's own dimension.
    """

    name: str
    make: Callable[[Shape], Loss]
    shapes: tuple[Entry, ...]
    symmetric: bool = True
    rigid: bool = True
    rest: float = 1e-9
    power: Callable[[int], int] = lambda k: 2 * k

    def __repr__(self) -> str:
        return self.name

    def __call__(self, shape: Shape) -> Loss:
        return self.make(shape)


def pairs(shape: Any) -> Tensor:
    """Some points of a shape, each with itself."""
    index = torch.arange(0, len(shape.x), 2)
    return torch.stack([index, index], 1)


def facing(shape: Any) -> FacingLoss:
    """Faces that should look where they look."""
    normals = shape.measure().directions
    return FacingLoss(torch.arange(0, len(normals), 2), normals[::2].detach(), margin=0.99)


def each_part(shape: Any) -> CompoundLoss:
    """Losses without a unit for the parts of a `compound`."""
    mmd = MMDLoss(GaussianKernel(0.4), normalized=True)
    return CompoundLoss([SSDLoss() + 0.5 * LNCCLoss(1), mmd, mmd], [1.0, 0.2, 3.0])


WIDE = GaussianKernel(0.5) + 0.5 * CauchyKernel(0.3)
EXTENDED = (CURVE, MESH)
LOSSES = [
    LossEntry("LandmarkLoss", lambda s: LandmarkLoss(), (*POINT_SHAPES,), power=lambda k: 2),
    LossEntry("LandmarkLoss(pairs)", lambda s: LandmarkLoss(pairs(s)), (POINTS, MESH), power=lambda k: 2),
    LossEntry("MMDLoss", lambda s: MMDLoss(GaussianKernel(0.4)), (*POINT_SHAPES, SAMPLES)),
    LossEntry("MMDLoss(Laplacian)", lambda s: MMDLoss(LaplacianKernel(0.4)), (WEIGHTED, MESH)),
    LossEntry(
        "MMDLoss(normalized)",
        lambda s: MMDLoss(GaussianKernel(0.4), normalized=True),
        (WEIGHTED, CURVE),
        power=lambda k: 0,
    ),
    LossEntry("CurrentLoss", lambda s: CurrentLoss(WIDE), EXTENDED),
    LossEntry("VarifoldLoss", lambda s: VarifoldLoss(WIDE), EXTENDED),
    LossEntry("VarifoldLoss(oriented)", lambda s: VarifoldLoss(WIDE, Oriented(0.8)), EXTENDED),
    LossEntry("SinkhornLoss", lambda s: SinkhornLoss(0.3), (*POINT_SHAPES, SAMPLES), power=lambda k: 2),
    LossEntry("SinkhornLoss(unbalanced)", lambda s: SinkhornLoss(0.3, reach=0.7), (*POINT_SHAPES,), power=lambda k: 2),
    LossEntry("FacingLoss", facing, EXTENDED, symmetric=False, rigid=False, power=lambda k: 0),
    LossEntry("SSDLoss", lambda s: SSDLoss(), (*IMAGES,), symmetric=False, power=lambda k: 0),
    # windows that are nearly flat would rather have more contrast than what the target has
    LossEntry("LNCCLoss", lambda s: LNCCLoss(1), (*IMAGES,), symmetric=False, rest=0.01, power=lambda k: 0),
    LossEntry("MILoss", lambda s: MILoss(8), (*IMAGES,), power=lambda k: 0),
    LossEntry("DiceLoss", lambda s: DiceLoss(), (*IMAGES,), power=lambda k: 0),
    LossEntry("a sum of losses on images", lambda s: SSDLoss() + 0.3 * MILoss(6), (IMAGE,), False, power=lambda k: 0),
    LossEntry("CompoundLoss", each_part, (COMPOUND,), symmetric=False, rest=0.01, power=lambda k: 0),
    LossEntry("a sum of losses", lambda s: MMDLoss(WIDE) + 0.3 * MMDLoss(GaussianKernel(0.2)), (*POINT_SHAPES,)),
]


def each_loss() -> list[Any]:
    """(loss, shape, dimension) for all that fit together."""
    return [(loss, shape, d) for loss in LOSSES for shape in loss.shapes for d in shape.dimensions]


@dataclass(frozen=True)
class DensityLossEntry:
    """A loss of `Samples` that knows what they are compared with.

    Attributes:
        make: builds it for a dimension, a dtype and a seed.
        saved: whether a file can hold it.
    """

    name: str
    make: Callable[[int, torch.dtype, int], Loss]
    saved: bool = True

    def __repr__(self) -> str:
        return self.name

    def __call__(self, d: int = 2, dtype: torch.dtype = torch.float64, seed: int = 0) -> Loss:
        return self.make(d, dtype, seed)


def law(d: int, dtype: torch.dtype, seed: int) -> Mixture:
    """Three Gaussians, trained."""
    factors = torch.diag_embed(0.5 + cloud(3, d, seed=1100 + seed).abs()) + 0.3 * cloud(3 * d, d).reshape(3, d, d).tril(
        -1
    )
    weights, means = torch.tensor([0.2, 0.5, 0.3]), cloud(3, d, dtype, seed=1200 + seed)
    return Mixture(weights.to(dtype), means, factors.to(dtype), trained=True)


def conditional(given: int) -> Callable[[int, torch.dtype, int], Conditional]:
    """Builder of a `Conditional`: so many of the d coordinates are given."""
    return lambda d, dtype, seed: Conditional(law(d, dtype, seed), given)


def carried_given(d: int, dtype: torch.dtype, seed: int) -> Transported:
    """A conditional flow."""
    return Transported(field_flow(CONDITIONED_FIELDS[0].make, 3)(d, dtype, seed), conditional(1)(d, dtype, seed))


CONDITIONAL_LAWS = [
    Entry("Conditional", conditional(1), (2, 3)),
    Entry("Conditional(two are given)", conditional(2), (3,)),
    Entry("Independent", lambda d, dtype, seed: Independent(law(d - 1, dtype, seed), 1), (2, 3)),
    Entry("Transported(Conditional)", carried_given, (2, 3)),
]


def banana(x: Tensor) -> Tensor:
    """A density without a law."""
    return -0.5 * x.square().sum(1) - 2 * (x[:, -1] - x[:, 0].square()).square()


DENSITY_LOSSES = [
    DensityLossEntry("NLLLoss", lambda *a: NLLLoss(law(*a))),
    DensityLossEntry("NLLLoss(no barrier)", lambda d, dtype, seed: NLLLoss(Gaussian.standard(d, dtype), 0.0)),
    DensityLossEntry("GaussianProfileLoss", lambda *a: GaussianProfileLoss(0.2, 3.0)),
    DensityLossEntry("KLLoss", lambda *a: KLLoss(banana, 3.0), saved=False),
    DensityLossEntry("KLLoss(law)", lambda *a: KLLoss(law(*a))),
]


def inner_dimension(shape: Shape) -> int:
    """0 for points, 1 for curves, 2 for surfaces; 0 where there is no measure of it."""
    return {Curve: 1, Mesh: 2}.get(type(shape), 0)
