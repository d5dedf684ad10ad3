r"""Fourier transforms of radial kernels, k̂(ξ) = ∫ k(|x|²) e^{-iξ·x} dx over R^d, as functions of u = |ξ|².

With this convention (x ↦ K m) is multiplication by k̂, ∫ k̂ dξ / (2π)^d = k(0), and a kernel is positive where k̂ ≥ 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Jet = Callable[[Any], tuple[Any, Any, Any]]

SPAN = 23.0  # numerical transforms go over distances from e^-SPAN to e^SPAN scales
NODES = 4096
FAR = 1e6  # scales at which a kernel shows how it decays
MISSED = 3e-3  # of k(0): less than what drawing a hundred thousand frequencies leaves uncertain


def gaussian(u: Tensor, d: int, scale: float) -> Tensor:
    """Of exp(−r²/2σ²)."""
    return (2 * math.pi * scale**2) ** (d / 2) * torch.exp(-0.5 * scale**2 * u)


def matern(u: Tensor, d: int, scale: float, nu: float) -> Tensor:
    """Of the Matérn kernel of order ν. Source: Rasmussen & Williams, Gaussian Processes, 2006, eq. 4.15."""
    root = 2 * nu / scale**2
    constant = 2**d * math.pi ** (d / 2) * math.gamma(nu + d / 2) / math.gamma(nu) * root**nu
    return constant * (root + u) ** -(nu + d / 2)


def inverse_power(u: Tensor, d: int, scale: float, power: float) -> Tensor:
    """Of (1 + r²/σ²)^-a, a being ½ or 1; infinite at 0 where 2a ≤ d, since the kernel is not integrable.

    Source: Wendland, Scattered Data Approximation, 2005, theorem 6.13.
    """
    w = scale * u.sqrt()
    constant = scale**d * 2 * math.pi ** (d / 2) / math.gamma(power)
    return constant * _bessel(w, power - d / 2)


def _bessel(w: Tensor, order: float) -> Tensor:
    """(w/2)^ν K_ν(w) for the orders ν = ½, 0, −½, −1."""
    if order == 0.5:
        return 0.5 * math.sqrt(math.pi) * torch.exp(-w)
    if order == 0:
        return torch.special.modified_bessel_k0(w)
    if order == -0.5:
        return math.sqrt(math.pi) * torch.exp(-w) / w
    if order == -1:
        return 2 * torch.special.modified_bessel_k1(w) / w
    raise ValueError(f"inverse powers have spectra in closed form in dimensions 1, 2 and 3 (got the order {order}).")


def numerical(jet: Jet, u: Tensor, d: int, scale: float) -> Tensor:
    """Of any kernel, from its values alone, to about 1e-9 of the largest: a Hankel transform on a logarithmic grid.

    Source: Hamilton, Mon. Not. R. Astron. Soc., 2000 (FFTLog).
    """
    from scipy.fft import fht, fhtoffset  # slow to import, and seldom needed
    from scipy.interpolate import CubicSpline

    log_r = np.linspace(-SPAN, SPAN, NODES) + math.log(scale)
    step, order, decay = log_r[1] - log_r[0], d / 2 - 1, _decay(jet, scale)
    bias = 0.5 * (d - min(decay, d + 0.5 * (d > 1)))  # what is transformed should decay alike at both ends
    offset = fhtoffset(step, order, bias=bias)
    r = torch.from_numpy(np.exp(log_r))
    values = (jet(r.square())[0] * r ** (d / 2)).numpy()
    log_xi = offset - log_r[::-1]
    found = (2 * math.pi) ** (d / 2) * np.exp(-log_xi * d / 2) * fht(values, step, order, offset, bias)
    inner = slice(NODES // 5, -NODES // 5)  # the ends feel that the transform is periodic in the logarithm
    curve = CubicSpline(log_xi[inner], found[inner])
    lowest, highest = log_xi[inner][0], log_xi[inner][-1]
    log_w = 0.5 * u.detach().double().cpu().log()
    k_hat = torch.from_numpy(curve(log_w.clamp(lowest, highest).numpy())).clamp(min=0)
    beyond = torch.where(log_w > highest, 0.0, k_hat)
    return torch.where(log_w.isneginf() & (decay <= d), math.inf, beyond).to(u)


def _decay(jet: Jet, scale: float) -> float:
    """The power of 1/r as which a kernel decays, infinite where it is faster than any; it is integrable above d."""
    far = torch.tensor((FAR * scale) ** 2, dtype=torch.float64)
    k, slope, _ = (float(value) for value in jet(far))
    return math.inf if k == 0 else round(-2 * float(far) * slope / k, 6)


def mixture_draws(shape: float, scale: float, n: int, d: int, generator: torch.Generator) -> Tensor:
    """Frequencies of (1 + r²/σ²)^-a, shape (n, d): a mixture of Gaussians exp(−s r²/σ²), s ~ Gamma(a, 1)."""
    s = _gamma(shape, n, generator)
    return (2 * s).sqrt()[:, None] / scale * _normal(n, d, generator)


def student_draws(nu: float, scale: float, n: int, d: int, generator: torch.Generator) -> Tensor:
    """Frequencies of the Matérn kernel of order ν, shape (n, d): Student's t of 2ν degrees of freedom over σ."""
    chi2 = 2 * _gamma(nu, n, generator)
    return (2 * nu / chi2).sqrt()[:, None] / scale * _normal(n, d, generator)


