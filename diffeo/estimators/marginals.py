"""Marginals of tables made Gaussian, as far as columns together ask for it: a flow that moves every column alone."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from diffeo.diagnostics import certificate
from diffeo.estimators.slowing import slowed, slower
from diffeo.fields import SeparableField
from diffeo.fit import History, fit
from diffeo.flows import Flow
from diffeo.laws import MixtureFit, Shrinkage
from diffeo.laws.mixture_fit import left_out
from diffeo.losses import GaussianProfileLoss
from diffeo.shapes import Samples

DEPTH, CENTERS, SCALE = 4, 8, 0.7  # layers; bends of each in every column; their width, in standard deviations
PRICE = 20.0  # of a unit of energy, divided by the number of rows: a prior, whose weight is that of one row each
FLOOR, BARRIER = 0.2, 30.0  # slopes of layers are held above the one by the other: 10 was too weak for wine
LEAST = 0.05  # slopes of layers in the end
REACH = 1.3  # where they are held there, in half ranges of the data around its middle
MAPS = (1e-4, 1e-3, 1e-2, 0.1)  # shrinkages of the Gaussian that are tried
ROWS = 50  # with fewer, marginals are left as they are


def marginal_flow(
    x: Tensor, iterations: int = 120, time_limit: float = float("inf"), certified: bool = False
) -> tuple[Flow, History | None]:
    """A flow of standardized rows x, shape (n, d), that raises their likelihood under the best Gaussian.

    Relations between columns that are curved only because columns are (an area and a diameter) become straight, which
    is worth more than marginals of the right shape. The flow is at rest for few rows, or one column. If it is to be
    certified, all of its layers are proven to be increasing in every column, everywhere.
    """
    x = x.detach().double()
    phi = Flow([SeparableField.over(x, CENTERS, SCALE) for _ in range(DEPTH)])
    if len(x) < ROWS or x.shape[1] < 2:
        return phi, None
    low, high = x.amin(0), x.amax(0)
    steps = torch.linspace(-REACH, REACH, 2 * CENTERS).to(x)[:, None]
    samples = Samples(x, floor=FLOOR, witnesses=(low + high) / 2 + (high - low) / 2 * steps)
    history = fit(
        phi,
        [(samples, None)],
        GaussianProfileLoss(shrinkage_of(x), BARRIER),
        weight=PRICE / len(x),
        max_iterations=iterations,
        tolerance=1e-4,
        time_limit=time_limit,
    )
    around = low + (high - low) * (1.5 * torch.linspace(-1, 1, 256).to(x)[:, None] + 0.5)
    slowed(phi, list(phi.parameters()), torch.cat([x, around]), LEAST)
    while certified and not certificate(phi).invertible:
        slower(phi.parameters())
    return phi, history


def shrinkage_of(x: Tensor) -> float:
    """How far a Gaussian's covariance is to be shrunk toward its diagonal, by rows that are left out; at most d/n."""
    n, d = x.shape
    parts = left_out(n, 0)
    if n < 2 * len(parts):
        return MAPS[-1]
    fits = partial(MixtureFit, components=1, outliers=False)
    scores = [fits(shrinkage=Shrinkage(toward_diagonal=a)).held_out(x, parts) for a in MAPS]
    return min(MAPS[scores.index(max(scores))], d / n)
