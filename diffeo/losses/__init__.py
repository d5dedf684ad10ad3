"""Losses: how far apart two shapes still are. One family per file."""

from diffeo.core import WeightedLosses
from diffeo.losses.compound import CompoundLoss
from diffeo.losses.correlation import LNCCLoss
from diffeo.losses.cross_entropy import CrossEntropyLoss
from diffeo.losses.dice import DiceLoss
from diffeo.losses.gaussian_process import LeaveOneOutLoss, LikelihoodLoss
from diffeo.losses.images import ImageLoss, SSDLoss
from diffeo.losses.information import MILoss
from diffeo.losses.kernel_loss import KernelLoss
from diffeo.losses.kernel_ridge import KernelRidgeLoss
from diffeo.losses.landmarks import LandmarkLoss
from diffeo.losses.likelihood import KLLoss, NLLLoss
from diffeo.losses.measures import CurrentLoss, MeasureLoss, MMDLoss, VarifoldLoss
from diffeo.losses.normals import FacingLoss
from diffeo.losses.process import ProcessLoss
from diffeo.losses.profile import GaussianProfileLoss
from diffeo.losses.readout import ReadOutLoss
from diffeo.losses.ridge import RidgeLoss
from diffeo.losses.sinkhorn import SinkhornLoss
from diffeo.losses.solved import SolvedLoss
from diffeo.losses.squared import SquaredLoss

__all__ = [
    "CompoundLoss",
    "CrossEntropyLoss",
    "CurrentLoss",
    "DiceLoss",
    "FacingLoss",
    "GaussianProfileLoss",
    "ImageLoss",
    "KLLoss",
    "KernelLoss",
    "KernelRidgeLoss",
    "LNCCLoss",
    "LandmarkLoss",
    "LeaveOneOutLoss",
    "LikelihoodLoss",
    "MILoss",
    "MMDLoss",
    "MeasureLoss",
    "NLLLoss",
    "ProcessLoss",
    "ReadOutLoss",
    "RidgeLoss",
    "SSDLoss",
    "SinkhornLoss",
    "SolvedLoss",
    "SquaredLoss",
    "VarifoldLoss",
    "WeightedLosses",
]
