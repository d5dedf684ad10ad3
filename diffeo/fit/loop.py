"""The loop: iterate, record, keep the best, go back from what diverges."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from diffeo.core import Diffeo, Grown, Loss
from diffeo.fit.batches import Minibatches
from diffeo.fit.distributed import World
from diffeo.fit.growth import Growth
from diffeo.fit.history import History, Record
from diffeo.fit.loader import Loader
from diffeo.fit.methods import LBFGS, Method, Optimizer, Stepper, as_method
from diffeo.fit.problem import Problem
from diffeo.fit.rounds import Pair, Rounds, rounds_of
from diffeo.fit.schedules import Pace, Schedule, TorchSchedule, pace_of
from diffeo.fit.stopping import Rules
from diffeo.fit.validation import Validation

RETRIES = 3  # of a diverged iteration, each with a tenth of the step
EXPLOSION = 1e4  # times the first objective: no useful iterate is there

Data = Sequence[Pair] | Minibatches | DataLoader[Any]


def fit(
    phi: Diffeo,
    pairs: Data,
    loss: Loss,
    *,
    weight: float = 1e-3,
    optimizer: Optimizer | Method = LBFGS,
    modules: Sequence[nn.Module] = (),
    max_iterations: int = 200,
    tolerance: float | None = 1e-5,
    floor: float = 0.0,
    goal: float = -math.inf,
    time_limit: float = math.inf,
    spent: float = 0.0,
    schedule: Schedule | TorchSchedule | None = None,
    validation: Data | Callable[[], float] | None = None,
    patience: int | None = None,
    callbacks: Sequence[Callable[[Record], None]] = (),
    save: Callable[[dict[str, Any]], None] | None = None,
    state: dict[str, Any] | None = None,
    stage: tuple[int, int] = (0, 1),
) -> History:
    """Minimize weight · ½∫‖v‖² + Σ D(φ · source, target) over the parameters of φ, D and other modules, in place.

    With `Batches` or a DataLoader, an iteration is an epoch: a step on every batch, D being a mean over points. What is
    recorded is then the mean over the epoch (see `Record`), which is no ground to choose a point by or to stop on: φ is
    left at the last one, unless there is a validation set, and ``tolerance`` and ``floor`` do not apply.

    Where torch.distributed is initialized (torchrun), every process takes its share of each batch, or of the list of
    pairs; all begin with the parameters of the first and make the same steps, and only the first saves and reports.
    Maps that grow do so in every process alike.

    Args:
        phi: the diffeomorphism; a `Grown` one gets a layer per iteration, on all pairs at once, and then the loss a few
            steps of L-BFGS for what it has to learn, instead of a step of the optimizer.
        pairs: (source, target) pairs; or labelled data, a batch at a time. They follow φ to its device.
        loss: D.
        weight: λ, how much a unit of energy may cost in units of the loss; 0 or more.
        optimizer: makes a torch optimizer from a list of parameters; or a `Method`.
        modules: others whose parameters are trained along, read-ins for instance.
        max_iterations: outer iterations at most.
        tolerance: converged when five iterations lower the objective by less than this fraction of it; None: never,
        floor: or by less than this.
        goal: converged, too, when the data term is no farther from 0 than this.
        time_limit: seconds after which no step is begun, those before a resumption included; it may end within an
            epoch, which ``state`` then goes on with.
        spent: seconds that preparations have taken, which count like those before a resumption.
        schedule: of the learning rate: a `Schedule` such as `Cosine`, over all of ``max_iterations``; or a function
            from the optimizer to a scheduler of torch, which takes a step per iteration.
        validation: other pairs or batches; or a function that gives a score, the lower the better. The best point is
            then the best one on it.
        patience: with a validation set: stop where so many iterations do not improve on it.
        callbacks: called with every `Record`.
        save: called after every iteration with everything that ``state`` needs to go on exactly from there; to be
            written, or copied, at once.
        state: what ``save`` was given.
        stage: (index, number) of this fit among several, for the records.

    Returns: the history. φ, D and modules are left at the best point found, also where the optimization diverged or was
        interrupted.
    Raises: ValueError for a negative weight, for data that are empty or not numbers, for settings that do not go
        together, or where the objective is not finite at the start.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"fit expects a weight that is 0 or positive, and got {weight}.")
    if patience is not None and validation is None:
        raise ValueError("fit can be patient only with a validation set: give it one, or leave patience out.")
    world = World()
    rules = Rules(max_iterations, tolerance, floor, goal, time_limit, patience)
    problem = Problem(phi, (), loss, weight, modules, World.alone() if isinstance(phi, Grown) else world)
    _follow(problem, loss, modules)
    rounds = rounds_of(problem, _data(pairs, world), max_iterations)
    checks = None if validation is None else Validation(problem, _data(validation, world))
    loop = _Loop(problem, rounds, _stepper(problem, rounds, optimizer), schedule, checks, rules, stage, spent)
    state = world.first(state)
    if state:
        _resume(loop, state)
    else:
        loop.begin()
    try:
        while not loop.ended():
            loop.iterate()
            for callback in callbacks if world.rank == 0 else ():
                callback(loop.history[-1])
            if save is not None and world.rank == 0:
                save(loop.state())
    except BaseException:
        loop.restore()
        raise
    loop.history.state = loop.state()
    loop.restore()
    return loop.history


