"""L-BFGS for objectives that are dear: hardly more than one evaluation per iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

ENOUGH = 1e-4  # of the decrease that the slope promises
CURVED = 1e-8  # the cosine between a step and the change of the gradient, below which they would spoil the memory


class FrugalLBFGS(torch.optim.Optimizer):
    """L-BFGS that takes the first step along its direction that lowers the objective enough, usually the full one.

    A strong Wolfe search looks for better steps than that, at two or three evaluations per iteration, and begins with
    a step that depends on the units of the parameters and on their number: with a million unknowns and in single
    precision it is so short that nothing can be seen to change. The first step of this one is such that the objective
    would fall by a part of itself, were it linear, whatever the units.

    Args:
        params: tensors of one dtype, on one device.
        lr: by which all steps are multiplied.
        history: pairs that are remembered.
        first: the part of the objective that the first step should remove.
        tries: evaluations per iteration, at most.

    Source: Nocedal & Wright, Numerical Optimization, 2006, chapters 3.5 and 7.2.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1.0, history: int = 15, first: float = 0.1, tries: int = 12
    ) -> None:
        super().__init__(list(params), {"lr": lr, "history": history, "first": first, "tries": tries})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One iteration; where no step lowers the objective, the parameters stay.

        Args:
            closure: returns the objective, with its gradient in the parameters' ``.grad``; it may raise ArithmeticError
                where the objective cannot be computed, which is then taken for infinite.
        """
        memory = self.state.setdefault(self._params[0], {"s": [], "y": []})
        value = float(torch.as_tensor(torch.enable_grad()(closure)()).detach())
        here = _Point(self._gathered([p.data for p in self._params]), value, self._gradient())
        while not self._descend(closure, here, memory) and memory["s"]:
            memory["s"], memory["y"] = [], []  # what is remembered may mislead: try once more without
        return here.value

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _descend(self, closure: Callable[[], Any], here: _Point, memory: dict[str, list[Tensor]]) -> bool:
        """A step from here along the direction, if one lowers the objective."""
        options = self.param_groups[0]
        direction = _direction(here.gradient, memory["s"], memory["y"])
        slope = float(direction @ here.gradient)
        if not slope < 0:
            return False
        length = options["lr"] * (1.0 if memory["s"] else options["first"] * abs(here.value) / -slope)
        for _ in range(options["tries"]):
            there = self._look(closure, here.x + length * direction)
            if there.value <= here.value + ENOUGH * length * slope:
                s, y = there.x - here.x, there.gradient - here.gradient
                if float(s @ y) > CURVED * float(s.norm()) * float(y.norm()):
                    memory["s"] = [*memory["s"], s][-options["history"] :]
                    memory["y"] = [*memory["y"], y][-options["history"] :]
                return True
            # the minimum of the parabola through what is known, within bounds
            excess = there.value - here.value - slope * length
            best = -0.5 * slope * length**2 / excess if math.isfinite(excess) else 0.0
            length = min(max(best, 0.1 * length), 0.5 * length)
        self._look(closure, here.x)
        return False

    def _look(self, closure: Callable[[], Any], x: Tensor) -> _Point:
        """The objective and its gradient at x, where the parameters are left."""
        for p, part in zip(self._params, x.split([p.numel() for p in self._params]), strict=True):
            p.copy_(part.view_as(p))
        try:
            with torch.enable_grad():
                value = float(torch.as_tensor(closure()).detach())
        except ArithmeticError:
            return _Point(x, math.inf, x)
        return _Point(x, value if math.isfinite(value) else math.inf, self._gradient())

    def _gradient(self) -> Tensor:
        return self._gathered([torch.zeros_like(p) if p.grad is None else p.grad for p in self._params])

    def _gathered(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([part.detach().reshape(-1) for part in parts])


class _Point(NamedTuple):
    """Parameters, flattened, with the objective and its gradient there."""

    x: Tensor
    value: float
    gradient: Tensor


def _direction(gradient: Tensor, steps: list[Tensor], changes: list[Tensor]) -> Tensor:
    """Minus the inverse Hessian that the steps and the changes of the gradient suggest, times the gradient."""
    d, shares = -gradient, []
    for s, y in zip(reversed(steps), reversed(changes), strict=True):
        shares.append(float(s @ d) / float(s @ y))
        d = d - shares[-1] * y
    if steps:
        s, y = steps[-1], changes[-1]
        d = float(s @ y) / float(y @ y) * d
    for s, y, share in zip(steps, changes, reversed(shares), strict=True):
        d = d + (share - float(y @ d) / float(s @ y)) * s
    return d
