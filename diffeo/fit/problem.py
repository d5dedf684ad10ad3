"""The objective and its gradient, as ways to make a step ask for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffeo.core import Diffeo, Loss, Value, objective
from diffeo.fit.distributed import World
from diffeo.fit.trained import Trained


class DivergenceError(ArithmeticError):
    """The objective is not finite, or has exploded."""


class Share(NamedTuple):
    """What this process's part of the energy and of the data term counts in those of all processes together.

    ``failure`` is why it has none, to be raised where the others wait for it.
    """

    energy: float = 1.0
    data: float = 1.0
    failure: Exception | None = None


class Problem:
    """E(φ) on the present pairs: calling it gives the value, with the gradient in the parameters' ``.grad``.

    Recent evaluations are remembered. torch's L-BFGS asks for the accepted point again at the start of the next
    iteration, and its last evaluation is not the accepted one: the memory answers both questions for nothing.

    Args:
        phi: the diffeomorphism.
        pairs: (source, target) pairs.
        loss: D.
        weight: of the energy.
        modules: whose parameters are trained along with those of φ and of the loss.
        world: the processes that share the work.

    Attributes:
        parameters: all that is optimized.
        rates: for each of them, what its gradient is to be multiplied by to be that in V.
        bound: beyond which the objective has exploded.
        remembered: the number of evaluations that are kept; each is a copy of the parameters and their gradient.
        first: the value at the first evaluation since the pairs were set, with a gradient.
    """

    def __init__(
        self,
        phi: Diffeo,
        pairs: Sequence[tuple[Any, Any]],
        loss: Loss,
        weight: float,
        modules: Sequence[nn.Module] = (),
        world: World | None = None,
    ) -> None:
        self.phi, self.loss, self.weight = phi, loss, weight
        self.trained = Trained(phi, loss, modules)
        self.parameters: list[nn.Parameter] = self.trained.parameters
        self.rates = self.trained.rates()
        self.world = world or World.alone()
        self.bound, self.remembered = math.inf, 1
        self.turn(pairs)

    def turn(self, pairs: Sequence[tuple[Any, Any]], share: Share | None = None) -> None:
        """Take other pairs: a batch."""
        self.pairs, self.share = pairs, share or Share()
        self.first: Value | None = None
        self._memory: list[tuple[list[Tensor], Value, list[Tensor | None]]] = []

    def __call__(self) -> Any:
        """The objective at the parameters' present values, with its gradient in their ``.grad``.

        Raises: DivergenceError where one of them is not finite, or the objective has exploded.
        """
        known = self._recalled()
        if known is not None:
            value, gradients = known
            for p, g in zip(self.parameters, gradients, strict=True):
                p.grad = None if g is None else g.clone()
            return value.total
        for p in self.parameters:
            p.grad = None
        value = self.world.together(self.parameters, self._differentiate)
        self._check(value)
        self.first = self.first or value
        if self.remembered:
            gradients = [None if p.grad is None else p.grad.clone() for p in self.parameters]
            self._memory.append(([p.detach().clone() for p in self.parameters], value, gradients))
            del self._memory[: -self.remembered]
        return value.total

    def value(self, gradient: bool = True) -> Value:
        """The objective and its parts at the present values, without a graph.

        Args:
            gradient: evaluate with the gradient, where it is to be asked for next.
        """
        known = self._recalled()
        if known is not None:
            return known[0]
        if gradient and self.parameters and self.remembered:
            self()
            return self._memory[-1][1]
        return self.evaluate(self.pairs, self.share)

    def evaluate(self, pairs: Sequence[tuple[Any, Any]], share: Share | None = None) -> Value:
        """The objective on other pairs, without gradients."""

        def compute() -> Value:
            with torch.no_grad():
                return self._objective(pairs, share or Share())

        value = self.world.together([], compute)
        if not math.isfinite(float(value.total)):
            raise DivergenceError(f"the objective became {float(value.total):.3g}")
        return value

    def _recalled(self) -> tuple[Value, list[Tensor | None]] | None:
        for at, value, gradients in reversed(self._memory):
            if all(torch.equal(a, p) for a, p in zip(at, self.parameters, strict=True)):
                return value, gradients
        return None

    def _differentiate(self) -> Value:
        """The value, with gradients left in the parameters."""
        with torch.enable_grad():
            value = self._objective(self.pairs, self.share)
            total = float(value.total.detach())
            if not math.isfinite(total) or (self.world.size == 1 and total > self.bound):
                raise DivergenceError(f"the objective became {total:.3g}")
            if value.total.requires_grad:
                value.total.backward()
        for p in self.parameters:
            if p.grad is not None and not p.grad.is_contiguous():
                p.grad = p.grad.contiguous()  # torch's L-BFGS views gradients as vectors
        return Value(*(v.detach() for v in value))

    def _objective(self, pairs: Sequence[tuple[Any, Any]], share: Share) -> Value:
        if self.world.size == 1:
            return objective(self.phi, pairs, self.loss, self.weight)
        if share.failure is not None:
            raise share.failure
        energy = share.energy * self.phi.energy()
        terms = [self.loss(self.phi @ source, target) for source, target in pairs]
        data = share.data * torch.stack(terms).sum() if terms else torch.zeros_like(energy)
        return Value(self.weight * energy + data, energy, data)

    def _check(self, value: Value) -> None:
        total = float(value.total)
        if not math.isfinite(total) or total > self.bound:
            raise DivergenceError(f"the objective became {total:.3g}")
        # where nothing is compared, it is enough to look at the parameters now and then
        if self.remembered and not finite([p.grad for p in self.parameters if p.grad is not None]):
            raise DivergenceError("the gradient is not finite")


def finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers are finite; first by the norm, which is faster, but may overflow."""
    if not tensors or bool(torch.isfinite(torch.nn.utils.get_total_norm(tensors))):
        return True
    return all(bool(torch.isfinite(t).all()) for t in tensors)
