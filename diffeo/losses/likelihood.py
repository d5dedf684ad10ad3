"""Densities compared by likelihood: Kullback–Leibler divergences, up to constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Loss
from diffeo.laws import Law
from diffeo.shapes.base import PointShape
from diffeo.shapes.samples import Samples


class NLLLoss(Loss):
    r"""−mean of $\log p_0(\varphi(x)) + \log\det D\varphi(x)$: the likelihood of samples that φ carries to a law p₀.

    Up to the entropy of the samples, which does not depend on φ, it is KL(law of φ(x) ‖ p₀).

    Args:
        law: p₀; its parameters are trained together with φ. Left out, it is what samples are compared with.
        barrier: what a unit of `Samples.deficit` costs.
    """

    def __init__(self, law: Law | None = None, barrier: float = 10.0) -> None:
        super().__init__()
        if not barrier >= 0:
            raise ValueError(f"NLLLoss expects a barrier of 0 or more, and got {barrier}.")
        self.law, self.barrier = law, barrier

    def forward(self, moved: Samples, target: Any = None) -> Tensor:
        """In nats, per sample; the target is a law, unless the loss was built with one."""
        law = target if self.law is None else self.law
        if not isinstance(law, Law):
            raise ValueError(
                f"NLLLoss compares samples with a Law, such as Gaussian.standard(2), and got {type(law).__name__}."
            )
        return likelihood(moved, law.log_prob, self.barrier, "NLLLoss")

    def rescaled(self, factor: float) -> NLLLoss:
        """The same: volumes and densities change in opposite ways; laws are to be rescaled on their own."""
        return NLLLoss(self.law, self.barrier)

    def arguments(self) -> dict[str, Any]:
        """Law and barrier."""
        return {"law": self.law, "barrier": self.barrier}


class KLLoss(Loss):
    r"""KL(law of the moved samples ‖ π), up to constants: −mean of $\log\pi(\varphi(x)) + \log\det D\varphi(x)$.

    The constants are the entropy of the samples before they move and the logarithm of π's integral. `Descent` on it is
    SVGD (Liu & Wang, 2016).

    Args:
        log_prob: log π up to a constant: from x, shape (n, d), to shape (n,); differentiable. A `Law` is one.
        barrier: what a unit of `Samples.deficit` costs.
    """

    def __init__(self, log_prob: Callable[[Tensor], Tensor], barrier: float = 10.0) -> None:
        super().__init__()
        if not callable(log_prob):
            raise ValueError(f"KLLoss expects a function from x (n, d) to log π(x) (n,), and got {log_prob!r}.")
        self.log_prob, self.barrier = log_prob, barrier

    def forward(self, moved: Samples, target: Any = None) -> Tensor:
        """In nats, per sample; there is no other target."""
        return likelihood(moved, self.log_prob, self.barrier, "KLLoss")

    def rescaled(self, factor: float) -> KLLoss:
        """π in the other units, about the origin."""
        inner = self.log_prob
        if isinstance(inner, Law):
            return KLLoss(inner.rescaled(factor, torch.zeros(inner.dim)), self.barrier)
        return KLLoss(lambda x: inner(x / factor), self.barrier)

    def arguments(self) -> dict[str, Any]:
        """The density and the barrier; a file can hold the former where it is a `Law`."""
        return {"log_prob": self.log_prob, "barrier": self.barrier}


def likelihood(moved: Samples, log_prob: Callable[[Tensor], Tensor], barrier: float, name: str) -> Tensor:
    """−mean(log p(x) + log-volume) + barrier · deficit.

    Raises: ValueError for shapes without volumes, and for densities that are not such.
    """
    if not isinstance(moved, Samples):
        got = "use Samples(points.x)" if isinstance(moved, PointShape) else "they carry densities"
        raise ValueError(f"{name} expects Samples, and got {type(moved).__name__}: {got}.")
    density = log_prob(moved.x)
    if density.shape != moved.x.shape[:1]:
        raise ValueError(f"{name} expects log-densities of shape ({len(moved.x)},), and got {tuple(density.shape)}.")
    value = -(density + moved.volume).mean()
    return value if moved.deficit is None else value + barrier * moved.deficit
