"""Honesty checks of a fitted density: is it one, how well does it do on rows it has not seen, can it be undone?"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diffeo.core import Compose, Diffeo
from diffeo.diagnostics.certificates import Certificate, Spectrum, certificate
from diffeo.diagnostics.density import DensityReport, Likelihood, Stretch
from diffeo.diagnostics.mass import FEW, Mass, evaluated, mass
from diffeo.diagnostics.volumes import box_around, volumes_at
from diffeo.flows.frames import opening, parted
from diffeo.laws import Law, Transported, Wrapped
from diffeo.laws.conditional import ConditionalLaw

MOST_ROWS, MOST_STRETCHES, DRAWS = 2000, 500, 2000
"""Rows that are sent there and back, rows whose derivatives are measured, draws that show where mass is."""


def density_report(
    law: Law,
    train: Tensor,
    *,
    validation: Tensor | None = None,
    test: Tensor | None = None,
    entropy: float | None = None,
    seed: int = 0,
) -> DensityReport:
    """Check a fitted density; a bad one is reported, and nothing is raised for it.

    Args:
        law: a `Transported` law, also a `Wrapped` one.
        train: rows that it was fitted to, shape (n, d), of which one at least lies within its bounds; where it is
            conditioned, rows (x, c).
        validation: rows that chose among fits.
        test: rows that nothing was chosen by; if there are any, they are the ones that are held out.
        entropy: of the law that the rows are drawn from, where it is known.
        seed: of what is drawn at random.

    Raises: ValueError for laws of another kind, and for rows of another dimension.
    """
    flow = law.law if isinstance(law, Wrapped) else law
    if not isinstance(flow, Transported):
        raise ValueError(f"density_report expects a law that a map carries, and got a {type(flow).__name__}.")
    rows = _within(flow.phi, _unwrapped(law, _rows(law, train)))
    if not len(rows):
        raise ValueError("density_report expects training rows, and none lies within the bounds of the law.")
    given = flow.base.given if isinstance(flow.base, ConditionalLaw) else 0
    held_out = validation if test is None else test
    points, _, where = box_around(rows, flow.phi)
    proven, why = _certificate(flow.phi, rows)
    return DensityReport(
        dimension=law.dim - given,
        given=given,
        train=likelihood(law, _rows(law, train)),
        held_out=None if held_out is None else likelihood(law, _rows(law, held_out)),
        held_out_name="validation" if test is None else "test",
        entropy=entropy,
        round_trip=_round_trip(flow.phi, rows[:MOST_ROWS]),
        precision=str(rows.dtype).removeprefix("torch."),
        on_data=volumes_at(flow.phi, rows, f"the {len(rows):,} training rows"),
        in_box=volumes_at(flow.phi, points, where),
        layers=len(proven.bounds) if proven else 0,
        certified_layers=sum(proven.layers_invertible) if proven else 0,
        forward=_stretch(proven, inverse=False),
        backward=_stretch(proven, inverse=True),
        uncertified=why,
        mass=_total(law, flow, rows, given, seed),
        energy=float(flow.phi.energy().detach()),
    )


def likelihood(law: Law, x: Tensor) -> Likelihood:
    """log p of rows x, shape (n, d)."""
    with torch.no_grad():
        values = evaluated(lambda part: _log_prob(law, part), x).double()
    lost = int(values.isnan().sum())
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Likelihood(float(values.mean()), error, len(values), lost)


def _log_prob(law: Law, x: Tensor) -> Tensor:
    """−∞ beyond the bounds."""
    flow = law.law if isinstance(law, Wrapped) else law
    assert isinstance(flow, Transported)
    opened = opening(flow.phi)
    if opened is None:
        return law.log_prob(x)
    inside = opened.contains(_unwrapped(law, x))
    found = x.new_full((len(x),), -math.inf)
    found[inside] = law.log_prob(x[inside])
    return found


def _rows(law: Law, x: Any) -> Tensor:
    """Rows in the precision of the law. Raises ValueError for another number of columns."""
    like = next((t for t in (*law.parameters(), *law.buffers()) if t.is_floating_point()), torch.zeros(()))
    rows = torch.as_tensor(x).to(like)
    if rows.ndim != 2 or rows.shape[1] != law.dim:
        raise ValueError(f"density_report expects rows of {law.dim} columns, and got the shape {tuple(rows.shape)}.")
    return rows.detach()


def _unwrapped(law: Law, x: Tensor) -> Tensor:
    return law.wrap(x) if isinstance(law, Wrapped) else x


def _within(phi: Diffeo, x: Tensor) -> Tensor:
    opened = opening(phi)
    return x if opened is None else x[opened.contains(x)]


@torch.no_grad()
def _round_trip(phi: Diffeo, x: Tensor) -> float:
    """Relative to the spread of each column; of the part of φ after bounded columns, which are clamped at bounds."""
    opened = opening(phi)
    frame, parts = parted(phi)
    if opened is not None:
        x = opened(x)
        rest = [*frame[1:], *parts]
        phi = Compose(rest) if rest else Compose([opened])
    try:
        back = phi.inverse(phi(x))
    except ArithmeticError:
        return math.inf
    spread = x.std(0) if len(x) > 1 else torch.ones_like(x[0])
    off = (back - x).abs() / spread.clamp(min=torch.finfo(x.dtype).tiny)
    return float(off.max()) if bool(torch.isfinite(off).all()) else math.inf


def _certificate(phi: Diffeo, x: Tensor) -> tuple[Certificate | None, str]:
    """Of the flow between changes of units; or why there is none."""
    frame, parts = parted(phi)
    if not parts:  # between changes of units there is the identity
        return Certificate([], Spectrum(x.new_empty(0), x.new_empty(0), 1.0, 1.0)), ""
    with torch.no_grad():
        for part in frame:
            x = part(x)
        if not bool(torch.isfinite(Compose(parts).with_jacobian(x[:MOST_STRETCHES])[1]).all()):
            return None, "the map is not finite at the data"
    try:
        return certificate(Compose(parts), x[:MOST_STRETCHES]), ""
    except (ValueError, ArithmeticError) as error:
        return None, str(error).rstrip(".")


def _stretch(proven: Certificate | None, inverse: bool) -> Stretch | None:
    if proven is None or proven.measured is None:
        return None
    if inverse:
        smallest = proven.measured.map_smallest
        return Stretch(proven.inverse_lipschitz, 1 / smallest if smallest > 0 else math.inf)
    return Stretch(proven.lipschitz, proven.measured.map_largest)


def _total(law: Law, flow: Transported, rows: Tensor, given: int, seed: int) -> Mass:
    """∫p over the columns of x; where it is conditioned, at the context of the row in the middle of the rows."""
    d, opened = law.dim - given, opening(flow.phi)
    context = rows[_middle(rows), d:] if given else rows.new_empty(0)

    def log_density(y: Tensor) -> Tensor:
        full = torch.cat([y, context.expand(len(y), -1)], 1)
        if opened is None:
            return law.log_prob(full)
        x = opened.inverse(full)
        return law.log_prob(x) - opened.with_logdet(x)[1]

    drawn = _drawn(flow, given, context, seed) if d <= FEW else rows[:0]
    y, y_drawn = (shown[:, :d] if opened is None else opened(shown)[:, :d] for shown in (rows, drawn))
    low, high = torch.cat([y, y_drawn]).aminmax(dim=0)
    sample = y_drawn if len(y_drawn) else y
    periodic = torch.zeros(d, dtype=torch.bool, device=y.device)
    if isinstance(law, Wrapped):
        periodic = law.periods[:d].isfinite()
        low = torch.where(periodic, law.start[:d].to(low), low)
        high = torch.where(periodic, (law.start + law.periods)[:d].to(low), high)
        if d > 2 and bool(periodic.any()):
            return Mass(math.nan, math.nan, "not computed: there are more than two columns, and periodic ones")
    found = mass(log_density, low, high, sample, seed, periodic)
    return found._replace(how=f"{found.how}, given the context of a row in the middle") if given else found


def _middle(rows: Tensor) -> int:
    """The row closest to the medians."""
    away = (rows - rows.median(0).values) / rows.std(0).clamp(min=1e-12)
    return int(away.square().sum(1).argmin())


@torch.no_grad()
def _drawn(flow: Transported, given: int, context: Tensor, seed: int) -> Tensor:
    """Points of the law, where they can be drawn."""
    generator = torch.Generator().manual_seed(seed)
    try:
        if given:
            c = context.expand(DRAWS, -1)
            return torch.cat([flow.sample_given(c, generator), c], 1)
        x = flow.sample(DRAWS, generator)
    except (ArithmeticError, ValueError):
        return flow.base.sample(0)
    x = x[torch.isfinite(x).all(1)]
    return _within(flow.phi, x)
