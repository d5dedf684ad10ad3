"""The only optimization loop: any diffeomorphism, any loss, any torch optimizer."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Diffeo, Grown, Loss, Value, objective

Optimizer = Callable[[Sequence[Tensor]], torch.optim.Optimizer]

LBFGS: Optimizer = partial(
    torch.optim.LBFGS,
    max_iter=1,
    max_eval=25,
    history_size=20,
    tolerance_grad=0.0,
    tolerance_change=0.0,
    line_search_fn="strong_wolfe",
)
"""The default for deterministic problems: one outer iteration a step, so that every one of them can be recorded."""

RETRIES = 3  # of a diverged iteration, each with a tenth of the step
PATIENCE = 5  # iterations over which progress is judged
EXPLOSION = 1e4  # times the first objective: no useful iterate is there


@dataclass(frozen=True)
class Record:
    """One outer iteration: what the objective was at the accepted point."""

    iteration: int
    objective: float
    energy: float
    data: float
    weight: float
    seconds: float
    stage: int = 0
    stages: int = 1
    max_iterations: int = 0


@dataclass
class History:
    """How an optimization went.

    Attributes:
        records: one per outer iteration, the first being the start.
        converged: whether progress fell below the tolerance.
        reason: why it ended, in a few words.
        state: what ``fit`` needs to take it up again.
    """

    records: list[Record] = field(default_factory=list)
    converged: bool = False
    reason: str = ""
    state: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]


class DivergenceError(ArithmeticError):
    """The objective is not finite, or has exploded."""


class Problem:
    """The objective and its gradient as an optimizer calls them; recent evaluations are remembered.

    torch's L-BFGS asks for the accepted point again at the start of the next iteration, and its last evaluation is not
    the accepted one: the memory answers both questions for nothing.
    """

    MEMORY = 30

    def __init__(self, phi: Diffeo, pairs: Sequence[tuple[Any, Any]], loss: Loss, weight: float) -> None:
        self.phi, self.pairs, self.loss, self.weight = phi, pairs, loss, weight
        self.parameters = [p for p in phi.parameters() if p.requires_grad]
        self.bound = math.inf
        self._memory: list[tuple[list[Tensor], Value, list[Tensor | None]]] = []

    def __call__(self) -> Any:
        """The objective at the parameters' present values, with its gradient in their ``.grad``."""
        for at, value, gradients in reversed(self._memory):
            if all(torch.equal(a, p) for a, p in zip(at, self.parameters, strict=True)):
                for p, g in zip(self.parameters, gradients, strict=True):
                    p.grad = None if g is None else g.clone()
                return value.total
        for p in self.parameters:
            p.grad = None
        with torch.enable_grad():
            value = objective(self.phi, self.pairs, self.loss, self.weight)
            total = float(value.total.detach())
            if not math.isfinite(total) or total > self.bound:
                raise DivergenceError(f"the objective became {total:.3g}")
            value.total.backward()
        value = Value(*(v.detach() for v in value))
        gradients = [None if p.grad is None else p.grad.clone() for p in self.parameters]
        if not all(g is None or bool(torch.isfinite(g).all()) for g in gradients):
            raise DivergenceError("the gradient is not finite")
        self._memory.append(([p.detach().clone() for p in self.parameters], value, gradients))
        del self._memory[: -self.MEMORY]
        return value.total

    def value(self) -> Value:
        """The objective and its parts at the present values."""
        if not self.parameters:
            with torch.no_grad():
                return objective(self.phi, self.pairs, self.loss, self.weight)
        self()
        return next(v for at, v, _ in reversed(self._memory) if all(map(torch.equal, at, self.parameters)))


