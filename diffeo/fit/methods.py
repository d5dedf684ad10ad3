"""Ways to make a step: any torch optimizer, on the parameters as they are or on gradients in V."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diffeo.fit.problem import Problem

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

SEARCHED = 30  # evaluations remembered for line searches: more than any of them makes


class Stepper(ABC):
    """A method at work on one problem.

    Attributes:
        gradients: a step begins with a call of the problem, so that evaluating with the gradient before is not in vain.
        searches: a step evaluates the objective at several points and compares: it must not change in between.
        parallel: the objective is known through calls of the problem alone, so that processes can share the work.
        finished: there is no further step.
        optimizer: the torch optimizer within, if there is one: what schedules act on.
    """

    gradients = False
    searches = False
    parallel = False
    finished = False
    optimizer: torch.optim.Optimizer | None = None

    @abstractmethod
    def step(self) -> None:
        """Change the parameters of the problem, in place, so as to lower its objective on its present pairs."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly, as nested dicts and lists of tensors, numbers and strings."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""

    def shorten(self, factor: float) -> bool:
        """Forget what led astray and make steps shorter by a factor from now on; False if that cannot be done."""
        return False


class Method(ABC):
    """A way to train."""

    @abstractmethod
    def bind(self, problem: Problem) -> Stepper:
        """The method at work on a problem.

        Raises: ValueError for a problem that it is not made for.
        """


class Euclidean(Method):
    """A torch optimizer on the parameters as they are.

    Args:
        optimizer: makes it from a list of parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def bind(self, problem: Problem) -> Stepper:
        """The optimizer, made for the parameters of the problem."""
        return TorchStepper(problem, self.optimizer)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_name(self.optimizer)})"


class InV(Euclidean):
    r"""A torch optimizer on gradients in the metric $\int\|v_t\|_V^2\,dt$: Euclidean ones times `Diffeo.rates`.

    One learning rate of SGD then serves every depth and every width. Optimizers that normalize gradients (Adam) do not
    notice factors.

    Args:
        optimizer: makes it from a list of parameters; none that searches along lines, as L-BFGS does.
    """

    def bind(self, problem: Problem) -> Stepper:
        """The optimizer, fed with gradients in V."""
        stepper = TorchStepper(problem, self.optimizer, problem.rates)
        if stepper.searches:
            raise ValueError(
                f"InV changes gradients, and the line search of {_name(self.optimizer)} needs those of the objective: "
                "give InV an optimizer without one, such as partial(torch.optim.SGD, lr=0.5)."
            )
        return stepper


class TorchStepper(Stepper):
    """A torch optimizer at work; the gradient of each parameter is multiplied by its rate, if rates are given."""

    gradients = True
    parallel = True

    def __init__(self, problem: Problem, make: Optimizer, rates: Sequence[float] | None = None) -> None:
        self.problem, self.rates = problem, rates
        made: Any = make(problem.parameters)
        if not isinstance(made, torch.optim.Optimizer):
            raise ValueError(
                "fit expects an optimizer that makes a torch optimizer from a list of parameters, such as "
                f"partial(torch.optim.Adam, lr=0.01), or a Method, and got one that makes a {type(made).__name__}."
            )
        self.optimizer = self.made = made
        # who cannot do without a closure evaluates it more than once
        closure = inspect.signature(type(self.made).step).parameters.get("closure")
        self.searches = closure is not None and closure.default is inspect.Parameter.empty
        if self.searches:
            problem.remembered = SEARCHED

    def step(self) -> None:
        """One step of the optimizer."""
        self.made.step(self._closure)

    def _closure(self) -> Any:
        total = self.problem()
        for p, rate in zip(self.problem.parameters, self.rates or (), strict=False):
            if p.grad is not None and rate != 1:
                p.grad.mul_(rate)
        return total

    def shorten(self, factor: float) -> bool:
        """Learning rates times the factor; momenta and the like are forgotten."""
        self.made.state.clear()
        for group in self.made.param_groups:
            group["lr"] = group["lr"] * factor
            if "initial_lr" in group:
                group["initial_lr"] = group["initial_lr"] * factor
        return True

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer."""
        return self.made.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up; the given one stays as it is."""
        self.made.load_state_dict(copy.deepcopy(state))


def as_method(optimizer: Optimizer | Method) -> Method:
    """What was given, as a `Method`."""
    return optimizer if isinstance(optimizer, Method) else Euclidean(optimizer)


def _name(optimizer: Any) -> str:
    if isinstance(optimizer, partial):
        options = [f"{key}={value!r}" for key, value in optimizer.keywords.items()]
        return ", ".join([_name(optimizer.func), *options])
    return getattr(optimizer, "__name__", repr(optimizer))
