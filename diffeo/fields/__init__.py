"""Velocity fields: one family per file."""

from diffeo.fields.kernel_field import KernelField

__all__ = ["KernelField"]
