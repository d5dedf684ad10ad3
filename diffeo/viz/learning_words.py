"""What is known of a trained network, as lines of a table."""

from __future__ import annotations

import math

import numpy as np

from diffeo.viz.learned import Learned
from diffeo.viz.targets import Fact
from diffeo.viz.view import Array

ROWS = {"training": "all training rows", "holdout": "hold-out"}


def facts(learned: Learned, logdet: Array) -> list[Fact]:
    """Name, value, unit and meaning of every figure.

    Args:
        logdet: log det Dφ at rows, as `learned.volumes` gives it.
    """
    found = learned.target.facts()
    for key, name in ROWS.items():
        scores = learned.report.get(key)
        if scores and not (key == "training" and scores["rows"] == len(learned.rows)):  # these are shown themselves
            found += learned.target.scores(scores, name)
    return [*found, *_map(learned), *_certificate(learned), *_volumes(learned, logdet), *_course(learned)]


def brief(learned: Learned, logdet: Array) -> list[Fact]:
    """Those that fit on a figure: not what its curves end with, and of several values only how well each is told."""
    several = learned.target.answers.shape[1] > 1
    left = ("objective", "data term", *["root mean square error"] * several)
    return [fact for fact in facts(learned, logdet) if not fact.name.startswith(left)]


def written(fact: Fact) -> str:
    """Its value with four digits, and its unit."""
    value = fact.value
    if value is None:
        return "–"
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
    return f"{text} {fact.unit}".strip().replace("inf", "∞").replace("-", "−")


def _map(learned: Learned) -> list[Fact]:
    energy = float(learned.energies.sum())
    distance = math.sqrt(2 * max(energy, 0.0))
    return [
        Fact("energy, standardized", energy, "", "½∫‖v‖² dt: how far the map had to move"),
        Fact("√(2E), standardized", distance, "", "≥ the geodesic distance of φ from the identity"),
    ]


def _certificate(learned: Learned) -> list[Fact]:
    found = learned.certificate
    if found is None:
        return [Fact("certified", "nothing", "", "there are no Lipschitz bounds of such layers")]
    kept = f"{sum(found.layers_invertible)} of {len(found.bounds)}"
    return [
        Fact("layers certified invertible", kept, "", "proven everywhere, by Lipschitz bounds of the velocities"),
        Fact("Lip(φ) ≤", found.lipschitz, "", "proven: no two points are stretched apart by more"),
        Fact("Lip(φ⁻¹) ≤", found.inverse_lipschitz, "", "proven: no two points are pressed together by more"),
    ]


def _volumes(learned: Learned, logdet: Array) -> list[Fact]:
    regular = logdet[np.isfinite(logdet)]
    where = f"{len(logdet):,} of the {learned.target.which}" if len(logdet) < len(learned.rows) else "these rows"
    low, high = (float(f(regular)) if len(regular) else None for f in (np.min, np.max))
    folds = len(logdet) - len(regular)
    return [
        Fact("log det Dφ, smallest", low, "", f"at {where}: below 0 volume shrinks"),
        Fact("log det Dφ, largest", high, "", f"at {where}: above 0 volume grows"),
        Fact("folds", folds, "", f"at so many of {len(logdet):,} rows a layer turns space inside out"),
    ]


def _course(learned: Learned) -> list[Fact]:
    if not len(learned.records):
        return []
    last = learned.records[-1]
    reason = learned.report.get("reason") or ""
    found = [
        Fact("objective", float(last.objective), "", "weight · energy + data term, after training"),
        Fact("data term", float(last.data), "", "what is left of the loss"),
        Fact("iterations", len(learned.records) - 1, "", f"it ended: {reason}" if reason else "of the optimizer"),
    ]
    seconds = getattr(last, "seconds", None)
    return [*found, Fact("training time", float(seconds), "s", "wall time")] if seconds else found
