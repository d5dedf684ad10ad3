"""What a registration of images was asked for, checked before anything is computed."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from diffeo.core import Diffeo, Loss, Shape, Solver
from diffeo.flows import Descent, Geodesic, GridDescent, GridGeodesic
from diffeo.losses import LNCCLoss
from diffeo.losses.images import ImageLoss
from diffeo.registration.alignment import Alignment, FullAffine
from diffeo.registration.coverage import bounded
from diffeo.registration.pyramid import content, gray, images, points
from diffeo.shapes import Compound, Image
from diffeo.solvers import Midpoint

ON_GRIDS = {Descent: GridDescent, Geodesic: GridGeodesic}  # what the models for points are called on grids
POINTS_ONLY = ("controls", "backend")


@dataclass(frozen=True)
class ImageSettings:
    """The arguments of `register` that images know, completed with what does not depend on the data."""

    loss: Loss | type[Loss] = field(default_factory=LNCCLoss)
    scale: float | Sequence[float] | None = None
    weight: float | None = None
    steps: int | None = None
    solver: Solver = field(default_factory=Midpoint)
    model: type[Diffeo] = GridDescent
    align: Alignment = field(default_factory=FullAffine)
    start: Diffeo | None = None
    levels: Sequence[int] | None = None
    max_iterations: int | None = None
    tolerance: float | None = None
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", ON_GRIDS.get(self.model, self.model))
        for name, value in (("weight", self.weight), ("tolerance", self.tolerance)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"register expects a {name} that is 0 or positive, and got {value}.")
        for name, count in (("steps", self.steps), ("max_iterations", self.max_iterations)):
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
                raise ValueError(f"register expects {name} as a whole number, 1 or more, and got {count!r}.")
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"register computes in float32 or float64, and got {self.dtype}.")
        for width in self.widths or ():
            if not (math.isfinite(width) and width > 0):
                raise ValueError(f"register expects positive scales (lengths in the data's units), and got {width}.")
        if self.levels is not None:
            check_levels(self.levels)

    @property
    def widths(self) -> list[float] | None:
        """The scales as a list, widest first."""
        if self.scale is None:
            return None
        given = [self.scale] if isinstance(self.scale, (int, float)) else list(self.scale)
        return sorted((float(s) for s in given), reverse=True)

    @staticmethod
    def of(given: dict[str, Any]) -> ImageSettings:
        """From the arguments that were given to `register`. Raises ValueError for those that images do not know."""
        for name in POINTS_ONLY:
            if name in given:
                raise ValueError(f"register has {name} for points, curves and meshes only: leave it out for images.")
        return ImageSettings(**given)

    def described(self) -> dict[str, Any]:
        """Everything that decides a result, as numbers, strings and lists."""
        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        named = {k: list(v) if isinstance(v, tuple) else v for k, v in named.items()}
        loss = self.loss() if isinstance(self.loss, type) else self.loss
        named |= {"model": self.model.__name__, "loss": repr(loss)}
        named["start"] = None if self.start is None else type(self.start).__name__
        return {k: v if isinstance(v, (int, float, str, list, type(None))) else repr(v) for k, v in named.items()}


def check_levels(levels: Sequence[int]) -> None:
    """Raise ValueError unless the levels are whole factors, each finer than the one before."""
    good = len(levels) > 0 and all(isinstance(f, int) and not isinstance(f, bool) and f >= 1 for f in levels)
    if not good or any(b >= a for a, b in itertools.pairwise(levels)):
        raise ValueError(f"register expects levels from coarse to fine, such as 4, 2, 1, and got {list(levels)}.")


def prepared(source: Shape, target: Shape, settings: ImageSettings) -> tuple[Shape, Shape]:
    """The pair as it is computed with: in one precision, with masks where borders are cut, with the same channels.

    Raises: ValueError in one sentence for what cannot be registered.
    """
    for name, shape in (("source", source), ("target", target)):
        if not images(shape):
            raise ValueError(
                f"register compares images with images, and the {name} is {type(shape).__name__}: give an image, or a "
                "Compound with one."
            )
        for image in images(shape):
            check_image(image, name)
    dimensions = {image.grid.dim for shape in (source, target) for image in images(shape)}
    dimensions |= {p.x.shape[1] for shape in (source, target) for p in points(shape)}
    if len(dimensions) > 1:
        raise ValueError(
            f"source and target must have one dimension, and there are {' and '.join(map(str, sorted(dimensions)))}: "
            "register slices with slices and volumes with volumes."
        )
    if isinstance(source, Compound) != isinstance(target, Compound):
        raise ValueError("a Compound is registered with a Compound of the same parts: wrap the other one as well.")
    if isinstance(source, Compound) and isinstance(target, Compound):
        return prepared_parts(source, target, settings)
    return alike(source, target, settings)


def prepared_parts(source: Compound, target: Compound, settings: ImageSettings) -> tuple[Compound, Compound]:
    """The same, part by part."""
    if [type(a) for a in source.parts] != [type(b) for b in target.parts]:
        kinds = (", ".join(type(part).__name__ for part in c.parts) for c in (source, target))
        raise ValueError(
            "both Compounds must have the same parts in the same order, and have {} and {}.".format(*kinds)
        )
    if isinstance(settings.loss, (type, ImageLoss)):
        raise ValueError(
            f"a Compound of {len(source.parts)} parts needs a loss for each of them, and the loss is "
            f"{settings.loss!r}: give one such as CompoundLoss([LNCCLoss(), LandmarkLoss()], [1, 0.01])."
        )
    both = [alike(a, b, settings) for a, b in zip(source.parts, target.parts, strict=True)]
    return Compound([a for a, _ in both]), Compound([b for _, b in both])


def alike(source: Shape, target: Shape, settings: ImageSettings) -> tuple[Shape, Shape]:
    """Two shapes in one precision and on one device; images with the same channels, and masks where they need them."""
    source, target = (shape.to(settings.device, settings.dtype) for shape in (source, target))
    if not (isinstance(source, Image) and isinstance(target, Image)):
        return source, target
    a, b = bounded(source), bounded(target)
    return (a, b) if len(a.values) == len(b.values) else (gray(a), gray(b))


def check_image(image: Image, name: str) -> None:
    """Raise ValueError unless there is something to see in an image."""
    if image.grid.dim not in (2, 3):
        raise ValueError(f"register expects images of the plane or of space, and the {name} has {image.grid.dim} axes.")
    values = image.values if image.mask is None else image.values[:, image.mask > 0]
    if float(values.max()) == float(values.min()):
        where = "" if image.mask is None else " within its mask"
        raise ValueError(
            f"the {name} has the same value everywhere{where}, {float(values.max()):g}: there is nothing to register."
        )
    if image.mask is None and not bool(content(image).any()):
        raise ValueError(f"there is nothing to see in the {name}: it is all background.")
