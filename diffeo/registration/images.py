"""The registration of images: alignment, then a map on grids from coarse to fine, in physical space."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from diffeo.core import Compose, Diffeo, Loss, Shape
from diffeo.diagnostics import corner_determinants
from diffeo.fit import History
from diffeo.flows import GridDescent, Warp
from diffeo.registration import image_report, report
from diffeo.registration.common_alignment import align_shapes
from diffeo.registration.coverage import check_overlap, overlap
from diffeo.registration.image_alignment import still
from diffeo.registration.image_checks import check_asked
from diffeo.registration.image_models import WEIGHT, start, transferred
from diffeo.registration.image_settings import ImageSettings, prepared
from diffeo.registration.label_maps import Labels, by_nearest, labels_compared, memberships
from diffeo.registration.lbfgs import FrugalLBFGS
from diffeo.registration.pyramid import Level, default_levels, images, levels
from diffeo.registration.result import Registration
from diffeo.registration.stages import Progress, Stage
from diffeo.registration.starting import approach, split
from diffeo.shapes import Compound, Image, PointShape

LEAST = {2: 0.15, 3: 0.055}  # corner determinants of a descent's whole map are at least this: never near a fold
ENLARGED = 2.0  # times: more of the motion's own growth is not held against the rest
ITERATIONS = (30, 150, 50)  # of a descent, from the finest level to the coarsest
TIME_ERROR, REFINEMENTS = 0.05, 3  # of a step, by which doubling the time steps may move a point; doublings at most
OPTIMIZER_ITERATIONS, TOLERANCE = (
    (100, 35, 15),
    0.005,
)  # at most, of an optimizer; and the progress in five that ends it
AGREE = 1e-6  # a loss of images that agree is 0: with less, nothing is moved
USELESS = "what was found does not bring the images nearer on the target's grid, and is left out"
DEARER, PRICE, HALVINGS = 4, 4.0, 20  # times that a map which folds is made dearer, by how much; and made shorter
SCHEDULED = "the iterations of all levels were carried out"


class ImageRun:
    """One registration of images, in physical space all along.

    Args:
        source, target: images, or compounds with images in them.
        settings: what was asked for.
        progress: where iterations are told and kept.
    """

    def __init__(self, source: Shape, target: Shape, settings: ImageSettings, progress: Progress) -> None:
        self.source, self.target, self.settings, self.progress = source, target, settings, progress
        self.labels = labels_compared(source, target, settings.loss)
        compared = [memberships(shape, self.labels) for shape in (source, target)]
        a, b = self.prepared, self.fixed = prepared(compared[0], compared[1], settings)
        check_asked(source, target, settings)
        known = [] if settings.start is None else list(settings.start.state_dict().values())
        progress.open([source, target, *known], settings.described() | {"versions": report.versions()})
        self.before: Diffeo | None = None
        if settings.start is None:
            self.motion = align_shapes(a, b, settings.align, self.loss())
        else:
            self.motion, self.before = split(settings.start)
        self.moving = a if self.motion is None else moved(a, self.motion.matrix, self.motion.translation)
        if settings.start is None and not overlap(images(self.moving)[0], images(b)[0]):
            self.motion, self.moving = None, a  # a loss may be lowest where nothing is left to compare
        check_overlap(images(self.moving)[0], images(b)[0])
        factors = settings.levels or default_levels(images(b)[0].grid)
        self.levels = levels(self.moving, self.fixed, factors)

    def optimize(self) -> tuple[Diffeo, bool, str]:
        """Level by level; every map starts where the one before has ended."""
        phi, history = None, None
        for index, level in enumerate(self.levels):
            phi = self.started(level) if phi is None else transferred(phi, self.settings, level)
            stage = self.stage(index)
            pair = (level.source, level.target)
            history = self.progress.run(phi, pair, self.weight(phi), stage, len(self.levels))
        assert phi is not None
        assert history is not None
        phi, history = self.unfolded(self.refined(phi), history)
        if isinstance(phi, GridDescent) and not history.converged:
            return phi, True, SCHEDULED
        return phi, history.converged, history.reason

    def unfolded(self, phi: Diffeo, history: History) -> tuple[Diffeo, History]:
        """The map without folds: half the way that it went, and from there on at a higher price; a descent is repaired.

        Where that leads to folds again and again, it ends half the way, or less: short ways do not fold.
        """
        level, weight = self.levels[-1], self.weight(phi)
        for attempt in range(0 if isinstance(phi, GridDescent) else HALVINGS):
            if float(corner_determinants(phi, level.grid).min()) > 0:
                break
            with torch.no_grad():
                for parameter in phi.parameters():
                    parameter.mul_(0.5)
            if attempt < DEARER:
                weight *= PRICE
                stage, pair = self.stage(len(self.levels) - 1), (level.source, level.target)
                history = self.progress.run(phi, pair, weight, stage, self.progress.done + 1)
        return phi, history

    def started(self, level: Level) -> Diffeo:
        """The map at the first level: the identity, or near the one that was given."""
        phi = start(self.settings, level, self.before)
        if self.before is not None and not isinstance(phi, GridDescent):
            like = torch.zeros((), dtype=self.settings.dtype, device=self.settings.device)
            approach(phi, self.before, level.grid, like)
        return phi

    def refined(self, phi: Diffeo) -> Diffeo:
        """As many time steps as the map asks for, unless their number was given."""
        grid = self.levels[-1].grid
        for _ in range(0 if self.settings.steps else REFINEMENTS):
            error = image_report.step_error(phi, grid)
            if error is None or error < TIME_ERROR * min(grid.spacing):
                break
            phi = image_report.finer(phi)
        return phi

    def weight(self, phi: Diffeo) -> float:
        """λ, for energies in sizes squared; a descent is stopped instead, and relaxes as much as its weight says."""
        if isinstance(phi, GridDescent):
            return 0.0
        grid = self.levels[-1].grid
        size = max(n * s for n, s in zip(grid.shape, grid.spacing, strict=True))
        return (WEIGHT if self.settings.weight is None else self.settings.weight) / size**2

    def loss(self) -> Loss:
        """What is compared."""
        return self.settings.loss() if isinstance(self.settings.loss, type) else self.settings.loss

    def stage(self, index: int) -> Stage:
        """The optimization at a level."""
        s, from_finest = self.settings, len(self.levels) - 1 - index
        scheduled = s.model is GridDescent
        iterations = ITERATIONS if scheduled else OPTIMIZER_ITERATIONS
        most = iterations[min(from_finest, len(iterations) - 1)]
        tolerance = (0.0 if scheduled else TOLERANCE) if s.tolerance is None else s.tolerance
        return Stage(self.loss(), 1, min(most, s.max_iterations or most), tolerance, 0.0, AGREE, FrugalLBFGS)

    @torch.no_grad()
    def finish(self, started: float) -> Registration:
        """Optimize, keep the map from folding, measure."""
        with torch.enable_grad():
            phi, converged, reason = self.optimize()
        rest = self.regular(phi).cpu().requires_grad_(False)
        maps = [self.after_motion(rest), *self.simpler()]
        whole, known, found = self.best(maps)
        found |= {
            "iterations": sum(r.iteration > 0 for r in self.progress.records),
            "converged": converged,
            "reason": reason if whole is maps[0] else USELESS,
            "aligned": self.motion is not None,
            "levels": [level.factor for level in self.levels],
            "labels": self.labels,
            "seconds": time.perf_counter() - started,
            "parameters": self.settings.described(),
            "seed": self.settings.seed,
            "versions": report.versions(),
        }
        result = carried(on_target(by_nearest(self.source, self.labels), self.target), whole, known)
        return Registration(self.source, self.target, result, whole, self.progress.records, found)

    def after_motion(self, rest: Diffeo) -> Diffeo:
        """The whole map: the motion, then the rest."""
        return rest if self.motion is None else Compose([self.motion.to(self.settings.dtype), rest])

    def simpler(self) -> list[Diffeo]:
        """The motion alone, and the identity."""
        d = images(self.fixed)[0].grid.dim
        motions = [still(d)] if self.motion is None else [self.motion, still(d)]
        return [motion.to(self.settings.dtype) for motion in motions]

    def best(self, maps: Sequence[Diffeo]) -> tuple[Diffeo, Warp, dict[str, Any]]:
        """The first of the maps that is no worse than doing nothing, and what is measured on it.

        What helps on coarse grids may not help on the finest, or not where nothing was looked at.
        """
        (whole, known, found), others = self.measured(maps[0]), list(maps[1:])
        while others and found["data_after"] > found["data_before"]:
            whole, known, found = self.measured(others.pop(0))
        return whole, known, found

    def measured(self, whole: Diffeo) -> tuple[Diffeo, Warp, dict[str, Any]]:
        """A map, what it does on the target's grid, and the figures about it."""
        compared, known = on_target(by_nearest(self.prepared, self.labels), self.fixed), on_grid(whole, self.fixed)
        result = carried(compared, whole, known)
        return whole, known, image_report.figures(compared, self.fixed, result, whole, known, self.loss())

    def regular(self, phi: Diffeo) -> Diffeo:
        """The map, smoothed where the whole of it would fold or nearly so."""
        if not isinstance(phi, GridDescent):
            return phi
        # the whole inverse map is A⁻¹∘φ⁻¹, and its determinants are those of φ⁻¹ over det A; that an image is much
        # smaller than the other is no deformation
        growth = 1.0 if self.motion is None else float(torch.linalg.det(self.motion.matrix))
        return phi.repaired(LEAST[phi.grid.dim] * min(max(1.0, growth), ENLARGED))


