"""What films and pages of densities show: rows on their way to the base, draws that make the way back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Diffeo
from diffeo.flows.frames import opening, parted
from diffeo.laws import ConditionalLaw, Gaussian, Law, Mixture, Transported, Wrapped
from diffeo.viz.density import grid_lines, labels, span
from diffeo.viz.partway import Partway
from diffeo.viz.view import Array, array, sample

MOST_ROWS, MOST_DRAWS = 600, 2000
LINES = 21  # of the grid that goes along, on its longer side
MARGIN = 0.06  # around most points at all moments, relative to their extent
REST = 1e-6  # standard deviations: what moves less is at rest


@dataclass(frozen=True)
class DensityWay:
    """Points on their way, in the coordinates of the flow: columns are standardized, and bounded ones opened up.

    Attributes:
        times: from 0 to 1, shape (T,): the part of the way that is done, by mean length.
        rows: shape (T, n, d): data, where they are at each moment; the context comes last, and stays.
        drawn: shape (T, m, d): points that end where the base has put them.
        lines: the lines of a grid in the plane, each of shape (T, points, 2); none in other dimensions.
        low, high: corners of what is shown, shape (d,).
        names: what is written at the axes, d of them.
        given: how many columns, the last ones, are a context.
        moves: whether there is a flow, or else φ only changes units.
        opened: whether there are bounds, which φ opens up.
        law: what the rows are carried to.
        partway, places: the flow, and where it is at each moment.
        like: a tensor of the dtype and on the device of the law.
    """

    times: Array
    rows: Array
    drawn: Array
    lines: list[Array]
    low: Array
    high: Array
    names: list[str]
    given: int
    moves: bool
    opened: bool
    law: Law
    partway: Partway
    places: Array
    like: Tensor

    @property
    def columns(self) -> int:
        """How many columns have a density: the others are a context."""
        return len(self.low) - self.given

    @property
    def moved(self) -> float:
        """How far rows go on average, in standard deviations."""
        return float(np.linalg.norm(self.rows[-1] - self.rows[0], axis=1).mean())

    @property
    def logdet(self) -> Array:
        """log det of the map from the rows to where they are at each moment, shape (T, n); NaN where it folds."""
        return self.partway.logdet(torch.from_numpy(self.rows[0]).to(self.like), self.places)

    def density(self, moment: int, points: Array) -> Array:
        """The density of the moment at points, shape (n, d), per unit of volume; NaN where φ folds.

        Returns: shape (n,); of the columns that are no context, given those that are.
        """
        y = torch.from_numpy(points).to(self.like)
        return np.exp(array(self.partway.log_density(self.law, float(self.places[moment]), y)))


@torch.no_grad()
def density_way(
    law: Law, data: Tensor, *, moments: int = 25, names: Sequence[str] = (), seed: int = 0, draws: int = MOST_DRAWS
) -> DensityWay:
    """Follow rows through a law's flow to its base, and points of the base on the same way.

    Args:
        law: a `Transported` law, also a `Wrapped` one; of rows (x, c), if its base is a `ConditionalLaw`.
        data: rows, shape (n, d), in the dtype and on the device of the law; 600 of them at most are followed.
        moments: how many, at least 2.
        names: of the columns, those of the context last; all of them, or none.
        seed: of what is drawn.
        draws: how many points of the base; with a context, one for each row of it.

    Raises: ValueError for fewer moments, for other laws, and for some of the names only.
    """
    flow = law.law if isinstance(law, Wrapped) else law
    if not isinstance(flow, Transported):
        raise ValueError(
            f"a density on its way expects a law that is transported by a map, and got a {type(law).__name__}: for "
            "its picture use plot.law."
        )
    if moments < 2:
        raise ValueError(f"a way is followed over 2 moments or more, and got {moments}.")
    rows = data[torch.from_numpy(sample(len(data), MOST_ROWS)).to(data.device)]
    frame, parts = parted(flow.phi)
    z = law.wrap(rows) if isinstance(law, Wrapped) else rows
    for part in frame:
        z = part(z)
    partway = Partway(parts)
    places = partway.places(z, moments)
    path, drawn = partway.at(z, places), partway.at(_drawn(flow.base, parts, z, draws, seed), places)
    ends = np.stack([array(torch.stack(span(torch.from_numpy(y)))) for points in (path, drawn) for y in points])
    low, high = ends[:, 0].min(0), ends[:, 1].max(0)
    margin = MARGIN * (high - low)
    low, high = low - margin, high + margin
    given = flow.base.given if isinstance(flow.base, ConditionalLaw) else 0
    plane = z.shape[1] == 2 and not given
    lines = [partway.at(line, places) for line in grid_lines(*span(z), LINES)] if plane else []
    return DensityWay(
        times=np.linspace(0, 1, moments),
        rows=path,
        drawn=drawn,
        lines=lines,
        low=low,
        high=high,
        names=_names(law, names, given),
        given=given,
        moves=bool(np.abs(path - path[0]).max() > REST),
        opened=opening(flow.phi) is not None,
        law=flow.base,
        partway=partway,
        places=places,
        like=z[:0],
    )


def _drawn(base: Law, parts: Sequence[Diffeo], z: Tensor, draws: int, seed: int) -> Tensor:
    """Points that the flow carries to draws of the base, shape (m, d)."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(base, ConditionalLaw):
        c = z[:, -base.given :]
        y = torch.cat([base.sample_given(c, generator), c], 1)
    else:
        y = base.sample(draws, generator)
    for part in reversed(parts):
        y = part.inverse(y)
    return y


def _names(law: Law, names: Sequence[str], given: int) -> list[str]:
    """What is written at axes, with what has been done to the columns, whose units are gone by that."""
    flow = law.law if isinstance(law, Wrapped) else law
    assert isinstance(flow, Transported)
    opened, d = opening(flow.phi), law.dim
    bounded = (opened.low.isfinite() | opened.high.isfinite()).tolist() if opened is not None else [False] * d
    periodic = law.periods.isfinite().tolist() if isinstance(law, Wrapped) else [False] * d
    found = labels([re.sub(r"\s*\[[^\]]*\]$", "", name) for name in names], d)
    if not len(names):
        context = ["context"] if given == 1 else [f"context {k + 1}" for k in range(given)]
        found = [f"$z_{{{k + 1}}}$" for k in range(d - given)] + context
    done = [
        ", ".join([*(["opened up"] if bounded[k] else []), *(["unrolled"] if periodic[k] else []), "standardized"])
        for k in range(d)
    ]
    return [f"{name}  ({text})" for name, text in zip(found, done, strict=True)]


def said(base: Law) -> str:
    """A law that rows are carried to, in a few words."""
    if isinstance(base, Gaussian):
        return "a Gaussian"
    if isinstance(base, Mixture):
        k = len(base.means)
        return "a Gaussian" if k == 1 else f"a mixture of {k} Gaussians"
    if isinstance(base, ConditionalLaw):
        inner = next((part for part in base.children() if isinstance(part, Law)), None)
        return f"{said(inner)} given the context" if inner is not None else "a law given the context"
    return f"a law of the kind {type(base).__name__}"
