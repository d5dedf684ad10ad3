"""Probability laws: what samples are drawn from, and what they are carried to."""

from diffeo.laws.base import Law as Law
from diffeo.laws.gaussian import Gaussian as Gaussian
from diffeo.laws.mixture import Mixture as Mixture
from diffeo.laws.transported import Transported as Transported
from diffeo.laws.uniform import Uniform as Uniform