def moved(shape: Shape, matrix: torch.Tensor, translation: torch.Tensor) -> Shape:
    """A shape after an affine motion, without resampling."""
    if isinstance(shape, Compound):
        return Compound([moved(part, matrix, translation) for part in shape.parts])
    if isinstance(shape, Image):
        return shape.moved(matrix, translation)
    assert isinstance(shape, PointShape)
    return shape.with_positions(shape.x @ matrix.T.to(shape.x) + translation.to(shape.x))


def on_target(source: Shape, target: Shape) -> Shape:
    """The source with its images sampled on the target's grids when they are carried."""
    if isinstance(source, Compound) and isinstance(target, Compound):
        return Compound([on_target(a, b) for a, b in zip(source.parts, target.parts, strict=True)])
    return source.on(target.grid) if isinstance(source, Image) and isinstance(target, Image) else source


def carried(shape: Shape, phi: Diffeo, known: Warp) -> Shape:
    """φ · shape, where φ⁻¹ is known already for the points of a grid."""
    if isinstance(shape, Compound):
        return Compound([carried(part, phi, known) for part in shape.parts])
    if isinstance(shape, PointShape):  # in the map's precision, and back to its own
        return (phi @ shape.to(known.u)).to(shape.x)
    on_grid = isinstance(shape, Image) and known.grid.same(shape.canvas or shape.grid)
    return (known if on_grid else phi) @ shape


def on_grid(phi: Diffeo, target: Shape) -> Warp:
    """A map, known on the grid of the target's image."""
    grid = images(target)[0].grid
    return Warp(grid, phi.pullback(grid), float(phi.energy()))


@torch.no_grad()
def moved_onto(source: Shape, target: Shape, phi: Diffeo, labels: Labels = None) -> Shape:
    """φ · source as a registration gives it, its images on the grids of the target's.

    Args:
        source, target, phi: of the registration.
        labels: that were compared, as the report says.
    """
    if not has_images(source, target):
        return phi @ source
    return carried(on_target(by_nearest(source, labels), target), phi, on_grid(phi, target))


def has_images(source: Shape, target: Shape) -> bool:
    """Whether a pair is to be registered as images."""
    return bool(images(source) or images(target))
