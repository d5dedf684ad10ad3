"""Alignment of whatever has images: one motion for all parts, judged by the loss that the registration minimizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffeo.core import Loss, Shape
from diffeo.flows.affine import Affine
from diffeo.losses import CompoundLoss, SSDLoss
from diffeo.registration.alignment import Alignment, NoAlignment, Rigid, frame
from diffeo.registration.brightness import Brightness
from diffeo.registration.given_loss import GivenLoss, lowered
from diffeo.registration.image_alignment import GAIN, NOTHING, align_images, content, finest_pair, radius, still
from diffeo.registration.poses import Frame
from diffeo.registration.pyramid import images, points
from diffeo.shapes import Compound, Image, PointShape

EXPLAINED = 0.1  # of the target's variance is left by brightness, at most, where its pose is believed without the loss


@torch.no_grad()
def align_shapes(source: Shape, target: Shape, group: Alignment, loss: Loss) -> Affine | None:
    """The motion in the group that brings the source nearest to the target, or None where none helps clearly.

    Images lead by their brightness. Where that explains too little of the target, as between contrasts, they are
    aligned by the loss as well, which then chooses. In a compound, points lead too, and then all parts go on together:
    repeated structures look alike one period aside, and landmarks know better.

    Args:
        source, target: images, or compounds with images in them, as `prepared` gives them.
        group: the motions to choose from.
        loss: D, of the whole shapes.

    Returns: x ↦ M x + t in physical space, float64 on the CPU.
    """
    if isinstance(group, NoAlignment):
        return None
    a, b = images(source)[0], images(target)[0]
    bright = align_images(a, b, group)
    if isinstance(source, Compound) and isinstance(target, Compound):
        return together(source, target, group, loss, bright)
    coarse = finest_pair(a, b)
    seen, rest = where(coarse[1]), still(b.grid.dim)
    if isinstance(loss, SSDLoss) or Brightness(*coarse, seen, inverted=False).value(bright or rest) < EXPLAINED:
        return bright
    judge = GivenLoss(*coarse, seen, loss)
    best = min((pose or rest for pose in (bright, align_images(a, b, group, loss))), key=judge.value)
    return best if judge.value(best) < GAIN * judge.value(rest) else None


def together(source: Compound, target: Compound, group: Alignment, loss: Loss, bright: Affine | None) -> Affine | None:
    """The best motion for all parts of two compounds, starting from none, from the images' and from the points'."""
    whole = Whole(source, target, loss)
    at_rest = whole.value(still(whole.frame.dim))
    if at_rest < NOTHING:
        return None
    starts = [still(whole.frame.dim)] + [pose for pose in (bright, whole.led_by_points(group)) if pose is not None]
    best = min((whole.descend(pose, group) for pose in starts), key=whole.value)
    return best if whole.value(best) < GAIN * at_rest else None


class Whole(GivenLoss):
    """A loss on compounds as a function of their pose.

    Args:
        source, target: of the same parts; their first images are the criterion's own.
        loss: D.
    """

    def __init__(self, source: Compound, target: Compound, loss: Loss) -> None:
        coarse = finest_pair(images(source)[0], images(target)[0])
        super().__init__(*coarse, where(coarse[1]), loss)
        self.parts: list[GivenLoss | PointShape] = []
        goals: list[Shape] = []
        for a, b in zip(source.parts, target.parts, strict=True):
            if isinstance(a, Image) and isinstance(b, Image):
                a = GivenLoss(*finest_pair(a, b), self.frame, loss) if any(p is self for p in self.parts) else self
                b = a.target
            assert isinstance(a, (GivenLoss, PointShape))
            self.parts.append(a)
            goals.append(b)
        self.goal = Compound(goals)

    def _loss(self, matrix: Tensor, translation: Tensor) -> Tensor | None:
        moved = [carried(part, matrix, translation) for part in self.parts]
        if any(part is None for part in moved):
            return None
        return self.loss(Compound([part for part in moved if part is not None]), self.goal)

    def led_by_points(self, group: Alignment) -> Affine | None:
        """The rigid motion for the points alone, from equal centroids; None where there are none."""
        if not isinstance(self.loss, CompoundLoss):
            return None
        found = [k for k, part in enumerate(self.parts) if isinstance(part, PointShape)]
        if not found:
            return None
        terms, d = self.loss.terms, self.frame.dim

        def apart(matrix: Tensor, translation: Tensor) -> Tensor:
            moved = {k: carried(self.parts[k], matrix, translation) for k in found}
            return torch.stack([terms[k][0] * terms[k][1](moved[k], self.goal.parts[k]) for k in found]).sum()

        shift = centroid(points(self.goal)) - centroid([p for p in self.parts if isinstance(p, PointShape)])
        start = Affine(torch.eye(d, dtype=torch.float64), shift)
        within = Rigid() if group.size(d) > Rigid().size(d) else group
        return lowered(apart, start, self.frame, within, torch.eye(within.size(d) + d, dtype=torch.float64))


def centroid(shapes: Sequence[PointShape]) -> Tensor:
    """The mean of all points, shape (d,), float64 on the CPU."""
    return torch.cat([shape.x.double().cpu() for shape in shapes]).mean(0)


def carried(part: GivenLoss | PointShape, matrix: Tensor, translation: Tensor) -> Shape | None:
    """A part of a compound in a pose, differentiable in it."""
    if isinstance(part, GivenLoss):
        return part.moved(matrix, translation)
    return part.with_positions(part.x @ matrix.T.to(part.x) + translation.to(part.x))


def where(image: Image) -> Frame:
    """The frame of what is seen in an image, or of the whole of it where hardly anything is."""
    seen = content(image)
    if seen is not None:
        return Frame(frame(seen)[0], radius(seen))
    ends = image.grid.to_space(torch.tensor([[0.0] * image.grid.dim, [n - 1.0 for n in image.grid.shape]]).double())
    return Frame(ends.mean(0), float((ends[1] - ends[0]).norm()) / 2)
