"""``register``: two shapes in, a diffeomorphism out, with defaults found from the data's own scale."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffeo.backends import Backend
from diffeo.core import Compose, Diffeo, Loss, Shape, Solver
from diffeo.diagnostics import carried_directions, flipped, turned
from diffeo.fields import KernelField
from diffeo.fit import Record
from diffeo.flows import Descent, Flow, Geodesic
from diffeo.io.checkpoint import Checkpoint
from diffeo.losses import FacingLoss
from diffeo.registration import report
from diffeo.registration.alignment import Alignment, align
from diffeo.registration.image_settings import ImageSettings
from diffeo.registration.images import ImageRun, has_images
from diffeo.registration.result import Registration
from diffeo.registration.scales import coarse_factors, default_kernel, default_loss, extent, finest_scale, unit_of
from diffeo.registration.settings import Settings, check_pair
from diffeo.registration.stages import Progress, Stage, largest_move
from diffeo.shapes import Curve, Mesh, PointShape
from diffeo.shapes.sampling import farthest_points, thinned, trimmed

STEPS = (2, 2, 3)  # of RK4, in the first, the middle and the last stage
LAYERS = 5  # of a flow, whose velocity is constant within a layer: more than a geodesic needs steps
COARSE_ITERATIONS = 25
COARSE_TOLERANCE, COARSE_FLOOR = 0.05, 1e-3
TIME_ERROR = 3e-4  # how far, relative to the extent, a point may move when the number of steps is doubled
REPAIRS = 4  # times that faces which turned over are put back
REPAIR_ITERATIONS, REPAIR_TOLERANCE = 10, 0.03
CLOUD = 5000  # points that stand for a larger cloud while the map is found; it is measured on all
FACING_PRICE = 0.02  # of a face that is turned over, in units of the data term


def register(
    source: Shape,
    target: Shape,
    *,
    loss: Loss | type[Loss] | None = None,
    scale: float | Sequence[float] | None = None,
    weight: float | None = None,
    steps: int | None = None,
    solver: Solver | None = None,
    model: type[Diffeo] | None = None,
    align: Alignment | None = None,
    start: Diffeo | None = None,
    levels: Sequence[int] | None = None,
    controls: int | None = None,
    max_iterations: int | None = None,
    tolerance: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    backend: Backend | None = None,
    seed: int = 0,
    callbacks: Sequence[Callable[[Record], None]] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> Registration:
    """Find the diffeomorphism that carries the source onto the target.

    Args:
        source, target: points, curves or meshes in one dimension d; they need not be of the same kind. Or images, which
            may have other grids and other channels; or compounds of the same parts, with images among them.
        loss: a loss in the data's units, or only its class, whose scale is then found from the data; None means
            varifolds where both have tangents or normals, MMD otherwise; local correlation for images. `DiceLoss`
            compares label maps label by label, as one image of memberships per label of the target (see `one_hot`):
            that is how much memory and time it takes; ``moved`` is a label map again, carried by nearest points.
        scale: widths of the deformation's kernel, one or several, in the data's units.
        weight: λ, the price of a unit of energy (of an extent squared) in units of the data term, which is 1 where
            everything is off by the data term's own scale. 0.3 by default. A descent on images relaxes by it instead,
            as much as is good where it is 1.
        steps: time steps; None means as many as the result needs for an error below 3e-4 of the extent, of 0.05 steps
            of an image. A descent has none.
        solver: the integrator, RK4 by default, Midpoint for images.
        model: `Geodesic`, `Flow` or `Descent`; the first by default, the last for images.
        align: the motions allowed before the deformation, at no price; rigid ones by default, affine ones for images.
        start: for images: a map to begin with, of any kind: its affine part is kept, and nothing is aligned.
        levels: for images: how much coarser the grids are, one after the other; 4, 2, 1 by default in space.
        controls: the largest number of control points, 400 by default.
        max_iterations: outer iterations of the last stage at most, 100 by default; for images, of every level.
        tolerance: the last stage ends when five iterations gain less than this fraction, 0.01 by default; for images,
            every level does, and a descent when they gain nothing.
        device, dtype: where and in which precision to compute; the CPU and float32 by default.
        backend: who computes sums over pairs.
        seed: of whatever is random (which points of very large clouds are looked at for the alignment).
        callbacks: called with every `Record`.
        checkpoint: a file that is rewritten after every iteration.
        resume: go on from the checkpoint, if it is there; the result is the same as without interruption.

    Returns: a `Registration`.
    Raises: ValueError for input that cannot be registered, in one sentence that says what to do.
    """
    given = {
        "loss": loss, "scale": scale, "weight": weight, "steps": steps, "solver": solver, "model": model,
        "align": align, "start": start, "levels": levels, "controls": controls, "max_iterations": max_iterations,
        "tolerance": tolerance, "device": device, "dtype": dtype, "backend": backend, "seed": seed,
    }  # fmt: skip
    chosen, started = {name: value for name, value in given.items() if value is not None}, time.perf_counter()
    progress = Progress(callbacks=callbacks, checkpoint=Checkpoint(checkpoint, resume, "registration"))
    if not (isinstance(source, PointShape) and isinstance(target, PointShape)) and has_images(source, target):
        return ImageRun(source, target, ImageSettings.of(chosen), progress).finish(started)
    for name in ("levels", "start"):
        if name in chosen:
            raise ValueError(f"register has {name} for images only: leave it out for points, curves and meshes.")
    settings = Settings(**chosen)
    return _Run(*check_pair(source, target), settings, progress).finish(started)


class _Run:
    """One registration: in units where the extent is 1 and the target's mean is 0."""

    def __init__(self, source: PointShape, target: PointShape, settings: Settings, progress: Progress) -> None:
        self.source, self.target, self.settings = source, target, settings
        a, b = source.to(torch.float64), target.to(torch.float64)
        self.size = extent(a, b)
        self.loss = settings.loss if isinstance(settings.loss, Loss) else default_loss(a, b, settings.loss, self.size)
        self.kernel = default_kernel(self.size, settings.scale).on(settings.backend)
        self.parameters = self._parameters()
        self.progress = progress
        progress.open((source, target), self.parameters | {"versions": report.versions()})
        self.motion = align(a, b, settings.align, self.size, settings.seed)
        self.center = trimmed(b).x.mean(0)
        aligned = a if self.motion is None else self.motion @ a
        self.pair = self._internal(aligned), self._internal(b)
        self.thinned = thinned(self.pair[0], CLOUD), thinned(self.pair[1], CLOUD)

    def _parameters(self) -> dict[str, Any]:
        """Everything that decided the result, in the data's units."""
        described = {f.name: getattr(self.settings, f.name) for f in fields(Settings)}
        described |= {"loss": repr(self.loss), "scale": list(self.kernel.scales), "kernel": repr(self.kernel)}
        described |= {"model": self.settings.model.__name__, "extent": self.size}
        return {k: v if isinstance(v, (int, float, str, list, type(None))) else repr(v) for k, v in described.items()}

    def _internal(self, shape: PointShape) -> PointShape:
        x = ((shape.x - self.center) / self.size).to(self.settings.dtype).to(self.settings.device)
        return shape.to(x).with_positions(x)

    def start(self) -> Diffeo:
        """The identity, as a map of the chosen kind."""
        source, kernel, s = self.pair[0], self.kernel.rescaled(1 / self.size), self.settings
        places = trimmed(source).x
        controls = places[farthest_points(places, s.controls)]
        if s.model is Geodesic:
            return Geodesic(kernel, controls, s.solver, self.steps(1.0))
        if s.model is Flow:
            return Flow(KernelField(kernel, controls), s.solver, s.steps or LAYERS, carried=True)
        if s.model is Descent:
            return Descent(kernel, controls)
        raise ValueError(f"register knows the models Geodesic, Flow and Descent, and got {s.model.__name__}.")

    def steps(self, progress: float) -> int:
        """Time steps at a given part of the way from the first stage (0) to the last (1)."""
        last = self.settings.steps or STEPS[-1]
        first, middle = (math.ceil(last * s / STEPS[-1]) for s in STEPS[:2])
        return last if progress == 1 else first if progress == 0 else middle

    def stage(self, factor: float, steps: int, extra: Loss | None = None) -> Stage:
        """An optimization with the loss widened by a factor."""
        loss = self.loss.rescaled(factor / self.size)
        finest = finest_scale(self.loss)
        length = factor * finest / self.size if finest else 0.05
        data = (1 / unit_of(loss, self.thinned[0], length)) * loss
        s = self.settings
        if extra is not None:
            return Stage(data + FACING_PRICE * extra, steps, REPAIR_ITERATIONS, REPAIR_TOLERANCE, 0.0)
        if factor > 1:
            return Stage(data, steps, min(COARSE_ITERATIONS, s.max_iterations), COARSE_TOLERANCE, COARSE_FLOOR)
        return Stage(data, steps, s.max_iterations, s.tolerance, 0.0)

    def optimize(self) -> tuple[Diffeo, bool, str]:
        """Coarse to fine, then finer in time and with faces put back, as far as needed."""
        factors = coarse_factors(self.loss, self.size)
        phi, history = self.start(), None
        for k, factor in enumerate(factors):
            phi = self.with_steps(phi, self.steps(1.0 if factor == 1 else k / max(1, len(factors) - 1)))
            stage = self.stage(factor, getattr(phi, "steps", 1))
            history = self.progress.run(phi, self.thinned, self.settings.weight, stage, len(factors))
        assert history is not None
        converged, reason = history.converged, history.reason
        phi = self.refine(phi)
        return self.repair(phi), converged, reason

    def with_steps(self, phi: Diffeo, steps: int) -> Diffeo:
        """The same map with another number of steps; flows keep the layers they have."""
        return phi.with_steps(steps) if isinstance(phi, Geodesic) and phi.steps != steps else phi

    def refine(self, phi: Diffeo) -> Diffeo:
        """As many time steps as the error asks for, unless their number was given."""
        if self.settings.steps is not None or not isinstance(phi, (Geodesic, Flow)):
            return phi
        for _ in range(3):
            finer = phi.with_steps(2 * phi.steps)
            x = self.pair[0].x
            with torch.no_grad():
                error = largest_move(phi(x), finer(x))
            phi = finer
            if error < TIME_ERROR:
                break
            stage = self.stage(1.0, finer.steps)
            self.progress.run(phi, self.thinned, self.settings.weight, stage, self.progress.done + 1)
        return phi

    def repair(self, phi: Diffeo) -> Diffeo:
        """Put faces back that turned over although the map does not fold there."""
        source = self.pair[0]
        if not isinstance(source, (Mesh, Curve)) or isinstance(phi, Descent):
            return phi
        faces: set[int] = set()
        for _ in range(REPAIRS):
            bad, directions = self.turned_over(phi, source)
            if not len(bad):
                break
            faces |= set(bad.tolist())
            chosen = torch.tensor(sorted(faces), device=bad.device)
            extra = FacingLoss(chosen, directions[chosen])
            stage = self.stage(1.0, getattr(phi, "steps", 1), extra)
            self.progress.run(phi, self.thinned, self.settings.weight, stage, self.progress.done + 1)
        return phi

    @torch.no_grad()
    def turned_over(self, phi: Diffeo, source: Mesh | Curve) -> tuple[Tensor, Tensor]:
        """Which faces oppose the map's own Jacobian, or turned by more than 90° without it; where all should face."""
        moved = phi @ source
        _, jacobians = phi.with_jacobian(source.measure().centers)
        still = torch.eye(source.x.shape[1]).to(source.x).expand_as(jacobians)
        carried = carried_directions(source, jacobians)
        legitimate = (carried * carried_directions(source, still)).sum(1) < 0
        bad = flipped(source, moved, jacobians) | (turned(source, moved) & ~legitimate)
        return bad.nonzero()[:, 0], carried.to(source.x)

    def finish(self, started: float) -> Registration:
        """Optimize, go back to the data's units, measure."""
        phi, converged, reason = self.optimize()
        phi = phi.double().cpu().rescaled(self.size, self.center).requires_grad_(False)
        whole: Diffeo = phi if self.motion is None else Compose([self.motion, phi])
        a, b = self.source.to("cpu", torch.float64), self.target.to("cpu", torch.float64)
        with torch.no_grad():
            moved = whole @ a
        if not bool(torch.isfinite(moved.x).all()):
            raise ArithmeticError(
                "the registration diverged: points went to infinity. Use more steps or a larger scale."
            )
        found = report.figures(a, b, moved, whole, self.loss)
        found |= {
            "iterations": sum(r.iteration > 0 for r in self.progress.records),
            "converged": converged,
            "reason": reason,
            "aligned": self.motion is not None,
            "steps": getattr(phi, "steps", None),
            "controls": len(getattr(phi, "controls", [])),
            "seconds": time.perf_counter() - started,
            "parameters": self.parameters,
            "seed": self.settings.seed,
            "versions": report.versions(),
        }
        return Registration(a, b, moved, whole, self.progress.records, found)
