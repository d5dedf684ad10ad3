"""The loops over grids, fused by Numba."""

from __future__ import annotations

from diffeo.backends.dense.grids import DenseGrids


class CPUGrids(DenseGrids):
    """Placeholder."""