def gaussian_draws(scale: float, n: int, d: int, generator: torch.Generator) -> Tensor:
    """Frequencies of exp(−r²/2σ²), shape (n, d)."""
    return _normal(n, d, generator) / scale


def radial_draws(
    spectrum: Callable[[Tensor], Tensor], n: int, d: int, scales: tuple[float, ...], generator: torch.Generator
) -> Tensor:
    """Frequencies of any kernel, shape (n, d): directions at random, lengths with the density r^{d−1} k̂(r²)."""
    lowest, highest = 1e-6 / max(scales), 1e6 / min(scales)
    edges = torch.logspace(math.log10(lowest), math.log10(highest), 20001, dtype=torch.float64)
    middle = (edges[1:] * edges[:-1]).sqrt()
    mass = middle**d * spectrum(middle.square())  # the cells are equally wide in log r
    total = mass.cumsum(0)
    level = torch.rand(n, generator=generator, dtype=torch.float64) * total[-1]
    cell = torch.searchsorted(total, level).clamp(max=len(mass) - 1)
    directions = torch.nn.functional.normalize(_normal(n, d, generator), dim=1)
    return middle[cell][:, None] * directions


def scale_mixture(jet: Jet, scales: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Exponents s and weights w ≥ 0 with k(u)/k(0) = Σ w exp(−s u): what kernels that are positive in every R^d are.

    Raises: ValueError where k is not of this kind, up to 0.3 % of k(0).
    Source: Schoenberg, Ann. Math. 39, 1938.
    """
    from scipy.optimize import lsq_linear  # slow to import, and seldom needed

    low, high = 2 * math.log10(min(scales)), 2 * math.log10(max(scales))
    s = torch.logspace(-8 - high, 6 - low, 180, dtype=torch.float64)
    u = torch.cat([torch.zeros(1, dtype=torch.float64), torch.logspace(low - 6, high + 6, 120, dtype=torch.float64)])
    values = jet(u)[0]
    values = values / values[0]
    waves = torch.exp(-u[:, None] * s)
    weights = torch.from_numpy(lsq_linear(waves.numpy(), values.numpy(), (0, math.inf), tol=1e-8, max_iter=100).x)
    missed = float((waves @ weights - values).abs().max())
    if missed > MISSED:
        raise ValueError(
            f"frequencies beyond dimension 3 can be drawn for mixtures of Gaussians, to which this kernel comes no "
            f"closer than {missed:.1%} of k(0): give it a method frequencies(n, d, generator)."
        )
    return s, weights


def gaussian_mixture_draws(s: Tensor, weights: Tensor, n: int, d: int, generator: torch.Generator) -> Tensor:
    """Frequencies of Σ w exp(−s r²), shape (n, d)."""
    which = torch.multinomial(weights, n, replacement=True, generator=generator)
    return (2 * s[which]).sqrt()[:, None] * _normal(n, d, generator)


def _normal(n: int, d: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def _gamma(shape: float, n: int, generator: torch.Generator) -> Tensor:
    """Gamma(shape, 1) for half-integer shapes: half a sum of squares of normals."""
    degrees = round(2 * shape)
    if degrees != 2 * shape:
        raise ValueError(f"expected a shape that is a multiple of ½, and got {shape}.")
    return 0.5 * _normal(n, degrees, generator).square().sum(1)
