"""Probability laws: what samples are drawn from, and what they are carried to."""

from diffeo.laws.base import Law as Law
from diffeo.laws.conditional import Conditional as Conditional
from diffeo.laws.conditional import ConditionalLaw as ConditionalLaw
from diffeo.laws.conditional import Independent as Independent
from diffeo.laws.expectation import Shrinkage as Shrinkage
from diffeo.laws.gaussian import Gaussian as Gaussian
from diffeo.laws.mixture import Mixture as Mixture
from diffeo.laws.mixture_fit import MixtureFit as MixtureFit
from diffeo.laws.mixture_fit import chosen_fit as chosen_fit
from diffeo.laws.torch_law import TorchLaw as TorchLaw
from diffeo.laws.toys import TOYS as TOYS
from diffeo.laws.transported import Transported as Transported
from diffeo.laws.uniform import Uniform as Uniform
from diffeo.laws.wrapped import Wrapped as Wrapped
from diffeo.laws.wrapped import unwrapped as unwrapped
