"""Losses: how far apart two shapes still are. One family per file."""

from diffeo.core import WeightedLosses
from diffeo.losses.landmarks import LandmarkLoss
from diffeo.losses.measures import CurrentLoss, MeasureLoss, MMDLoss, VarifoldLoss
from diffeo.losses.normals import FacingLoss
from diffeo.losses.sinkhorn import SinkhornLoss

__all__ = [
    "CurrentLoss",
    "FacingLoss",
    "LandmarkLoss",
    "MMDLoss",
    "MeasureLoss",
    "SinkhornLoss",
    "VarifoldLoss",
    "WeightedLosses",
]
