"""What a report of a density says, as lines of a table."""

from __future__ import annotations

import math
from typing import Any

Row = tuple[str, str, str]


def facts(report: Any) -> list[Row]:
    """What is known, its value, what it rests on."""
    rows = [*_likelihoods(report), *_map(report), *_certificate(report), *_mass(report)]
    return [(name, value.replace("-", "−"), basis) for name, value, basis in rows]


def _likelihoods(report: Any) -> list[Row]:
    found = [("log p, training (nats)", _mean(report.train), f"{report.train.rows:,} rows")]
    if report.held_out:
        name = f"{report.held_out_name}, {report.held_out.rows:,} rows"
        found = [
            ("log p, held out (nats)", _mean(report.held_out), name),
            *found,
            ("their gap (nats)", _gap(report.gap), ""),
        ]
    if report.entropy is not None:
        found.append(("log p of the true law (nats)", f"{-report.entropy:.4f}", "on average, by its entropy"))
    return found


def _gap(gap: float) -> str:
    return f"{gap:.3f}" if math.isfinite(gap) else "–"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _mean(found: Any) -> str:
    if found.lost:
        return f"none at {found.lost:,} rows"
    largest = max(abs(found.mean), abs(found.error))
    digits = 4 if largest < 100 else 3 if largest < 1000 else 1  # longer ones do not fit
    return f"{found.mean:.{digits}f} ± {found.error:.{digits}f}"


def _map(report: Any) -> list[Row]:
    trip = f"{report.round_trip:.1e}" if math.isfinite(report.round_trip) else "not found"
    return [
        ("φ⁻¹(φ(x)) is x up to", trip, f"of a column's spread, in {report.precision}"),
        ("smallest volume of a layer", _number(report.on_data.smallest), f"measured at {report.on_data.where}"),
        ("", _number(report.in_box.smallest), f"measured at {report.in_box.where} of a box around them"),
        ("energy", f"{report.energy:.4g}", "½∫‖v‖² dt, in standardized units squared"),
        ("√(2E)", f"{report.geodesic_distance:.4g}", "≥ the geodesic distance of φ from the identity"),
    ]


def _certificate(report: Any) -> list[Row]:
    if report.forward is None:
        return [("certified", "nothing", report.uncertified)]
    if not report.layers:
        return [("certified", "invertible", "everywhere: the map only changes units")]
    everywhere = "proven everywhere, by bounds of the velocities"
    return [
        ("layers certified invertible", f"{report.certified_layers} of {report.layers}", everywhere),
        ("Lip(φ)", *_bound(report.forward)),
        ("Lip(φ⁻¹)", *_bound(report.backward)),
    ]


def _bound(stretch: Any) -> tuple[str, str]:
    if not math.isfinite(stretch.certified):
        return "–", f"nothing is proven; {stretch.measured:.3g} measured at rows"
    return f"≤ {stretch.certified:.3g}", f"proven; {stretch.looseness:.2g} times what is measured at rows"


def _mass(report: Any) -> list[Row]:
    if math.isfinite(report.mass.value):
        return [("∫p", f"{report.mass.value:.5f} ± {report.mass.error:.0e}", report.mass.how)]
    return [("∫p", "–", report.mass.how)]