def _resume(loop: _Loop, state: dict[str, Any]) -> None:
    try:
        loop.resume(state)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            "the state that fit is to go on from is that of another map, loss, optimizer or kind of data: start "
            "without it, or with what it was saved from."
        ) from error


def _data(data: Any, world: World) -> Any:
    """A DataLoader as batches; all else as it is."""
    if not isinstance(data, DataLoader):
        return data
    loader = Loader(data)
    if world.size > 1 and not loader.repeatable:
        raise ValueError(
            "several processes share the batches of a DataLoader, and without a generator of its own each of them "
            "would shuffle differently: give it generator=torch.Generator().manual_seed(0), or a DistributedSampler."
        )
    return loader


def _follow(problem: Problem, loss: Loss, modules: Sequence[nn.Module]) -> None:
    """Take loss and modules to the device of φ, and every process to the values of the first."""
    like = problem.trained.anchor
    if like is not None:
        for module in (loss, *modules):
            module.to(like.device)
    problem.world.spread(problem.trained.tensors())


def _stepper(problem: Problem, rounds: Rounds, optimizer: Optimizer | Method) -> Stepper | None:
    """What makes the steps; None where there is nothing to be changed."""
    if isinstance(problem.phi, Grown):
        return Growth(problem)
    if not problem.parameters:
        return None
    stepper = as_method(optimizer).bind(problem)
    if stepper.searches and not rounds.exact:
        raise ValueError(
            "L-BFGS and other line searches compare values of one objective, which minibatches change at every step: "
            "choose another optimizer, such as InV(partial(torch.optim.SGD, lr=0.5)), or give all pairs at once."
        )
    if problem.world.size > 1 and not stepper.parallel:
        raise ValueError(f"{optimizer!r} does not share its work between processes: run it in one.")
    return stepper


