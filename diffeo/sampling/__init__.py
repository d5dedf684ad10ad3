"""Differentiable primitives on grids: resampling, smoothing, determinants."""

from diffeo.sampling.interpolation import sample, sample_with_jacobian, warp
from diffeo.sampling.positions import index_rows
from diffeo.sampling.smoothing import gaussian_smooth, gaussian_taps, shrink

__all__ = ["gaussian_smooth", "gaussian_taps", "index_rows", "sample", "sample_with_jacobian", "shrink", "warp"]
