"""Names on the command line, and the objects that they stand for.

Each table is an enumeration: the member's name is what the user types, its value what ``diffeo`` calls the object.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import diffeo


class Loss(Enum):
    """How far two shapes are from each other."""

    varifold = "VarifoldLoss"
    current = "CurrentLoss"
    mmd = "MMDLoss"
    sinkhorn = "SinkhornLoss"
    landmarks = "LandmarkLoss"
    lncc = "LNCCLoss"
    ssd = "SSDLoss"
    mi = "MILoss"
    dice = "DiceLoss"


class Model(Enum):
    """The way to a diffeomorphism."""

    geodesic = "Geodesic"
    flow = "Flow"
    descent = "Descent"


class Align(Enum):
    """The motion that comes before the deformation, and costs nothing."""

    none = "NoAlignment"
    translation = "Translation"
    rigid = "Rigid"
    similarity = "Similarity"
    affine = "FullAffine"


class Solver(Enum):
    """The integrator of the flow."""

    euler = "Euler"
    midpoint = "Midpoint"
    heun = "Heun"
    ralston = "Ralston"
    rk4 = "RK4"
    dopri5 = "Adaptive"


class Backend(Enum):
    """Who computes sums over pairs of points."""

    auto = "AutoBackend"
    dense = "DenseBackend"
    cpu = "CPUBackend"
    keops = "KeOpsBackend"


class Interpolation(Enum):
    """How the values of an image are found between its voxels."""

    nearest = "Nearest"
    linear = "Linear"
    cubic = "Cubic"


class Kind(Enum):
    """What two files hold that are compared."""

    labels = "overlap"
    landmarks = "landmark_error"
    intensity = "similarity"


class Task(Enum):
    """What is learned from a table."""

    classification = "classification"
    regression = "regression"


class Velocity(Enum):
    """The space of the velocities of a residual network."""

    kernel = "kernel"
    features = "features"
    perceptron = "perceptron"
    random_perceptron = "random-perceptron"
    conv = "conv"
    random_conv = "random-conv"


class ReadOut(Enum):
    """How targets are read out of moved points."""

    linear = "linear"
    ridge = "ridge"
    kernel_ridge = "kernel-ridge"


class Layers(Enum):
    """What kind of step a layer is."""

    euler = "euler"
    midpoint = "midpoint"
    heun = "heun"
    rk4 = "rk4"


class Way(Enum):
    """How a residual network is trained."""

    gradient = "gradient"
    v_gradient = "v-gradient"
    annealed = "annealed"
    lbfgs = "lbfgs"
    shooting = "shooting"
    descent = "descent"
    msa = "msa"
    emsa = "emsa"


class DType(Enum):
    """The precision."""

    float32 = "float32"
    float64 = "float64"


def kind(choice: Loss | Model | None) -> Any:
    """The class that a choice names: it is built later, when the scales of the data are known."""
    return None if choice is None else getattr(diffeo, choice.value)


def instance(choice: Align | Interpolation | Solver | None) -> Any:
    """An object of the class that a choice names."""
    return None if choice is None else getattr(diffeo, choice.value)()


def backend(choice: Backend | None) -> Any:
    """A backend. Raises ValueError where it cannot work on this machine."""
    if choice is None:
        return None
    chosen = getattr(diffeo, choice.value)()
    reason = chosen.unavailable()
    if reason is not None:
        raise ValueError(f"--backend {choice.name} does not work here: {reason}")
    return chosen


def transform(file: Path | None) -> Any:
    """The map in a transform file."""
    if file is None:
        return None
    from diffeo.io.transform import load_map

    return load_map(file)


def dtype(choice: DType | None) -> Any:
    """A torch dtype."""
    import torch

    return None if choice is None else getattr(torch, choice.value)


def device(name: str | None) -> Any:
    """A torch device. Raises ValueError for a name that torch does not know or a device that is not there."""
    if name is None:
        return None
    import torch

    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device expects cpu, cuda or cuda:N, and got {name}.") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name} is not there: torch sees {torch.cuda.device_count()} CUDA devices.")
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"--device expects cpu, cuda or cuda:N, and got {name}.")
    return chosen
