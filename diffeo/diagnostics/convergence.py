r"""Does training converge, how fast, and is it proven to? The Polyak–Łojasiewicz constant, measured and bounded.

J is the objective, ∇J its gradient in the metric ∫‖v‖²_V dt. The constant measured is m = ‖∇J‖² / 2(J − J*): along the
gradient flow, d(J − J*)/ds = −2m(J − J*) exactly. A step of length η of gradient descent in V multiplies J − J* by at
most 1 − 2mη(1 − ηβ/2), β being a bound of the Hessian in V along the step.

**From below.** Let L layers take z_k to z_{k+1}, p_k = ∂J/∂z_k, and G_k be as in `diffeo.diagnostics.tangents` (for
residual layers of an RKHS, the Gram matrix K(z_k, z_k)). Layer k has the gradient ‖∇_k‖² = ⟨p_{k+1}, G_k p_{k+1}⟩, and
‖∇J‖² = (1/L) Σ_k ‖∇_k‖². Going backward, p_{k+1}ⁱ = Dφ_{k+1→L}(z_{k+1}ⁱ)ᵀ p_Lⁱ. If the loss, as a function of the end
points, has |p_L|² ≥ 2c(J − J*), it follows that

    m ≥ c · (1/L) Σ_k λ_min(G_k) · min_i σ_min(Dφ_{k+1→L}(z_{k+1}ⁱ))²                       (a posteriori)

For the mean of ½|Bz − y|² over n points, c = σ_min(B)²/n, σ_min being 0 if B does not reach all values.

**Before training** we know the start z₀, a constant of the space, |Dv| ≤ κ‖v‖, and a bound R of the length ∫‖v‖ dt.
Euler layers with hκ‖v_k‖ ≤ τ < 1 have σ_min(Dφ_{k→L}) ≥ Π(1 − hκ‖v_j‖) ≥ e^{−θκR}, where θ = −log(1 − τ)/τ → 1. The
features Φ of all points, ΦΦᵀ = G, change by at most κD_k in norm, D_k² being the sum of the squares of how far
the points have got; and D_{k+1} ≤ D_k + h‖v_k‖ ‖Φ(z_k)‖ with ‖Φ(z_k)‖ ≤ ‖Φ(z₀)‖ + κD_k, so that κD_k ≤ ‖Φ(z₀)‖
(e^{κR} − 1). With the extreme eigenvalues λ₀ and Λ₀ of G at the start,

    m ≥ c · (√λ₀ − √Λ₀ (e^{κR} − 1))₊² · e^{−2θκR}                                          (a priori)

If this m(R) satisfies J₀ − J* ≤ ½ m(R) R² at the identity, the gradient flow is no longer than √(2(J₀ − J*)/m(R)) ≤ R,
never leaves the ball in which m(R) is proven, and converges at least like e^{−2m(R)s}: see `guarantee`.

Source: Barboni, Peyré & Vialard, "On global convergence of ResNets", arXiv 2112.05531, whose constants have this form;
those here are for layers as they are computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo, Loss
from diffeo.diagnostics.metric import gradient_in_v
from diffeo.diagnostics.spaces import embedding
from diffeo.diagnostics.tangents import gram, smallest
from diffeo.flows import Flow
from diffeo.flows.layers import FieldLayer
from diffeo.heads import LinearReadOut
from diffeo.losses import LandmarkLoss, SquaredLoss
from diffeo.shapes import Encoded, Points, PointShape
from diffeo.solvers import Euler


@dataclass(frozen=True)
class Layers:
    """What is known of each of L layers; tensors of shape (L,)."""

    gradients: Tensor
    """‖∇_k‖_V."""
    norms: Tensor
    """‖v_k‖_V."""
    grams: Tensor
    """λ_min(G_k)."""
    jacobians: Tensor
    """The smallest singular value of Dφ_{k+1→L} at the points."""


@dataclass(frozen=True)
class Convergence:
    """The state of training at one point.

    Attributes:
        iteration: when it was taken.
        objective: J.
        gap: J − J*.
        gradient: ‖∇J‖_V.
        layers: per layer; None for maps that are not flows of one field per layer, moving points.
        read_out: σ_min(B)² of a linear read-out, 1 where there is none; NaN where that makes no sense.
        end: c with |p_L|² ≥ 2c(J − J*): proven for squared losses, else measured at this point.
        posterior: the a-posteriori bound of ``constant``; NaN where none is known.
        prior: the a-priori bound for the present length ∫‖v‖; 0 where nothing is proven.
    """

    iteration: int
    objective: float
    gap: float
    gradient: float
    layers: Layers | None = None
    read_out: float = math.nan
    end: float = math.nan
    posterior: float = math.nan
    prior: float = 0.0

    @property
    def constant(self) -> float:
        """The measured m; NaN at the minimum."""
        return self.gradient**2 / (2 * self.gap) if self.gap > 0 else math.nan

    def __str__(self) -> str:
        return (
            f"J − J* = {self.gap:.3g}; PL constant {self.constant:.3g}, certified a posteriori {self.posterior:.3g}, "
            f"a priori {self.prior:.3g}"
        )


def convergence(
    phi: Diffeo,
    pairs: Sequence[tuple[Any, Any]],
    loss: Loss,
    weight: float = 0.0,
    *,
    best: float = 0.0,
    iteration: int = 0,
) -> Convergence:
    """The PL constant at the present parameters, what it is made of, and its bounds.

    Args:
        phi: the map; `Flow` with one field per layer for all that concerns layers.
        pairs: (source, target), sources being points for all that concerns layers.
        loss: D; for a weight of 0 the bounds are known.
        weight: of the energy.
        best: J*, the smallest value J can have.
        iteration: written into the result.
    """
    value, gradient = gradient_in_v(phi, pairs, loss, weight)
    state = {"iteration": iteration, "objective": value, "gap": value - best, "gradient": gradient}
    if not layered(phi, pairs):
        return Convergence(**state)
    assert isinstance(phi, Flow)
    z, p = ends(phi, pairs, loss)
    layers = _layers(phi, z, p)
    if weight:
        return Convergence(**state, layers=layers)
    read_out, end = of_loss(loss, pairs)
    length, largest = float(layers.norms.mean()), float(layers.norms.max())
    prior = 0.0 if math.isnan(end) else end * before_training(phi, z, length, largest)
    if math.isnan(end) and value > best:
        end = float(p.square().sum()) / (2 * (value - best))
    posterior = end * float((layers.grams * layers.jacobians.square()).mean())
    return Convergence(**state, layers=layers, read_out=read_out, end=end, posterior=posterior, prior=prior)


def layered(phi: Diffeo, pairs: Sequence[tuple[Any, Any]]) -> bool:
    """Whether a map has one field per layer, and moves points."""
    flow = isinstance(phi, Flow) and not phi.shared and not phi.carried
    return flow and all(points_of(source) is not None for source, _ in pairs)


def points_of(source: Any) -> PointShape | None:
    """What φ moves, where that is points."""
    shape = source.points() if isinstance(source, Encoded) else source
    return shape if isinstance(shape, PointShape) else None


def ends(phi: Flow, pairs: Sequence[tuple[Any, Any]], loss: Loss) -> tuple[Tensor, Tensor]:
    """The positions of all points at the start, and ∂J/∂z at the end, shape (n, d) each."""
    starts, momenta = [], []
    for source, target in pairs:
        shape = points_of(source)
        assert shape is not None
        with torch.no_grad():
            moved = phi(shape.x)
        moved.requires_grad_()
        with torch.enable_grad():
            value = loss(shape.with_positions(moved), target)
        momenta.append(torch.autograd.grad(value, moved)[0])
        starts.append(shape.x.detach())
    return torch.cat(starts), torch.cat(momenta)


@torch.no_grad()
def _layers(phi: Flow, z: Tensor, p: Tensor) -> Layers:
    """Forward through the layers, and back with momenta and derivatives."""
    fields, steps = phi.layer_fields(), phi.layers()
    positions, derivatives = [z], []
    for step in steps:
        moved, derivative = step.with_jacobian(positions[-1])
        positions.append(moved)
        derivatives.append(derivative)
    ahead = torch.eye(z.shape[1], dtype=z.dtype, device=z.device).expand(len(z), -1, -1)
    gradients, grams, jacobians = [], [], []
    for k in range(len(fields) - 1, -1, -1):
        first = k * phi.substeps
        own = [step for step in steps[first : first + phi.substeps] if isinstance(step, FieldLayer)]
        G = gram(fields[k], own, positions[first])
        arriving = torch.einsum("nba,nb->na", ahead, p)
        pull = G @ arriving if len(G) == len(z) else (G @ arriving.flatten()).reshape(arriving.shape)
        gradients.append((arriving * pull).sum().clamp(min=0).sqrt())
        grams.append(smallest(G))
        jacobians.append(torch.linalg.svdvals(ahead)[:, -1].min())
        for derivative in reversed(derivatives[first : first + phi.substeps]):
            ahead = ahead @ derivative
    norms = torch.stack([field.sqnorm().clamp(min=0).sqrt() for field in fields])
    eigenvalues = torch.tensor(grams[::-1], dtype=norms.dtype, device=norms.device)
    return Layers(torch.stack(gradients[::-1]), norms, eigenvalues, torch.stack(jacobians[::-1]))


def of_loss(loss: Loss, pairs: Sequence[tuple[Any, Any]]) -> tuple[float, float]:
    """σ_min(B)² and c of a squared loss; NaN where they are not known."""
    shapes = [shape for source, _ in pairs if (shape := points_of(source)) is not None]
    if isinstance(loss, LandmarkLoss) and loss.pairs is None:
        return 1.0, 2 / max(len(shape.x) for shape in shapes)
    if isinstance(loss, SquaredLoss) and isinstance(loss.head, LinearReadOut):
        weight = loss.head.weight.detach().double()
        square = max(float(torch.linalg.eigvalsh(weight @ weight.T)[0]), 0.0)
        return square, square * min(_smallest_share(shape) for shape in shapes)
    return math.nan, math.nan


def _smallest_share(shape: PointShape) -> float:
    """Of a point in the mean over all."""
    if isinstance(shape, Points) and shape.weights is not None:
        return float(shape.weights.min() / shape.weights.sum())
    return 1 / len(shape.x)


@torch.no_grad()
def before_training(phi: Flow, z: Tensor, length: float, largest: float) -> float:
    """(√λ₀ − √Λ₀(e^{κR} − 1))₊² e^{−2θκR} for a length R and ‖v_k‖ ≤ ``largest``; 0 where nothing is proven.

    Args:
        phi: gives the spaces of the layers and the solver; not the velocities.
        z: the points before it, shape (n, d).
        length: R.
        largest: of the norms of its velocities.
    """
    fields, h = phi.layer_fields(), 1 / phi.steps
    slope = max(embedding(field).slope for field in fields)
    if not (isinstance(phi.solver, Euler) and phi.substeps == 1 and math.isfinite(slope) and h * slope * largest < 1):
        return 0.0
    tau = h * slope * largest
    theta = -math.log1p(-tau) / tau if tau > 0 else 1.0
    grams = [gram(field, [FieldLayer(field, phi.solver, 0.0, h)], z) for field in fields]
    values = torch.stack([torch.linalg.eigvalsh(G)[[0, -1]] for G in grams]).double().clamp(min=0).sqrt()
    left = (values[:, 0] - values[:, 1].max() * math.expm1(min(slope * length, 100.0))).clamp(min=0)
    return float(left.square().mean()) * math.exp(-2 * theta * slope * length)
