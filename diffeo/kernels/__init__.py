"""Reproducing kernels, one definition each; K(x, y) as a lazy matrix; the fused primitives they are used in."""

from diffeo.kernels.algebra import Radial, ScaledKernel, SumKernel
from diffeo.kernels.matrix import KernelMatrix
from diffeo.kernels.measures import Aligned, Oriented, Unoriented
from diffeo.kernels.radial import (
    CauchyKernel,
    GaussianKernel,
    InverseMultiquadricKernel,
    LaplacianKernel,
    Matern32Kernel,
    Matern52Kernel,
    RadialKernel,
)
from diffeo.kernels.spectral import GridKernel

__all__ = [
    "Aligned",
    "CauchyKernel",
    "GaussianKernel",
    "GridKernel",
    "InverseMultiquadricKernel",
    "KernelMatrix",
    "LaplacianKernel",
    "Matern32Kernel",
    "Matern52Kernel",
    "Oriented",
    "Radial",
    "RadialKernel",
    "ScaledKernel",
    "SumKernel",
    "Unoriented",
]
