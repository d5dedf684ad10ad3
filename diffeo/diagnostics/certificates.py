r"""Certificates: what is proven of a map for *all* points, from the Lipschitz bounds of its velocities.

A layer Φ = id + g with Lip(g) ≤ r has $|\Phi(x) - \Phi(y)| \le (1 + r)\,|x - y|$. If r < 1, it is one-to-one onto
$R^d$, $|\Phi(x) - \Phi(y)| \ge (1 - r)\,|x - y|$, and its inverse is the limit of x ← y − g(x).

For a step h of a Runge–Kutta method with coefficients $a_{ij}, b_i \ge 0$, along velocities with a Lipschitz constant
$\ell_i$ at stage i, the stages obey $|k_i(x) - k_i(y)| \le \ell_i\,(|x - y| + h \sum_j a_{ij} |k_j(x) - k_j(y)|)$: the
method's own recursion for $\dot s = \ell s$ from $s = |x - y|$. So r is what one step of the same method adds to s = 1:
hℓ for Euler, hℓ + (hℓ)²/2 for two stages of order 2, hℓ + … + (hℓ)⁴/24 for RK4.

Layers that move every coordinate on its own are invertible where all slopes are positive, also those with r > 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffeo.core import Compose, Diffeo, Field, Inverse, Solver
from diffeo.diagnostics.spaces import embedding, space_of
from diffeo.fields.kernel_field import PlainField
from diffeo.fields.separable_field import SeparableField
from diffeo.flows import Affine, FieldGeodesic, Flow, Geodesic, LearnedAffine
from diffeo.flows.greedy import Greedy
from diffeo.flows.layered import Layered
from diffeo.flows.layers import FieldLayer, Layer
from diffeo.solvers import Adaptive, Euler


class Bound(NamedTuple):
    """What is proven of one layer."""

    step: float
    """h·Lip(v); NaN where the layer is no step along a field."""
    residual: float
    """r ≥ Lip(layer − id)."""
    largest: float
    """≥ the Lipschitz constant of the layer."""
    smallest: float
    """≤ 1 / the Lipschitz constant of its inverse; 0 where nothing is proven."""


class Spectrum(NamedTuple):
    """What was measured: the extreme singular values of derivatives, at given points only."""

    largest: Tensor
    """For each layer the largest of D layer where the points have got to, shape (L,)."""
    smallest: Tensor
    """The smallest, shape (L,)."""
    map_largest: float
    """Of Dφ at the points."""
    map_smallest: float


@dataclass(frozen=True)
class Certificate:
    """What is proven of a map everywhere (``bounds``), beside what was measured at points (``measured``)."""

    bounds: list[Bound]
    measured: Spectrum | None = None

    @property
    def layers_invertible(self) -> list[bool]:
        """For each layer whether it is certified to be a diffeomorphism of R^d."""
        return [bound.smallest > 0 for bound in self.bounds]

    @property
    def invertible(self) -> bool:
        """Whether all layers are. No is no proof of a fold."""
        return all(self.layers_invertible)

    @property
    def lipschitz(self) -> float:
        """|φ(x) − φ(y)| ≤ this · |x − y|, everywhere."""
        return math.prod(bound.largest for bound in self.bounds)

    @property
    def inverse_lipschitz(self) -> float:
        """|φ⁻¹(x) − φ⁻¹(y)| ≤ this · |x − y|, everywhere; infinite where a layer is not certified."""
        return math.prod(1 / bound.smallest if bound.smallest > 0 else math.inf for bound in self.bounds)

    @property
    def looseness(self) -> float:
        """The certified Lipschitz constant over the largest stretch measured; 1 is sharp. NaN without points."""
        return self.lipschitz / self.measured.map_largest if self.measured else math.nan

    def __str__(self) -> str:
        steps = [bound.step for bound in self.bounds if not math.isnan(bound.step)]
        rates = f", h·Lip(v) up to {max(steps):.3g}" if steps else ""
        proven = (
            f"{sum(self.layers_invertible)} of {len(self.bounds)} layers certified invertible{rates}; "
            f"everywhere Lip(φ) ≤ {self.lipschitz:.4g}, Lip(φ⁻¹) ≤ {self.inverse_lipschitz:.4g}"
        )
        if self.measured is None:
            return proven
        least, most = self.measured.map_smallest, self.measured.map_largest
        return f"{proven}; at the points Dφ stretches by {least:.4g} to {most:.4g}"


@torch.no_grad()
def certificate(phi: Diffeo, x: Tensor | None = None) -> Certificate:
    """The Lipschitz bounds of a map, layer by layer; with points x, shape (n, d), also how tight they are there.

    Along `Adaptive` steps they hold up to the tolerances, along others up to rounding.

    Raises: ValueError for maps that are not made of layers along fields.
    """
    return Certificate(_bounds(phi), None if x is None else _measured(phi, x))


def _bounds(phi: Diffeo) -> list[Bound]:
    if isinstance(phi, Compose):
        return [bound for part in phi.diffeos for bound in _bounds(part)]
    if isinstance(phi, Inverse):
        return [_inverted(bound) for bound in reversed(_bounds(phi.phi))]
    if isinstance(phi, Affine | LearnedAffine):
        return [_affine(phi)]
    if isinstance(phi, Geodesic | FieldGeodesic):
        return _shot(phi)
    if isinstance(phi, Flow) and not phi.carried:
        fields = [field for field in phi.layer_fields() for _ in range(phi.substeps)]
        return [_along_field(*both) for both in zip(_steps(phi), fields, strict=True)]
    if isinstance(phi, Flow | Greedy):
        velocities: list[Any] = [layer.velocity for layer in _steps(phi)]
        return [_along(layer, v.lipschitz()) for layer, v in zip(_steps(phi), velocities, strict=True)]
    raise ValueError(
        "a certificate rests on the Lipschitz bounds of layers: it expects a Flow, a Geodesic, a Descent, an Affine, a "
        f"composition or an inverse of these, and got a {type(phi).__name__}."
    )


def _of_growth(step: float, grown: float, solver: Solver) -> Bound:
    """For a solver that makes s = 1 grow so; what is integrated exactly shrinks no more than it grows (Gronwall)."""
    smallest = 1 / grown if isinstance(solver, Adaptive) else max(0.0, 2 - grown)
    return Bound(step, grown - 1, grown, smallest)


def _steps(phi: Layered) -> list[FieldLayer]:
    return [layer for layer in phi.layers() if isinstance(layer, FieldLayer)]


def _along(layer: FieldLayer, lipschitz: Tensor) -> Bound:
    """By the step of ṡ = Lip(v) s from 1."""
    lipschitz = lipschitz.double()
    grown = layer.solver.step(lambda _, s: lipschitz * s, layer.time, layer.duration, torch.ones_like(lipschitz))
    return _of_growth(layer.duration * float(lipschitz), float(grown), layer.solver)


def _along_field(layer: FieldLayer, field: Field) -> Bound:
    """By its Lipschitz constant; where an Euler step moves every coordinate on its own, by the slopes 1 + h·v' > 0."""
    if not (isinstance(field, SeparableField) and isinstance(layer.solver, Euler)):
        return _along(layer, field.lipschitz())
    low, high = (layer.duration * slopes.double() for slopes in field.slope_bounds())
    least, most, residual = float(low.min()), float(high.max()), float(torch.maximum(-low, high).max())
    return Bound(residual, residual, max(1 + most, -1 - least), max(0.0, 1 + least))


