"""Averages of parameters along a training: steps may be large and noisy, and what is kept is the middle of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffeo.fit.methods import Method, Optimizer, Stepper, as_method
from diffeo.fit.problem import Problem


class Averaged(Method):
    """Steps of another method, and an exponential average of where they lead: θ̄ += (1 − d)(θ − θ̄).

    The parameters of the problem are the average between steps, so that this is what is validated, kept as the best
    and left at the end; gradients are taken at θ, which the stepper keeps. In the beginning the average is one over all
    steps, d = min(decay, 1 − 1/k).

    Args:
        optimizer: the method, or what makes a torch optimizer; none that searches along lines.
        decay: d, from 0 (no average) to less than 1; steps older than 1/(1 − d) hardly count.

    Raises: ValueError for another decay.

    Source: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992.
    """

    def __init__(self, optimizer: Optimizer | Method, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"Averaged expects a decay from 0 to less than 1, and got {decay}.")
        self.method, self.decay = as_method(optimizer), decay

    def bind(self, problem: Problem) -> Stepper:
        """The method at work, beside an average."""
        inner = self.method.bind(problem)
        if inner.searches:
            raise ValueError(
                f"Averaged goes on from other points than it shows, and {self.method!r} compares values between steps: "
                "give it an optimizer without a line search, such as partial(torch.optim.Adam, lr=0.01)."
            )
        return AveragedStepper(problem, inner, self.decay)

    def __repr__(self) -> str:
        return f"Averaged({self.method!r}, {self.decay})"


class AveragedStepper(Stepper):
    """Another stepper, whose parameters are put in place for its step only."""

    def __init__(self, problem: Problem, inner: Stepper, decay: float) -> None:
        self.problem, self.inner, self.decay = problem, inner, decay
        self.parallel, self.optimizer = inner.parallel, inner.optimizer
        self.steps = 0
        self.last: list[Tensor] | None = None  # θ, where the parameters hold the average

    @property
    def finished(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the other one."""
        return self.inner.finished

    @torch.no_grad()
    def step(self) -> None:
        """A step from θ, and the average moved towards where it led."""
        average = [p.detach().clone() for p in self.problem.parameters]
        if self.last is not None:
            self._put(self.last)
        try:
            with torch.enable_grad():
                self.inner.step()
            self.steps += 1
            self.last = [p.detach().clone() for p in self.problem.parameters]
            part = 1 - min(self.decay, 1 - 1 / self.steps)
            for mean, p in zip(average, self.last, strict=True):
                mean.lerp_(p, part)
        finally:
            self._put(average)

    def shorten(self, factor: float) -> bool:
        """Go on from the average."""
        self.last = None
        return self.inner.shorten(factor)

    def state_dict(self) -> dict[str, Any]:
        """Of the other one, θ and the number of steps."""
        return {"inner": self.inner.state_dict(), "steps": self.steps, "last": self.last and list(self.last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up."""
        self.inner.load_state_dict(state["inner"])
        self.steps, last = state["steps"], state["last"]
        self.last = last and [t.detach().clone().to(p) for t, p in zip(last, self.problem.parameters, strict=True)]

    def _put(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for p, value in zip(self.problem.parameters, values, strict=True):
                p.copy_(value)
