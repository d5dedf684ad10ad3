"""The distributions of torch, as laws."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import AffineTransform, Distribution, Independent, TransformedDistribution, constraints

from diffeo.laws.base import Law, check_draws, check_points


class TorchLaw(Law):
    """A law that `torch.distributions` knows; it is drawn from and evaluated in its own precision, on its own device.

    Args:
        distribution: of points, event shape (d,); or of independent columns, batch shape (d,); or of a number.

    Raises: ValueError for anything else, and for what has no density. A file cannot hold one: see `diffeo.save`.
    """

    like: Tensor

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        self.distribution = distribution
        self.points = _of_points(distribution)
        with torch.random.fork_rng(devices=[]):
            self.own = self.points.sample()[0].detach()  # a number where the distribution is, and stays
        self.register_buffer("like", self.own.clone(), persistent=False)

    @property
    def dim(self) -> int:
        """d."""
        return self.points.event_shape[0]

    def log_prob(self, x: Tensor) -> Tensor:
        """That of the distribution; −∞ outside its support."""
        check_points(x, self.dim, "TorchLaw")
        value = x.to(self.own)
        inside = self._inside(value)
        if not bool(inside.any()):
            return x.new_full((len(x),), -math.inf)
        anywhere = value[inside][:1].detach()  # outside, distributions raise errors, or give numbers that mean nothing
        density = self.points.log_prob(torch.where(inside[:, None], value, anywhere))
        return torch.where(inside, density, -math.inf).to(x)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Drawn by torch; from a seed that the generator draws, if there is one."""
        shape = (check_draws(n, "TorchLaw"),)
        if not n:
            return self.like.new_empty(0, self.dim)
        if generator is None:
            return self.points.sample(shape).to(self.like)
        own = self.own.device
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(devices=[own] if own.type == "cuda" else []):
            torch.manual_seed(seed)
            return self.points.sample(shape).to(self.like)

    def arguments(self) -> dict[str, Any]:
        """The distribution."""
        return {"distribution": self.distribution}

    def rescaled(self, factor: float, shift: Tensor) -> TorchLaw:
        """The distribution, transformed."""
        moved = AffineTransform(shift.to(self.own), float(factor), event_dim=1)
        return TorchLaw(TransformedDistribution(self.points, moved))

    def extra_repr(self) -> str:
        """The distribution."""
        return f"{type(self.distribution).__name__}, dim={self.dim}"

    def _inside(self, x: Tensor) -> Tensor:
        """Where the support is, shape (n,)."""
        return _support(self.points).check(x) if len(x) else torch.zeros(0, dtype=torch.bool, device=x.device)


def _of_points(distribution: Distribution) -> Distribution:
    """The distribution with event shape (d,) and no batch. Raises ValueError where that is not to be had."""
    batch, event = (tuple(shape) for shape in (distribution.batch_shape, distribution.event_shape))
    support = _support(distribution)
    if support.is_discrete or support is constraints.simplex:
        raise ValueError(f"TorchLaw expects a distribution with a density, and {type(distribution).__name__} has none.")
    if len(event) == 1 and not batch:
        return distribution
    if not event and len(batch) <= 1:
        return Independent(distribution if batch else distribution.expand(torch.Size([1])), 1)
    raise ValueError(
        "TorchLaw expects a distribution of points, event shape (d,), or of independent columns, batch shape (d,), and "
        f"got batch shape {batch} and event shape {event}."
    )


def _support(distribution: Distribution) -> Any:
    """Its support; everything, where torch does not know it."""
    try:
        support: Any = distribution.support
    except NotImplementedError:
        support = None
    return constraints.real_vector if support is None else support