class _Loop:
    """The state of an optimization between iterations."""

    def __init__(
        self,
        problem: Problem,
        rounds: Rounds,
        stepper: Stepper | None,
        schedule: Schedule | TorchSchedule | None,
        validation: Validation | None,
        rules: Rules,
        stage: tuple[int, int],
        spent: float,
    ) -> None:
        self.problem, self.rounds, self.stepper, self.validation = problem, rounds, stepper, validation
        self.trained, self.rules, self.stage = problem.trained, rules, stage
        self.pace = Pace() if stepper is None else pace_of(schedule, stepper)
        self.history, self.started = History(), time.perf_counter() - spent
        self.stuck, self.best, self.best_at = False, self.trained.snapshot(), 0

    def begin(self) -> None:
        """Evaluate the start."""
        try:
            self._record(self.rounds.start())
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
        before, place = self.trained.snapshot(), self.rounds.state_dict()
        if self.stepper is None:
            self.stuck = True
            return self._record(self.rounds.start())
        done = self.rounds.done
        for _ in range(RETRIES):
            try:
                self._record(self.rounds.run(self.stepper, self.pace, self.late))
                self.stuck, self.history.reason = self.stepper.finished or self.trained.equals(before), ""
                if self.rounds.done > done:
                    last = self.history[-1]
                    self.pace.after(last.objective if last.validation is None else last.validation)
                return None
            except ArithmeticError as error:
                self.history.reason = f"diverged: {error}"
                self.trained.load(before)
                self.rounds.load_state_dict(place)
                if not self.stepper.shorten(0.1):
                    break
                self.pace.shorten(0.1)
        self.stuck = True
        return None

    def _record(self, value: Any) -> None:
        score = None if self.validation is None else self.validation.score()
        record = Record(
            iteration=len(self.history),
            objective=float(value.total),
            energy=float(value.energy),
            data=float(value.data),
            weight=self.problem.weight,
            seconds=time.perf_counter() - self.started,
            stage=self.stage[0],
            stages=self.stage[1],
            max_iterations=self.rules.max_iterations,
            validation=score,
        )
        self.history.records.append(record)
        if self._is_best(record):
            self.best, self.best_at = self.trained.snapshot(), record.iteration

    def _is_best(self, record: Record) -> bool:
        """By the validation set, or by the objective; noise is no ground to prefer an earlier point."""
        if record.validation is not None:
            scores = [r.validation for r in self.history.records if r.validation is not None]
            return record.validation < min(scores[:-1], default=math.inf) or len(scores) == 1
        return not self.rounds.exact or record.objective <= min(r.objective for r in self.history.records)

    def late(self) -> bool:
        """Whether the time is over, as the first process sees it."""
        if math.isinf(self.rules.time_limit):
            return False
        return self.problem.world.first(time.perf_counter() - self.started >= self.rules.time_limit)

    def ended(self) -> bool:
        """Whether to stop, and why."""
        records, rules, history = self.history.records, self.rules, self.history
        if reason := rules.reached(records[-1]):
            history.converged, history.reason = True, reason
        elif self.stuck:
            history.converged = not history.reason.startswith("diverged")
            history.reason = "no further decrease is possible" if history.converged else history.reason
        elif self._exact_steps() and (reason := rules.rising(records)):
            history.reason = reason
        elif reason := rules.overtrained(records) or (rules.settled(records) if self.rounds.exact else ""):
            history.converged, history.reason = True, reason
        elif reason := rules.exhausted(self.rounds.done, self.late(), self.rounds.exact):
            history.reason = reason
        else:
            return False
        return True

    def _exact_steps(self) -> bool:
        """Whether objectives can be compared, and nothing but a bad step raises them; growing costs energy."""
        return self.rounds.exact and not isinstance(self.problem.phi, Grown)

    def restore(self) -> None:
        """Leave φ at the best point found."""
        if not (isinstance(self.problem.phi, Grown) and self.best_at == len(self.history) - 1):
            self.trained.load(self.best)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from here: nested dicts and lists of tensors, numbers and strings."""
        return {
            **self.trained.snapshot(),
            "best": self.best,
            "best_at": self.best_at,
            "optimizer": None if self.stepper is None else self.stepper.state_dict(),
            "schedule": self.pace.state_dict(),
            "rounds": self.rounds.state_dict(),
            "records": [[getattr(r, f.name) for f in fields(Record)] for r in self.history.records],
            "stuck": self.stuck,
            "reason": self.history.reason,
            "seconds": time.perf_counter() - self.started,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.history.records = [Record(*values) for values in state["records"]]
        self.started -= state["seconds"]
        self.stuck, self.history.reason = state["stuck"], state["reason"]
        self.trained.load({"phi": state["phi"], "others": state["others"]})
        self.best, self.best_at = copy.deepcopy(state["best"]), state["best_at"]
        if self.stepper is not None:
            self.stepper.load_state_dict(state["optimizer"])
        self.pace.load_state_dict(state["schedule"])
        self.rounds.load_state_dict(state["rounds"])
        self._after_start()
