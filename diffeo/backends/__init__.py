"""Backends: executors of the pair formulas."""

from diffeo.backends.auto import AutoBackend
from diffeo.backends.base import Backend
from diffeo.backends.cpu.particles import CPUBackend
from diffeo.backends.dense.particles import DenseBackend
from diffeo.backends.keops.particles import KeOpsBackend

__all__ = ["AutoBackend", "Backend", "CPUBackend", "DenseBackend", "KeOpsBackend"]
