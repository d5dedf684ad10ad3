"""What a registration was asked for, checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from diffeo.backends import AutoBackend, Backend
from diffeo.core import Diffeo, Loss, Shape, Solver
from diffeo.flows import Geodesic
from diffeo.registration.alignment import Alignment, Rigid
from diffeo.shapes import PointShape
from diffeo.solvers import RK4


@dataclass(frozen=True)
class Settings:
    """The arguments of `register`, completed with what does not depend on the data."""

    loss: Loss | type[Loss] | None = None
    scale: float | Sequence[float] | None = None
    weight: float = 0.3
    steps: int | None = None
    solver: Solver = field(default_factory=RK4)
    model: type[Diffeo] = Geodesic
    align: Alignment = field(default_factory=Rigid)
    controls: int = 400
    max_iterations: int = 100
    tolerance: float = 1e-2
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    backend: Backend = field(default_factory=AutoBackend)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("weight", self.weight), ("tolerance", self.tolerance)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"register expects a {name} that is 0 or positive, and got {value}.")
        for name, count in (
            ("steps", self.steps),
            ("controls", self.controls),
            ("max_iterations", self.max_iterations),
        ):
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
                raise ValueError(f"register expects {name} as a whole number, 1 or more, and got {count!r}.")
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"register computes in float32 or float64, and got {self.dtype}.")
        if (reason := self.backend.unavailable()) is not None:
            raise ValueError(f"the backend {type(self.backend).__name__} does not work here: {reason}")


def check_pair(source: Shape, target: Shape) -> tuple[PointShape, PointShape]:
    """The two. Raises ValueError unless they can be registered at all."""
    checked = check_shape(source, "source"), check_shape(target, "target")
    if checked[0].x.shape[1] != checked[1].x.shape[1]:
        raise ValueError(
            f"source and target must have one dimension, and have {checked[0].x.shape[1]} and "
            f"{checked[1].x.shape[1]}: add or drop a coordinate."
        )
    return checked


def check_shape(shape: Shape, name: str) -> PointShape:
    """The shape. Raises ValueError unless it is made of points that have an extent."""
    if not isinstance(shape, PointShape):
        raise ValueError(f"register expects Points, a Curve or a Mesh as {name}, and got {type(shape).__name__}.")
    size = float((shape.x - shape.x[0]).abs().max())
    if size == 0:
        many = f"all {len(shape.x)} points coincide" if len(shape.x) > 1 else "one point has none"
        raise ValueError(f"the {name} has no extent ({many}): register expects at least two different points.")
    if not 1e-100 < size < 1e100:
        raise ValueError(f"the {name} is {size:.2g} units large, too much for squares: convert it to other units.")
    return shape