def fit(
    phi: Diffeo,
    pairs: Sequence[tuple[Any, Any]],
    loss: Loss,
    *,
    weight: float = 1e-3,
    optimizer: Optimizer = LBFGS,
    max_iterations: int = 200,
    tolerance: float = 1e-5,
    floor: float = 0.0,
    goal: float = -math.inf,
    callbacks: Sequence[Callable[[Record], None]] = (),
    save: Callable[[dict[str, Any]], None] | None = None,
    state: dict[str, Any] | None = None,
    stage: tuple[int, int] = (0, 1),
) -> History:
    """Minimize weight · ½∫‖v‖² + Σ D(φ · source, target) over the parameters of φ, in place.

    Args:
        phi: the diffeomorphism; a `Grown` one gets a layer per iteration instead of a step of the optimizer.
        pairs: (source, target) pairs.
        loss: D.
        weight: λ, how much a unit of energy may cost in units of the loss; 0 or more.
        optimizer: makes a torch optimizer from a list of parameters.
        max_iterations: outer iterations at most.
        tolerance: converged when five iterations lower the objective by less than this fraction of it,
        floor: or by less than this.
        goal: converged, too, when the data term is no farther from 0 than this.
        callbacks: called with every `Record`.
        save: called after every iteration with everything that ``state`` needs to go on exactly from there.
        state: what ``save`` was given.
        stage: (index, number) of this fit among several, for the records.

    Returns: the history. φ is left at the best point found, also where the optimization diverged or was interrupted.
    Raises: ValueError for a negative weight or where the objective is not finite at the start.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"fit expects a weight that is 0 or positive, and got {weight}.")
    loop = _Loop(phi, Problem(phi, pairs, loss, weight), optimizer, stage, max_iterations)
    loop.resume(state) if state else loop.begin()
    try:
        while not loop.ended(max_iterations, tolerance, floor, goal):
            loop.iterate()
            for callback in callbacks:
                callback(loop.history[-1])
            if save is not None:
                save(loop.state())
    except BaseException:
        loop.restore()
        raise
    loop.history.state = loop.state()
    loop.restore()
    return loop.history


class _Loop:
    """The state of an optimization between iterations."""

    def __init__(
        self, phi: Diffeo, problem: Problem, optimizer: Optimizer, stage: tuple[int, int], max_iterations: int
    ) -> None:
        self.phi, self.problem, self.make, self.stage = phi, problem, optimizer, stage
        self.max_iterations = max_iterations
        self.history, self.started = History(), time.perf_counter()
        self.shrink = 1.0
        self.optimizer = self._new_optimizer()
        self.stuck = False

    def _new_optimizer(self) -> torch.optim.Optimizer | None:
        if isinstance(self.phi, Grown) or not self.problem.parameters:
            return None
        optimizer = self.make(self.problem.parameters)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * self.shrink
        return optimizer

    def begin(self) -> None:
        """Evaluate the start."""
        try:
            self._record()
        except ArithmeticError as error:
            if isinstance(error, ValueError):
                raise  # it says itself what is wrong
            raise ValueError(
                f"the objective cannot be computed at the start ({error}): check scales and data for huge values."
            ) from None
        self._after_start()

    def _after_start(self) -> None:
        self.problem.bound = EXPLOSION * abs(self.history[0].objective) + 1e-30

    def iterate(self) -> None:
        """One outer iteration; a diverged one is retried with smaller steps."""
        before = self._snapshot()
        for _ in range(RETRIES):
            try:
                self._advance()
                self._record()
                return
            except ArithmeticError as error:
                self.history.reason = f"diverged: {error}"
                self._load(before)
                self.shrink /= 10
                self.optimizer = self._new_optimizer()
        self.stuck = True

    def _advance(self) -> None:
        if isinstance(self.phi, Grown):
            self.stuck = not self.phi.grow(self.problem.pairs, self.problem.loss)
        elif self.optimizer is not None:
            before = [p.detach().clone() for p in self.problem.parameters]
            self.optimizer.step(self.problem)
            self.stuck = all(map(torch.equal, before, self.problem.parameters))
        else:
            self.stuck = True

    def _record(self) -> None:
        value = self.problem.value()
        record = Record(
            iteration=len(self.history),
            objective=float(value.total),
            energy=float(value.energy),
            data=float(value.data),
            weight=self.problem.weight,
            seconds=time.perf_counter() - self.started,
            stage=self.stage[0],
            stages=self.stage[1],
            max_iterations=self.max_iterations,
        )
        self.history.records.append(record)
        if record.objective <= min(r.objective for r in self.history.records):
            self.best = self._snapshot()

    def ended(self, max_iterations: int, tolerance: float, floor: float, goal: float) -> bool:
        """Whether to stop, and why."""
        values = [record.objective for record in self.history.records]
        if abs(self.history[-1].data) <= goal:
            self.history.converged, self.history.reason = True, "the data term is as low as it was to be"
            return True
        if self.stuck:
            diverged = self.history.reason.startswith("diverged")
            self.history.converged = not diverged
            self.history.reason = self.history.reason if diverged else "no further decrease is possible"
            return True
        if len(values) > PATIENCE:
            progress = min(values[:-PATIENCE]) - min(values[-PATIENCE:])
            if progress <= max(tolerance * abs(values[-1]), floor):
                self.history.converged, self.history.reason = True, "progress fell below the tolerance"
                return True
        if len(values) > max_iterations:
            self.history.reason = f"{max_iterations} iterations were not enough for the tolerance"
            return True
        return False

    def _snapshot(self) -> dict[str, Any]:
        if isinstance(self.phi, Grown):
            return self.phi.growth()
        return {name: value.detach().clone() for name, value in self.phi.state_dict().items()}

    def _load(self, snapshot: dict[str, Any]) -> None:
        if isinstance(self.phi, Grown):
            self.phi.regrow(snapshot)
        else:
            self.phi.load_state_dict(snapshot)

    def restore(self) -> None:
        """Leave φ at the best point found."""
        values = [record.objective for record in self.history.records]
        if not (isinstance(self.phi, Grown) and values[-1] <= min(values)):
            self._load(self.best)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from here: nested dicts and lists of tensors, numbers and strings."""
        return {
            "phi": self.phi.growth() if isinstance(self.phi, Grown) else dict(self.phi.state_dict()),
            "best": self.best,
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "records": [[getattr(r, f.name) for f in fields(Record)] for r in self.history.records],
            "shrink": self.shrink,
            "stuck": self.stuck,
            "reason": self.history.reason,
            "seconds": time.perf_counter() - self.started,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.history.records = [Record(*values) for values in state["records"]]
        self.started = time.perf_counter() - state["seconds"]
        self.shrink, self.stuck, self.history.reason = state["shrink"], state["stuck"], state["reason"]
        self._load(state["phi"])
        self.best = copy.deepcopy(state["best"])
        self.optimizer = self._new_optimizer()
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self._after_start()
