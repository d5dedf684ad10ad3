"""What laws are checked with: random data, motions, and derivatives found without the code under test."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

seeds = st.integers(min_value=0, max_value=2**31 - 1)


def cloud(n: int, d: int, dtype: torch.dtype = torch.float64, seed: int = 0, size: float = 0.5) -> Tensor:
    """Normal points of standard deviation ``size``."""
    generator = torch.Generator().manual_seed(seed)
    return (size * torch.randn(n, d, generator=generator, dtype=torch.float64)).to(dtype)


def like(value: Tensor, seed: int = 0, size: float = 0.5) -> Tensor:
    """Normal numbers of standard deviation ``size`` in the shape and dtype of a tensor."""
    return cloud(len(value), value[0].numel(), value.dtype, seed, size).reshape(value.shape)


def rotation(d: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """A random matrix of SO(d)."""
    q, r = torch.linalg.qr(cloud(d, d, seed=seed))
    q = q * r.diagonal().sign()
    q[:, 0] *= torch.linalg.det(q).sign()
    return q.to(dtype)


def relative(value: Tensor, expected: Tensor) -> float:
    """max |value − expected| / max |expected|, in float64."""
    value, expected = value.detach().double(), expected.detach().double()
    assert value.shape == expected.shape
    if not value.numel():
        return 0.0
    return float((value - expected).abs().max() / expected.abs().max().clamp(min=1e-300))


def distance(value: Tensor, expected: Tensor) -> float:
    """max |value − expected|, in float64."""
    assert value.shape == expected.shape
    return float((value.detach().double() - expected.detach().double()).abs().max()) if value.numel() else 0.0


def slope(function, h: float = 1e-3) -> float:
    """The derivative at 0 of a function of one number, by central differences of fourth order."""
    near, far = function(h) - function(-h), function(2 * h) - function(-2 * h)
    return float(8 * near - far) / (12 * h)


def pointwise_jacobian(function, x: Tensor) -> Tensor:
    """Dφ(x_i) of a map that acts on every point alone, shape (n, d, d), by automatic differentiation."""
    full = torch.autograd.functional.jacobian(function, x)
    n = len(x)
    return full[torch.arange(n), :, torch.arange(n), :]
