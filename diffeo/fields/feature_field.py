"""Random Fourier features: fields of finite width in the space of a kernel."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.fields.blocks import in_blocks
from diffeo.fields.bounds import balance, spectral_norm
from diffeo.fields.checks import check_positions
from diffeo.fields.linear import PlaneWaveField
from diffeo.kernels.algebra import Radial


class FeatureField(PlaneWaveField):
    r"""$v(x) = \sum_m \theta_m\,\varphi_m(x)$ with $\varphi = \sqrt{2k(0)/M}\,(\cos(\omega\cdot x + b),
    \sin(\omega\cdot x + b))$ and ω drawn from the spectral measure of the kernel.

    The kernel of this space, φ(x)·φ(y), tends to k as the width M grows (Rahimi & Recht, NeurIPS 2007).

    Args:
        kernel: whose spectral measure the frequencies are drawn from.
        dim: d, the dimension of the points.
        width: the number M of features, even.
        seed: of the draw.
        coefficients: θ, shape (M, d); zero if left out.
        frequencies: ω, shape (M/2, d), instead of drawing them.
        phases: b, shape (M/2,); zero if left out.

    Attributes:
        amplitude: √(2k(0)/M), with which φ(x)·φ(x) = k(0).

    Raises: ValueError where these do not fit together.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(
        self,
        kernel: Radial,
        dim: int,
        width: int = 256,
        seed: int = 0,
        coefficients: Tensor | None = None,
        frequencies: Tensor | None = None,
        phases: Tensor | None = None,
    ) -> None:
        super().__init__()
        if width < 2 or width % 2 or dim < 1:
            raise ValueError(
                f"FeatureField expects an even width, 2 or more, and a dimension, 1 or more, and got width {width}, "
                f"dim {dim}."
            )
        self.kernel, self.dim, self.width, self.seed = kernel, dim, width, seed
        self.amplitude = math.sqrt(2 * kernel.at_zero / width)
        if frequencies is None:
            like = torch.empty(()) if coefficients is None else coefficients
            frequencies = kernel.frequencies(width // 2, dim, torch.Generator().manual_seed(seed)).to(like)
        if frequencies.shape != (width // 2, dim):
            raise ValueError(
                f"FeatureField of width {width} in dimension {dim} expects frequencies of shape ({width // 2}, {dim}), "
                f"and got {tuple(frequencies.shape)}."
            )
        if coefficients is None:
            coefficients = frequencies.new_zeros(width, dim)
        if coefficients.shape != (width, dim):
            raise ValueError(
                f"FeatureField expects coefficients of shape ({width}, {dim}), and got {tuple(coefficients.shape)}."
            )
        phases = frequencies.new_zeros(width // 2) if phases is None else phases
        self.register_buffer("frequencies", frequencies.detach().clone())
        self.register_buffer("phases", phases.detach().clone())
        self.coefficients = nn.Parameter(coefficients.detach().clone())

    def waves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """cos(ω·x + b) and sin(ω·x + b), shape (n, M/2) each."""
        check_positions(x, self.dim, self.frequencies)
        return _CosSin.apply(torch.addmm(self.phases, x, self.frequencies.T))

    def features(self, x: Tensor) -> Tensor:
        """φ(x), shape (n, M): cosines, then sines."""
        return self.amplitude * torch.cat(self.waves(x), 1)

    def evaluate(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """φ(x) θ, without φ(x) in one piece."""
        even, odd = (self.amplitude * coefficients).tensor_split(2)

        def values(part: Tensor) -> Tensor:
            cos, sin = self.waves(part)
            return torch.addmm(cos @ even, sin, odd)

        return in_blocks(values, x, self.width)

    def gather(self, x: Tensor, p: Tensor) -> Tensor:
        """φ(x)ᵀ p."""
        cos, sin = self.waves(x)
        return self.amplitude * torch.cat([cos.T @ p, sin.T @ p])

    @property
    def directions(self) -> Tensor:
        """ω, once for the cosines and once for the sines."""
        return self.frequencies.repeat(2, 1)

    def feature_slopes(self, x: Tensor) -> Tensor:
        """Derivatives of the features along ω, shape (n, M)."""
        cos, sin = self.waves(x)
        return self.amplitude * torch.cat([-sin, cos], 1)

    def pull(self, x: Tensor, coefficients: Tensor, p: Tensor) -> Tensor:
        """Dv(x)ᵀp, shape (n, d)."""
        cos, sin = self.waves(x)
        even, odd = (p @ half.T for half in (self.amplitude * coefficients).tensor_split(2))
        return torch.addcmul(cos * odd, sin, even, value=-1) @ self.frequencies

    def hamilton(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """θ, v(q) and Dv(q)ᵀp, from the same waves."""
        cos, sin = self.waves(q)
        even, odd = self.amplitude * (cos.T @ p), self.amplitude * (sin.T @ p)
        v = self.amplitude * torch.addmm(cos @ even, sin, odd)
        along = self.amplitude * torch.addcmul(cos * (p @ odd.T), sin, p @ even.T, value=-1)
        return torch.cat([even, odd]), v, along @ self.frequencies

    def lipschitz(self) -> Tensor:
        """√(2k(0)/M) ‖θ‖ ‖ω‖ (spectral norms), as |Dφ(x)u|² = (2k(0)/M) Σ (ω·u)² at all x; balanced, if that is less.

        Cosine and sine of one frequency are balanced alike: their slopes are on a circle together.
        """
        even, odd = self.coefficients.tensor_split(2)
        factor = balance(torch.cat([even, odd], 1), self.frequencies)
        plain = spectral_norm(self.coefficients) * spectral_norm(self.frequencies)
        balanced = spectral_norm(factor.repeat(2, 1) * self.coefficients) * spectral_norm(self.frequencies / factor)
        return self.amplitude * torch.minimum(plain, balanced)

    def redrawn(self, seed: int) -> FeatureField:
        """Other frequencies of the same kernel."""
        rest = torch.zeros_like(self.coefficients)
        return FeatureField(self.kernel, self.dim, self.width, seed, rest).to(rest.device)

    def arguments(self) -> dict[str, Any]:
        """Kernel, width, the draw, coefficients."""
        return {
            "kernel": self.kernel,
            "dim": self.dim,
            "width": self.width,
            "seed": self.seed,
            "coefficients": self.coefficients.detach(),
            "frequencies": self.frequencies,
            "phases": self.phases,
        }

    def rescaled(self, factor: float, shift: Tensor) -> FeatureField:
        """Frequencies, phases, coefficients and the kernel's scale in the other units."""
        frequencies = self.frequencies / factor
        changed = {
            "kernel": self.kernel.rescaled(factor),
            "frequencies": frequencies,
            "phases": self.phases - frequencies @ shift.to(frequencies),
            "coefficients": factor * self.coefficients.detach(),
        }
        return FeatureField(**{**self.arguments(), **changed})

    def extra_repr(self) -> str:
        """The kernel and the width."""
        return f"{self.kernel!r}, dim={self.dim}, width={self.width}"


class _CosSin(torch.autograd.Function):
    """Cosine and sine of the same angles: each is the derivative of the other, and neither is computed again."""

    @staticmethod
    def forward(ctx: Any, angle: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = angle.cos(), angle.sin()
        ctx.save_for_backward(cos, sin)
        return cos, sin

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Tensor:
        cos, sin = ctx.saved_tensors
        of_cos, of_sin = cotangents
        return torch.addcmul(of_sin * cos, of_cos, sin, value=-1)
