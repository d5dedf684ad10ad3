"""The only optimization loop: any diffeomorphism, any loss, any way to make a step, all pairs or a batch at a time."""

from diffeo.fit.averaged import Averaged
from diffeo.fit.batches import Batches, Minibatches
from diffeo.fit.draws import Draws
from diffeo.fit.history import History, Record
from diffeo.fit.loader import Loader
from diffeo.fit.loop import fit
from diffeo.fit.methods import LBFGS, Euclidean, InV, Method, Optimizer, Stepper
from diffeo.fit.problem import DivergenceError, Problem
from diffeo.fit.schedules import Cosine, Schedule

__all__ = [
    "LBFGS",
    "Averaged",
    "Batches",
    "Cosine",
    "DivergenceError",
    "Draws",
    "Euclidean",
    "History",
    "InV",
    "Loader",
    "Method",
    "Minibatches",
    "Optimizer",
    "Problem",
    "Record",
    "Schedule",
    "Stepper",
    "fit",
]
