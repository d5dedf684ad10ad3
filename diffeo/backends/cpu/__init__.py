"""Fused loops for the CPU, compiled by Numba: distances, exponentials and all sums in one pass, nothing stored."""
