"""How regular training left a map: in depth, in space, and in what it does to lengths.

In depth: if the velocities of neighboring layers differ by O(1/L), the layers are steps of an ordinary differential
equation, and a deeper network is a finer discretization of the same map. Independent layers differ by O(1) at every
depth. On a log–log plot of the largest difference against L, the slope is −1 or 0 (Marion et al., arXiv 2309.01213).

In space: the power of the velocities by frequency. In the space of a kernel with spectrum k̂, that of a random velocity
is k̂ along every line: Gaussian for a Gaussian kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo, Field
from diffeo.diagnostics.metric import unknowns
from diffeo.diagnostics.states import State, states
from diffeo.fields.kernel_field import KernelField, PlainField
from diffeo.fields.linear import Expansion
from diffeo.flows import Flow

LINES, SAMPLES = 48, 128  # along which velocities are sampled, and how often along each


@dataclass(frozen=True)
class Regularity:
    """How regular a map is.

    Attributes:
        jumps: ‖v_{k+1} − v_k‖_V, or the same for the unknowns of fields that have no such norm, shape (L − 1,); NaN
            where velocities cannot be compared.
        norms: ‖v_k‖_V, shape (L,).
        frequencies: ω ≥ 0, radians per length unit, shape (F,).
        power: of each layer at the frequencies, shape (L, F), along lines through the data; sums to 1 for each layer.
        singular_values: of Dφ at the points, largest first, shape (n, d).
    """

    jumps: Tensor
    norms: Tensor
    frequencies: Tensor
    power: Tensor
    singular_values: Tensor

    @property
    def depth(self) -> int:
        """The number L of layers."""
        return len(self.norms)

    @property
    def largest_jump(self) -> float:
        """max_k ‖v_{k+1} − v_k‖; 0 for one layer."""
        return float(self.jumps.max()) if len(self.jumps) else 0.0

    @property
    def bandwidths(self) -> Tensor:
        """The root mean square frequency of each layer, shape (L,): 1/σ for random fields of a Gaussian kernel."""
        return (self.power @ self.frequencies.square()).sqrt()

    def __str__(self) -> str:
        low, high = float(self.singular_values.min()), float(self.singular_values.max())
        return (
            f"{self.depth} layers: neighbors differ by up to {self.largest_jump:.3g} of {float(self.norms.max()):.3g}; "
            f"frequencies about {float(self.bandwidths.mean()):.3g}; Dφ stretches by {low:.3g} to {high:.3g}"
        )


@torch.no_grad()
def regularity(phi: Diffeo, x: Tensor, seed: int = 0) -> Regularity:
    """The regularity of a Flow, a Geodesic or a Descent around points x, shape (n, d).

    Velocities are sampled along lines through some of the points, twice as long as the data are wide; ``seed`` chooses
    points and directions.
    """
    found = states(phi)
    frequencies, power = _spectra(found, x, seed)
    return Regularity(
        jumps=_jumps(phi, found),
        norms=torch.stack([state.speed for state in found]),
        frequencies=frequencies,
        power=power,
        singular_values=torch.linalg.svdvals(phi.with_jacobian(x)[1]),
    )


def depth_slope(found: Sequence[Regularity]) -> float:
    """The slope of log max_k ‖v_{k+1} − v_k‖ against log L, by least squares over maps of different depths.

    Raises: ValueError for less than two depths, or for layers that do not differ.
    """
    if len({one.depth for one in found}) < 2 or not all(one.largest_jump > 0 for one in found):
        raise ValueError("a slope in depth needs maps of at least two depths, each with layers that differ.")
    x, y = (
        torch.tensor(v, dtype=torch.float64).log() for v in ([f.depth for f in found], [f.largest_jump for f in found])
    )
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def _jumps(phi: Diffeo, found: Sequence[State]) -> Tensor:
    known = isinstance(phi, Flow) and not phi.carried
    return _stacked([_between(a.velocity, b.velocity, known) for a, b in pairwise(found)], found)


def _stacked(values: list[Tensor], found: Sequence[State]) -> Tensor:
    return torch.stack(values).to(found[0].speed) if values else found[0].speed.new_zeros(0)


def _apart(a: Field, b: Field) -> Tensor:
    """In the metric of the unknowns."""
    pairs = zip(unknowns(a), unknowns(b), strict=True)
    return torch.stack([(p - q).square().sum() / rate for (p, rate), (q, _) in pairs]).sum().sqrt()


def _between(a: Any, b: Any, alike: bool) -> Tensor:
    """‖v − w‖_V where it is known, else in the metric of the unknowns of fields that are alike; else NaN."""
    a, b = (v.frozen() if isinstance(v, KernelField) else v for v in (a, b))
    if isinstance(a, PlainField) and isinstance(b, PlainField):
        both = PlainField(a.kernel, torch.cat([a.controls, b.controls]), torch.cat([a.momenta, -b.momenta]))
        return both.sqnorm().clamp(min=0).sqrt()
    if isinstance(a, Expansion) and isinstance(b, Expansion):
        return (a.coefficients - b.coefficients).norm()
    return _apart(a, b) if alike and isinstance(a, Field) and isinstance(b, Field) else torch.tensor(math.nan)


def _spectra(found: Sequence[State], x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Frequencies (F,) and the power there, (L, F): periodograms with a Hann window, over lines and components."""
    draw = torch.Generator().manual_seed(seed)
    length = 2 * float((x.amax(0) - x.amin(0)).max()) or 1.0
    centers = x[torch.randint(len(x), (LINES,), generator=draw).to(x.device)]
    directions = torch.nn.functional.normalize(
        torch.randn(LINES, x.shape[1], generator=draw, dtype=torch.float64), dim=1
    )
    t = (torch.arange(SAMPLES, dtype=torch.float64) / SAMPLES - 0.5) * length
    points = centers[:, None] + (t[:, None] * directions[:, None]).to(x)
    window = torch.hann_window(SAMPLES, dtype=torch.float64).to(x)
    rows = []
    for state in found:
        values = state.velocity(points.flatten(0, 1)).reshape(LINES, SAMPLES, -1)
        power = torch.fft.rfft(window[:, None] * values, dim=1).abs().square().sum((0, 2))
        power[1:-1] *= 2  # ω and −ω
        total = power.sum()
        rows.append(power / torch.where(total > 0, total, 1.0))
    frequencies = 2 * math.pi / length * torch.arange(SAMPLES // 2 + 1, dtype=torch.float64)
    return frequencies.to(x), torch.stack(rows)
