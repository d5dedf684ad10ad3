"""Velocity fields: one family per file."""

from diffeo.fields.activations import GELU, Activation, ReLU, Tanh
from diffeo.fields.conditioned import Conditioned
from diffeo.fields.contractive import Contractive
from diffeo.fields.conv_field import ConvField
from diffeo.fields.dipole_field import DipoleField
from diffeo.fields.feature_field import FeatureField
from diffeo.fields.grid_field import GridField, SampledField
from diffeo.fields.kernel_field import KernelField
from diffeo.fields.linear import FeatureExpansion, LinearField, PlaneWaveField
from diffeo.fields.perceptron_field import FrozenPerceptronField, PerceptronField
from diffeo.fields.separable_field import SeparableField
from diffeo.fields.trained_conv_field import TrainedConvField
from diffeo.fields.trained_kernel_field import TrainedKernelField

__all__ = [
    "GELU",
    "Activation",
    "Conditioned",
    "Contractive",
    "ConvField",
    "DipoleField",
    "FeatureExpansion",
    "FeatureField",
    "FrozenPerceptronField",
    "GridField",
    "KernelField",
    "LinearField",
    "PerceptronField",
    "PlaneWaveField",
    "ReLU",
    "SampledField",
    "SeparableField",
    "Tanh",
    "TrainedConvField",
    "TrainedKernelField",
]
