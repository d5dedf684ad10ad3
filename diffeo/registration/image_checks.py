"""What cannot be asked of a registration of images: told in one sentence before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from diffeo.core import Loss, Shape, WeightedLosses
from diffeo.flows import GridDescent
from diffeo.losses import CompoundLoss, FacingLoss, LandmarkLoss, MeasureLoss, SinkhornLoss
from diffeo.registration.alignment import NoAlignment
from diffeo.registration.coverage import check_overlap
from diffeo.registration.image_settings import ImageSettings
from diffeo.registration.pyramid import images
from diffeo.shapes import Image

OF_POINTS = (MeasureLoss, SinkhornLoss, LandmarkLoss, FacingLoss)
FEWEST = 16  # points of an image: fewer do not tell where it is
BLUR = 0.02  # of a step: rounding errors of positions that are too large
NARROWEST = 0.5  # of a step of the target: narrower kernels would live between its points


def check_asked(source: Shape, target: Shape, settings: ImageSettings) -> None:
    """Raise ValueError for images that are too small or apart, and for a loss, scales or steps that do not fit them."""
    for name, shape in (("source", source), ("target", target)):
        for image in images(shape):
            if image.grid.size < FEWEST:
                raise ValueError(
                    f"the {name} has {image.grid.size} points, too few to tell where it is: register expects images of "
                    f"{FEWEST} and more."
                )
            if min(image.grid.shape) < 2:
                raise ValueError(
                    f"the {name} has one point along an axis, its shape is {image.grid.shape}: nothing is known across "
                    "it. Give it as an image of fewer axes."
                )
            check_reach(image, name, settings.dtype)
    if isinstance(source, Image) and isinstance(target, Image):
        check_loss(settings.loss)
        if isinstance(settings.align, NoAlignment) and settings.start is None:
            check_overlap(source, target)
    shortest = min(min(image.grid.spacing) for image in images(target))
    for width in settings.widths or ():
        if width < NARROWEST * shortest:
            raise ValueError(
                f"a scale of {width:g} is finer than the target, whose steps are {shortest:g} long: register expects "
                "scales of a step and more, in the units of its positions."
            )
    if settings.model is GridDescent and (settings.steps is not None or settings.solver != ImageSettings().solver):
        raise ValueError(
            "a descent knows no time, and so no steps and no solver: leave them out, or choose the model Flow."
        )


def check_reach(image: Image, name: str, dtype: torch.dtype) -> None:
    """Raise ValueError where an image is so far from the origin that its points can hardly be told apart."""
    grid = image.grid
    ends = torch.tensor([[0.0] * grid.dim, [n - 1.0 for n in grid.shape]], dtype=torch.float64)
    reach, shortest = float(grid.to_space(ends).abs().max()), min(grid.spacing)
    if reach * torch.finfo(dtype).eps > BLUR * shortest:
        hint = "compute in float64, or " if dtype == torch.float32 else ""
        raise ValueError(
            f"the {name} reaches to {reach:.3g} in steps of {shortest:.3g}, and in {str(dtype)[6:]} such positions can "
            f"hardly be told apart: {hint}move both images nearer to the origin, by the same shift of their affines."
        )


def check_loss(loss: Loss | type[Loss]) -> None:
    """Raise ValueError for a loss that compares points, curves or meshes."""
    for kind in kinds(loss):
        if issubclass(kind, OF_POINTS):
            raise ValueError(
                f"{kind.__name__} compares points, curves and meshes, and source and target are images: take LNCCLoss, "
                "SSDLoss or MILoss."
            )


def kinds(loss: Loss | type[Loss]) -> Iterator[type[Loss]]:
    """The classes of the losses that a loss is made of."""
    if isinstance(loss, (WeightedLosses, CompoundLoss)):
        for _, term in loss.terms:
            yield from kinds(term)
    else:
        yield loss if isinstance(loss, type) else type(loss)
