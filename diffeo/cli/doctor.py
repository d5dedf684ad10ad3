"""``diffeo doctor``: what this machine has, what works on it and how fast, and what to install for the rest."""

from __future__ import annotations

from typing import Any

from diffeo.cli.options import JSON, Switch
from diffeo.cli.output import print_json, print_rows


def doctor(*, all: Switch = False, json: JSON = False) -> int:
    """Say what is installed, which backends work here and how fast, and what to install for the rest.

    Args:
        all: time KeOps too, which compiles for about 10 seconds first.
        json: print JSON.
    """
    from diffeo.cli.machine import survey

    facts = survey(time_keops=all)
    if json:
        print_json(facts)
        return 0
    print_rows("versions", facts["versions"].items())
    print_rows("machine", facts["machine"].items())
    print_rows("backends (products of a Gaussian matrix and a vector, float32, d = 3)", _backends(facts["backends"]))
    print_rows("to install", [(f"{k}.", advice) for k, advice in enumerate(facts["advice"], 1)] or [("", "nothing")])
    return 0


def _backends(found: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    return [(name, _line(entry)) for name, entry in found.items()]


def _line(entry: dict[str, Any]) -> str:
    if not entry["works"]:
        return f"does not work: {entry['reason']}"
    speed = entry["pairs_per_second"]
    return f"works: {speed / 1e6:,.0f} million pairs per second" if speed else f"works: {entry['reason']}"
