"""Ways to train a residual network: what φ is made of, and how its unknowns are found."""

from diffeo.training.successive import SuccessiveApproximations
from diffeo.training.ways import (
    WAYS,
    Annealed,
    Gradient,
    GradientInV,
    Growth,
    Pontryagin,
    QuasiNewton,
    Shooting,
    Way,
)

__all__ = [
    "WAYS",
    "Annealed",
    "Gradient",
    "GradientInV",
    "Growth",
    "Pontryagin",
    "QuasiNewton",
    "Shooting",
    "SuccessiveApproximations",
    "Way",
]
