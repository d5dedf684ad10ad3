"""Velocity fields: one family per file."""

from diffeo.fields.grid_field import GridField, SampledField
from diffeo.fields.kernel_field import KernelField

__all__ = ["GridField", "KernelField", "SampledField"]
