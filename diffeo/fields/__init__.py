"""Velocity fields: one family per file."""

from diffeo.fields.conv_field import ConvField
from diffeo.fields.feature_field import FeatureField
from diffeo.fields.grid_field import GridField, SampledField
from diffeo.fields.kernel_field import KernelField
from diffeo.fields.linear import FeatureExpansion, LinearField, PlaneWaveField

__all__ = [
    "ConvField",
    "FeatureExpansion",
    "FeatureField",
    "GridField",
    "KernelField",
    "LinearField",
    "PlaneWaveField",
    "SampledField",
]
