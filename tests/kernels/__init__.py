"""Laws of diffeo.kernels."""
