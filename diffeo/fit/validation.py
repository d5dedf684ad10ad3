"""How good a map is on data that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from diffeo.fit.batches import Minibatches
from diffeo.fit.problem import Problem, Share
from diffeo.fit.rounds import Pair, checked, placed, shared


class Validation:
    """A score, the lower the better: the data term on other pairs, or what a function says.

    Args:
        problem: what is trained.
        on: pairs, batches (the score is the mean over their points), or a function of nothing.
    """

    def __init__(self, problem: Problem, on: Sequence[Pair] | Minibatches | Callable[[], float]) -> None:
        self.problem, self.on = problem, on
        if not isinstance(on, Minibatches) and not callable(on):
            like = problem.trained.anchor
            self.on = [placed(pair, like) for pair in checked(on, like)]

    def score(self) -> float:
        """The score at present.

        Raises: ArithmeticError where it is not a number.
        """
        if isinstance(self.on, Minibatches):
            score = self._mean(self.on)
        elif callable(self.on):
            score = self.problem.world.first(float(self.on()))
        else:
            world = self.problem.world
            share = Share(energy=1 / world.size)
            score = float(self.problem.evaluate(self.on[world.rank :: world.size], share).data)
        if math.isnan(score):
            raise ArithmeticError("the score on the validation set is not a number")
        return score

    def _mean(self, batches: Minibatches) -> float:
        total, points = 0.0, 0
        for batch in batches.epoch(0):
            pairs, share, n = shared(self.problem, batches, batch)
            total, points = total + n * float(self.problem.evaluate(pairs, share).data), points + n
        if not points:
            raise ValueError("fit expects at least one batch to validate on, and got none.")
        return total / points