def _shot(phi: Geodesic | FieldGeodesic) -> list[Bound]:
    """As along a field, which here changes from stage to stage: its norm follows from the positions and momenta."""
    slope = embedding(space_of(phi)).slope

    def steepness(q: Tensor, p: Tensor) -> Tensor:
        if isinstance(phi, Geodesic):
            return PlainField(phi.kernel, q, p).lipschitz().double()
        return slope * (2 * phi.hamiltonian(q, p)).clamp(min=0).sqrt().double()

    def f(_: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        q, p, s = state
        return *phi.motion(q, p)[:2], steepness(q, p) * s

    found, h = [], 1 / phi.steps
    for q, p in phi.shoot()[:-1]:
        steep = steepness(q, p)
        grown = phi.solver.step(f, 0.0, h, (q, p, torch.ones_like(steep)))[2]
        found.append(_of_growth(h * float(steep), float(grown), phi.solver))
    return found


def _affine(phi: Affine | LearnedAffine) -> Bound:
    """Exactly."""
    matrix = phi.matrix.double()
    values = torch.linalg.svdvals(matrix)
    residual = torch.linalg.matrix_norm(matrix - torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device), 2)
    return Bound(math.nan, float(residual), float(values[0]), float(values[-1]))


def _inverted(bound: Bound) -> Bound:
    """Ψ = Φ⁻¹ has Ψ − id = −g∘Ψ."""
    largest = 1 / bound.smallest if bound.smallest > 0 else math.inf
    return Bound(bound.step, bound.residual * largest, largest, 1 / bound.largest)


def _measured(phi: Diffeo, x: Tensor) -> Spectrum:
    largest, smallest, z = [], [], x
    for layer in _stages(phi):
        z, jacobian = layer.with_jacobian(z)
        values = torch.linalg.svdvals(jacobian)
        largest.append(values[:, 0].max())
        smallest.append(values[:, -1].min())
    values = torch.linalg.svdvals(phi.with_jacobian(x)[1])
    return Spectrum(torch.stack(largest), torch.stack(smallest), float(values[:, 0].max()), float(values[:, -1].min()))


def _stages(phi: Diffeo) -> list[Layer | Diffeo | _Back]:
    """The layers, and what is not made of layers as one."""
    if isinstance(phi, Compose):
        return [stage for part in phi.diffeos for stage in _stages(part)]
    if isinstance(phi, Inverse):
        return [_Back(stage) for stage in reversed(_stages(phi.phi))]
    return [*phi.layers()] if isinstance(phi, Layered) else [phi]


class _Back(NamedTuple):
    """A layer gone through backward."""

    stage: Any

    def with_jacobian(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The point that goes to y, and the derivative of the inverse at y."""
        x = self.stage.inverse(y)
        return x, torch.linalg.inv(self.stage.with_jacobian(x)[1])

    def inverse(self, x: Tensor) -> Tensor:
        """The layer itself."""
        return self.stage(x)
