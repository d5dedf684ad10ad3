"""Pontryagin's method of successive approximations: forward, backward, and every layer for itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.fit import Method, Optimizer, Problem, Stepper
from diffeo.fit.growth import refit
from diffeo.training.hamiltonian import Augmented, Proposal, maximize
from diffeo.training.trajectory import Slot, Trajectory, stages

ATTEMPTS = 12  # at a step that lowers the objective
ENOUGH = 1e-4  # of the decrease that the Hamiltonian promises
SMALLEST = 1e-6  # of the penalties


@dataclass(frozen=True)
class SuccessiveApproximations(Method):
    r"""Points go forward, $z_{k+1} = \mathrm{layer}_k(z_k)$, momenta come back, $p_k = D\mathrm{layer}_k^\top p_{k+1}$
    from $p_L = -\nabla D$, and then every layer maximizes its Hamiltonian
    $p_{k+1}\cdot v(z_k) - \tfrac\lambda2\|v\|^2$, all at once and without derivatives through the others.

    Fields with features solve a ridge problem in closed form, others that are linear in their unknowns one by conjugate
    gradients; the rest takes a few steps of L-BFGS. The plain method jumps to the maximum, far from where the linear
    model that p is holds, unless λ is large. The extended one subtracts $\tfrac\rho2$ times the mean square of the
    change of velocity, of which ρ is as small as a decrease of the objective allows: changes at the points, and in V,
    where they bound changes of derivatives, and with them of p.

    Every step begins a little beyond where the last one led, in its direction, where that proves no worse (Nesterov's
    acceleration, with restarts). Read-outs follow by L-BFGS on the moved points, read-ins and other maps on the way by
    a torch optimizer.

    Args:
        extended: subtract the penalty; without it a step is ``relaxation`` of the way to the maximum.
        penalty: ρ to begin with, in units of the loss per squared length.
        smoothness: τ, what ‖δv‖²_V counts in the penalty beside the mean of |δv|².
        relaxation: the longest part of the way that the plain method goes.
        guarded: take only steps that lower the objective: the plain method then goes part of the way, halved as often
            as needed. The extended one always does.
        accelerated: for the extended method: begin beyond the last step.
        effort: steps of conjugate gradients or L-BFGS for one layer.
        others: makes the torch optimizer for what is neither a field nor the loss's own.

    Raises: ValueError for numbers that are not positive, where they must be.
    Source: Chernousko & Lyubushin, Optim. Control Appl. Methods 1982; Li, Chen, Tai & E, JMLR 2018.
    """

    extended: bool = True
    penalty: float = 1.0
    smoothness: float = 0.001
    relaxation: float = 1.0
    guarded: bool = True
    accelerated: bool = True
    effort: int = 10
    others: Optimizer = field(default=partial(torch.optim.Adam, lr=0.01))

    def __post_init__(self) -> None:
        given = {"penalty": self.penalty, "smoothness": self.smoothness, "relaxation": self.relaxation}
        for name, value in given.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"SuccessiveApproximations expects a positive, finite {name}, and got {value}.")
        if self.effort < 1:
            raise ValueError(f"SuccessiveApproximations expects an effort of 1 or more, and got {self.effort}.")

    def bind(self, problem: Problem) -> Stepper:
        """At work on a problem. Raises ValueError unless it is about a flow, and has a maximum to jump to."""
        if not self.extended and not problem.weight > 0:
            raise ValueError(
                "without a weight of the energy the Hamiltonian has no maximum: give fit a positive weight, or take "
                "SuccessiveApproximations(extended=True)."
            )
        return _Successive(problem, self)


class _Successive(Stepper):
    """The method at work.

    Attributes:
        penalty: the present ρ.
        part: the present part of the way, for the plain method.
        before: the fields before the last step.
        age: steps since the acceleration began anew.
    """

    def __init__(self, problem: Problem, method: SuccessiveApproximations) -> None:
        self.problem, self.method = problem, method
        self.way = stages(problem.phi)
        self.penalty, self.part = method.penalty, method.relaxation
        self.longest = method.relaxation
        fields = {id(q): q for stage in self.way if stage.field is not None for q in stage.parameters}
        self.fields = list(fields.values())
        self.before: list[Tensor] = []
        self.age = 0
        inside, heads = set(fields), {id(q) for q in problem.loss.parameters()}
        self.heads = [q for q in problem.parameters if id(q) in heads]
        self.rest: list[nn.Parameter] = [q for q in problem.parameters if id(q) not in inside | heads]
        self.optimizer = method.others(self.rest) if self.rest else None

    def step(self) -> None:
        """From beyond the last step, if that leads no worse than where it led; else from there."""
        here = [q.detach().clone() for q in (*self.fields, *self.heads)]
        gradients = self._leaning(here) if self.method.extended and self.method.accelerated and self.age else None
        if gradients is None:
            gradients = self._sweep()
        self.before, self.age = here[: len(self.fields)], self.age + 1
        if self.optimizer is not None:
            self._follow(gradients)
            self.optimizer.step()

    def _leaning(self, here: list[Tensor]) -> dict[nn.Parameter, Tensor] | None:
        """A sweep from beyond where the last step led; None, with all as it was, where that is no gain."""
        now, far = self._objective(), self.age / (self.age + 3)
        _assign(self.fields, [q + far * (q - old) for q, old in zip(here, self.before, strict=False)])
        try:
            gradients = self._sweep()
            if self._objective() <= now:
                return gradients
        except ArithmeticError:
            pass
        _assign([*self.fields, *self.heads], here)
        self.age = 0
        return None

    def _sweep(self) -> dict[nn.Parameter, Tensor]:
        """Read-out, backward pass, fields; returns the gradients in maps on the way."""
        for q in self.rest:
            q.grad = None
        trajectory = Trajectory(self.way, self.problem.phi, self.problem.pairs)
        refit(self.heads, self.problem.loss, trajectory.moved)
        slots, gradients = trajectory.back(self.problem.loss)
        if self.method.extended:
            self._extended(slots)
        else:
            self._plain(slots)
        return gradients

    def _extended(self, slots: Sequence[Slot]) -> None:
        """Raise the penalty until the objective falls; lower it where it falls as promised."""
        before = self._objective()
        for attempt in range(ATTEMPTS):
            proposals = self._proposals(slots, self.penalty)
            promised = sum(proposal.gain for proposal in proposals)
            if not promised > 0:
                return
            decrease = before - self._try(slots, proposals, 1.0, before - ENOUGH * promised)
            if decrease >= ENOUGH * promised:
                if decrease < 0.25 * promised:
                    self.penalty *= 2
                elif decrease > 0.75 * promised and attempt == 0:
                    self.penalty = max(self.penalty / 2, SMALLEST * self.method.penalty)
                return
            self.penalty *= 4

    def _plain(self, slots: Sequence[Slot]) -> None:
        """All the way, or as much of it as lowers the objective."""
        proposals = self._proposals(slots, 0.0)
        if not self.method.guarded:
            return self._take(slots, proposals, self.part)
        before = self._objective()
        self.part = min(2 * self.part, self.longest)
        for _ in range(3 * ATTEMPTS):
            promised = self.part * (2 - self.part) * sum(proposal.gain for proposal in proposals)
            goal = before - ENOUGH * promised
            if not promised > 0 or self._try(slots, proposals, self.part, goal) <= goal:
                return None
            self.part /= 2
        return None

    def _proposals(self, slots: Sequence[Slot], penalty: float) -> list[Proposal]:
        h = Augmented(self.problem.weight, penalty, self.method.smoothness)
        return [maximize(slot, h, self.method.effort) for slot in slots]

    def _objective(self) -> float:
        """Infinite where it cannot be computed."""
        try:
            return float(self.problem.value(gradient=False).total)
        except ArithmeticError:
            return math.inf

    def _try(self, slots: Sequence[Slot], proposals: Sequence[Proposal], part: float, goal: float) -> float:
        """The objective after a part of the way; taken back unless it is as low as the goal."""
        kept = [[q.detach().clone() for q in slot.parameters] for slot in slots]
        self._take(slots, proposals, part)
        after = self._objective()
        if not after <= goal:
            for slot, values in zip(slots, kept, strict=True):
                _assign(slot.parameters, values)
        return after

    def _take(self, slots: Sequence[Slot], proposals: Sequence[Proposal], part: float) -> None:
        for slot, proposal in zip(slots, proposals, strict=True):
            pairs = zip(slot.parameters, proposal.values, strict=True)
            _assign(slot.parameters, [v if part == 1 else torch.lerp(q.detach(), v, part) for q, v in pairs])

    def _follow(self, gradients: dict[nn.Parameter, Tensor]) -> None:
        """Gradients of all that is neither a field nor the loss's own; maps on the way have an energy, too."""
        for q, g in gradients.items():
            q.grad = g if q.grad is None else q.grad + g
        with torch.enable_grad():
            energy = self.problem.weight * self.problem.phi.energy()
        if energy.requires_grad:
            found = torch.autograd.grad(energy, self.rest, allow_unused=True)
            for q, g in zip(self.rest, found, strict=True):
                if g is not None:
                    q.grad = g if q.grad is None else q.grad + g

    def shorten(self, factor: float) -> bool:
        """A larger penalty, or a smaller part of the way."""
        self.penalty, self.part, self.longest = self.penalty / factor, self.part * factor, self.longest * factor
        self.age = 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """Penalty, part of the way, where the last step began, and what the optimizer remembers."""
        return {
            "penalty": self.penalty,
            "part": self.part,
            "longest": self.longest,
            "before": self.before,
            "age": self.age,
            "others": None if self.optimizer is None else self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them up."""
        self.penalty, self.part, self.longest = state["penalty"], state["part"], state["longest"]
        self.before, self.age = [t.clone() for t in state["before"]], state["age"]
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["others"])


@torch.no_grad()
def _assign(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for q, value in zip(parameters, values, strict=True):
        q.copy_(value)
