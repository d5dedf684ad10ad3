"""Maps that grow: a layer is a step, and what the loss has to learn follows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diffeo.core import Grown, Loss
from diffeo.fit.methods import Stepper
from diffeo.fit.problem import Problem

REFIT = partial(torch.optim.LBFGS, max_iter=5, max_eval=15, line_search_fn="strong_wolfe")


class Growth(Stepper):
    """`Grown.grow` as a step; before the first and after each, a few of L-BFGS on the parameters of the loss.

    Before the first, because a head that has learned nothing pulls nowhere.

    Raises: ValueError for a map that does not grow.
    """

    def __init__(self, problem: Problem) -> None:
        if not isinstance(problem.phi, Grown):
            raise ValueError(f"{type(problem.phi).__name__} does not grow.")
        self.problem, self.phi, self.begun = problem, problem.phi, False

    def step(self) -> None:
        """A layer more, if one lowers the loss."""
        if not self.begun:
            self._refit()
        self.begun = True
        self.finished = not self.phi.grow(self.problem.pairs, self.problem.loss)
        self._refit()

    def _refit(self) -> None:
        if self.problem.parameters:
            with torch.no_grad():
                moved = [(self.phi @ source, target) for source, target in self.problem.pairs]
            refit(self.problem.parameters, self.problem.loss, moved)

    def state_dict(self) -> dict[str, Any]:
        """Whether a layer was tried; all else is in the map and in the loss."""
        return {"begun": self.begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up."""
        self.begun = state["begun"]


def refit(heads: Sequence[nn.Parameter], loss: Loss, moved: Sequence[tuple[Any, Any]]) -> None:
    """A few steps of L-BFGS on what the loss has to learn, on pairs (moved, target); none where they do not help."""
    if not heads:
        return
    before = [p.detach().clone() for p in heads]
    values: list[float] = []

    def closure() -> Tensor:
        for p in heads:
            p.grad = None
        with torch.enable_grad():
            value = torch.stack([loss(m, target) for m, target in moved]).sum()
            value.backward(inputs=list(heads))
        for p in heads:
            p.grad = None if p.grad is None else p.grad.contiguous()  # L-BFGS views gradients as vectors
        values.append(float(value.detach()))
        return value.detach()

    REFIT(heads).step(closure)
    with torch.no_grad():
        after = sum(float(loss(m, target)) for m, target in moved)
        if not after <= values[0]:  # NaN compares with nothing
            for p, old in zip(heads, before, strict=True):
                p.copy_(old)
