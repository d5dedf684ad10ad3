"""Five arms, bent: a map with several preimages, all of which are found."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffeo.laws.toys.toy import Toy, chosen, normal

ARMS, RATE = 5, 0.25
RADIAL, TANGENTIAL = 0.3, 0.1  # deviations
FACTOR = 2.0
TURN = 2 * math.pi / ARMS
HALVINGS = 36  # to 1e-10, which one step of Newton squares
MOST = 256  # preimages on either side of a fold: all of them where |z| < 10, the likeliest beyond


class Pinwheel(Toy):
    r"""z = 2 R(−ϑ) f, where f is normal with mean (1, 0), and ϑ = 2πk/5 + ¼ exp(f₁), k one of five arms.

    The map preserves volumes but for a factor: $\det = 4\,(1 + \tfrac14 e^{f_1} f_2)$. Where f₂ is far below zero it
    folds, so that a point has 5 preimages or more, each with its term in the density, which is infinite on the fold.
    """

    ENTROPY = 2.3178

    def standard_log_prob(self, z: Tensor) -> Tensor:
        """The sum over preimages."""
        y = z / FACTOR
        first, arm, present = preimages(y.detach())
        x1, x2 = y[:, 0, None, None], y[:, 1, None, None]
        # one more step of Newton for f₁ = (R(ϑ) y)₁, with derivatives in y
        _, second = turned(x1, x2, first, arm)
        slope = 1 + RATE * first.exp() * second.detach()
        slope = torch.where(slope.abs() < 1e-12, 1e-12, slope)
        first = first - (first - turned(x1, x2, first, arm)[0]) / slope
        first = torch.where(present, first, 1.0)  # what is none may be so large that derivatives are not finite
        _, second = turned(x1, x2, first, arm)
        parts = -0.5 * (((first - 1) / RADIAL).square() + (second / TANGENTIAL).square())
        parts = parts - (1 + RATE * first.exp() * second).abs().clamp(min=1e-12).log()
        constant = math.log(ARMS * 2 * math.pi * RADIAL * TANGENTIAL * FACTOR**2)
        return torch.where(present, parts, -math.inf).flatten(1).logsumexp(1) - constant

    def standard_sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Normal points on the arms, turned."""
        f = normal(n, generator) * torch.tensor([RADIAL, TANGENTIAL]).double() + torch.tensor([1.0, 0.0])
        angle = chosen(n, generator, ARMS) * TURN + RATE * f[:, 0].exp()
        return FACTOR * torch.stack(rotated(f[:, 0], f[:, 1], -angle), 1)


def rotated(x1: Tensor, x2: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Counterclockwise."""
    c, s = angle.cos(), angle.sin()
    return c * x1 - s * x2, s * x1 + c * x2


def turned(x1: Tensor, x2: Tensor, first: Tensor, arm: Tensor) -> tuple[Tensor, Tensor]:
    """R(ϑ) y: f itself, if ``first`` is f₁."""
    return rotated(x1, x2, arm * TURN + RATE * first.exp())


def phase(angle: Tensor, r: Tensor) -> Tensor:
    """G(α) = α − ¼ exp(r cos α): where f has the angle α, z has the angle G(α) minus that of the arm."""
    return angle - RATE * (r * angle.cos()).exp()


def bisected(rises, low: Tensor, high: Tensor) -> Tensor:
    """Where a condition that holds at ``low`` ceases to hold on the way to ``high``."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        holds = rises(middle)
        low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
    return (low + high) / 2


def folds(r: Tensor) -> tuple[Tensor, Tensor]:
    """The angles in [−π, 0] between which G falls; both are the same where it never does. Shapes (n,)."""

    def falls(angle: Tensor) -> Tensor:
        return 1 + RATE * r * (r * angle.cos()).exp() * angle.sin() < 0

    cosine = 2 * r / (1 + (1 + 4 * r.square()).sqrt())  # of the steepest place: cos = r sin²
    steepest = -cosine.acos()
    falling = falls(steepest)
    left = bisected(lambda a: ~falls(a), torch.full_like(r, -math.pi), steepest)
    right = bisected(falls, steepest, torch.zeros_like(r))
    return torch.where(falling, left, steepest), torch.where(falling, right, steepest)


def preimages(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f₁ and arms of all f with R(−ϑ) f = y, and which of the entries are such; shapes (n, 2, m).

    On [left, right], where G falls, and on [right, left + 2π], where it rises, every value G = angle(y) + 2πj/5
    is attained once: it belongs to the arm j mod 5. Those with the lowest G come first: at large |y| the likeliest.
    """
    r, beta = y.square().sum(1).sqrt(), torch.atan2(y[:, 1], y[:, 0])
    left, right = folds(r)
    start = torch.stack([right, right], 1)[..., None]
    end = torch.stack([left, left + 2 * math.pi], 1)[..., None]
    lowest, highest = (((phase(a, r[:, None, None]) - beta[:, None, None]) / TURN) for a in (start, end))
    lowest = lowest.ceil()
    most = min(int((highest - lowest).max()) + 1, MOST) if len(y) else 1
    j = lowest + torch.arange(most).to(y)
    value = beta[:, None, None] + j * TURN
    shape = j.shape
    angle = bisected(lambda a: phase(a, r[:, None, None]) < value, start.expand(shape), end.expand(shape))
    return r[:, None, None] * angle.cos(), j % ARMS, j <= highest
