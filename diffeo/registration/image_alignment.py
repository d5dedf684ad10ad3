"""Alignment of images: the rigid, similar or affine motion that comes before anything bends, in physical space.

Poses are found coarse to fine, starting from where the images are, from equal centers (of mass, of the grids), and from
equal second moments: principal axes in every proper orientation, and sizes.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from diffeo.core import Loss
from diffeo.flows.affine import Affine
from diffeo.losses import SSDLoss
from diffeo.registration.alignment import Alignment, NoAlignment, Rigid, frame, starts
from diffeo.registration.brightness import Brightness, brightness
from diffeo.registration.coverage import bounded
from diffeo.registration.given_loss import GivenLoss
from diffeo.registration.poses import Criterion, Frame
from diffeo.shapes import Image, Points

FINEST = {1: 1000, 2: 128**2, 3: 100_000}  # points of the finest grid, about, in so many dimensions
LEVELS = 3  # grids, each twice as coarse as the next
FEWEST = 8  # points that are left along an axis
CONTENT = 0.1  # of the largest brightness: what is darker is not seen
SIZES = 1.25  # ratio of sizes up to which images are taken for equally large at first
TURNS = (-0.8, -0.4, 0.4, 0.8)  # angles at which a given loss is looked at, too
DOUBT = 0.6  # to what fraction of others a pose from second moments must lower the criterion to be believed
GAIN = 0.98  # and to what fraction any motion must lower it: never worse than doing nothing
NOTHING = 1e-6  # a criterion (of about 1) that asks for no motion


@torch.no_grad()
def align_images(source: Image, target: Image, group: Alignment, loss: Loss | None = None) -> Affine | None:
    """The motion in the group that brings the source nearest to the target, or None where none helps clearly.

    Args:
        source, target: images of one dimension d. Their masks count; their canvases and interpolations do not.
        group: the motions to choose from.
        loss: what is minimized; None means squared differences after the best gain and offset. Those also lead to the
            pose for an `SSDLoss`, which then only says whether the motion helps.

    Returns: x ↦ M x + t in physical space, float64 on the CPU; ``source.moved(M, t)`` is the aligned source.
    Raises: ValueError where the loss cannot compare the two.
    """
    if isinstance(group, NoAlignment):
        return None
    pairs = pyramid(bounded(source), target)
    a, b = (content(image) for image in pairs[0])
    if a is None or b is None:
        return None
    where = Frame(frame(b)[0], radius(b))
    likely, doubtful = starting_poses(a, b, pairs[0], group)
    rigid = Rigid() if group.size(where.dim) > Rigid().size(where.dim) else group
    plain = loss is None or isinstance(loss, SSDLoss)
    best = lowest(Brightness(*pairs[0], where, inverted=not plain), likely, doubtful, rigid)
    criteria = [Brightness(*p, where, False) if loss is None or plain else GivenLoss(*p, where, loss) for p in pairs]
    if not plain:
        best = min([best, *likely, *turned(likely[1], where, group)], key=criteria[0].value)
    for criterion in criteria:
        best = criterion.descend(best, group)
    judge = GivenLoss(*pairs[-1], where, loss) if isinstance(loss, SSDLoss) else criteria[-1]
    rest = judge.value(still(where.dim))
    return best if rest > NOTHING and judge.value(best) < GAIN * rest else None


def still(d: int) -> Affine:
    """The pose that moves nothing."""
    return Affine(torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64))


def starting_poses(
    a: Points, b: Points, pair: tuple[Image, Image], group: Alignment
) -> tuple[list[Affine], list[Affine]]:
    """Likely poses and doubtful ones, given what is seen in source and target.

    The likely ones are no motion, equal centers of mass, and equal centers of the grids if that is another motion.
    """
    d = a.x.shape[1]
    moments = starts(a, b, d)
    likely = [pose for turns, pose in moments if not turns]
    doubtful = [pose for turns, pose in moments if turns and group.size(d)]
    ratio = radius(b) / radius(a)
    if group.size(d) > Rigid().size(d) and not 1 / SIZES < ratio < SIZES:
        ends = frame(a)[0], frame(b)[0]
        linears = [ratio * pose.matrix for _, pose in moments[1:]]
        doubtful += [Affine(linear, ends[1] - linear @ ends[0]) for linear in linears]
    source, target = (image.grid.to_space((torch.tensor(image.grid.shape)[None] - 1) / 2)[0].double() for image in pair)
    if float((target - source).norm()) > min(pair[1].grid.spacing):
        likely.append(Affine(torch.eye(d, dtype=torch.float64), target - source))
    return likely, doubtful


def lowest(criterion: Criterion, likely: list[Affine], doubtful: list[Affine], group: Alignment) -> Affine:
    """The lowest pose that is reached; from a doubtful one it must be clearly lower than from all before."""
    best, value = likely[0], math.inf
    for start in (*likely, *doubtful):
        pose = criterion.descend(start, group)
        reached = criterion.value(pose)
        if reached < (DOUBT if start in doubtful else 1.0) * value:
            best, value = pose, reached
    return best


def turned(pose: Affine, where: Frame, group: Alignment) -> list[Affine]:
    """The pose, turned by some angles in every plane of two axes; nothing where the group has no rotations."""
    count = Rigid().size(where.dim) if group.size(where.dim) else 0
    angles = torch.eye(count, count + where.dim, dtype=torch.float64)
    return [Affine(*where.moved(pose, Rigid(), angle * one)) for one in angles for angle in TURNS]


def pyramid(source: Image, target: Image) -> list[tuple[Image, Image]]:
    """Both images, from coarse to fine, in steps of about the same length along all axes."""
    pairs = [finest_pair(source, target)]
    for level in range(1, LEVELS):
        step = 2**level * finest_step(source, target)
        pairs.append((in_steps(pairs[-1][0], step), in_steps(pairs[-1][1], step)))
    return pairs[::-1]


def finest_pair(source: Image, target: Image) -> tuple[Image, Image]:
    """Both images as finely as poses are judged."""
    step = finest_step(source, target)
    return in_steps(single(source), step), in_steps(single(target), step)


def finest_step(source: Image, target: Image) -> float:
    """The step of the finest grids, in length units."""
    grid, d = target.grid, target.grid.dim
    return max((grid.cell * grid.size / FINEST[d]) ** (1 / d), min(grid.spacing), min(source.grid.spacing))


def single(image: Image) -> Image:
    """The image in single precision, if it has less."""
    return image if image.values.dtype in (torch.float32, torch.float64) else image.to(torch.float32)


def in_steps(image: Image, length: float) -> Image:
    """A coarser copy in steps of about a length, with at least a few points along every axis.

    What is masked does not leak into what counts: values are means with the mask as weights.
    """
    axes = zip(image.grid.spacing, image.grid.shape, strict=True)
    factors = tuple(max(1, min(round(length / spacing), n // FEWEST)) for spacing, n in axes)
    if image.mask is None:
        return image.shrunk(factors)
    hidden = with_above(image, image.above_background * image.mask).shrunk(factors)
    assert hidden.mask is not None
    return with_above(hidden, hidden.above_background / hidden.mask.clamp(min=torch.finfo(hidden.values.dtype).tiny))


def with_above(image: Image, above: Tensor) -> Image:
    """The image with other values above its background."""
    assert image.background is not None
    return dataclasses.replace(image, values=above + image.background.reshape(-1, *[1] * image.grid.dim))


def content(image: Image) -> Points | None:
    """What is seen in an image, as points with weights of sum 1, float64 on the CPU; None where nothing is."""
    weights = brightness(image).abs().flatten().double().cpu()
    if image.mask is not None:
        weights = weights * image.mask.flatten().cpu()
    weights = (weights - CONTENT * weights.max()).clamp(min=0)
    inside = weights > 0
    if int(inside.sum()) < 2:
        return None
    return Points(image.grid.points(weights)[inside], weights=weights[inside] / weights.sum())


def radius(points: Points) -> float:
    """How far points of total weight 1 are from their centroid, root mean square."""
    assert points.weights is not None
    return float((points.weights @ (points.x - frame(points)[0]).square().sum(1)).sqrt())
