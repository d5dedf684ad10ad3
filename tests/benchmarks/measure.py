"""Timing competitors fairly: alternately, in the same minute, on the same threads, the best of several runs each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """The best run: CPU seconds of all threads, wall seconds, and what was computed."""

    cpu: float
    wall: float
    result: Any


def once(run: Callable[[], Any]) -> Timing:
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return Timing(time.process_time() - cpu, time.perf_counter() - wall, result)


def alternately(runs: Mapping[str, Callable[[], Any]], rounds: int = 5, budget: float = 10.0) -> dict[str, Timing]:
    """Each competitor in turn, ``rounds`` times or until it has used ``budget`` seconds; short runs, the noisy ones,
    three times a turn."""
    best: dict[str, Timing] = {}
    used = dict.fromkeys(runs, 0.0)
    for _ in range(rounds):
        for name in runs:
            if used[name] > budget:
                continue
            for _ in range(3 if used[name] < budget / 10 else 1):
                timing = once(runs[name])
                used[name] += timing.wall
                best[name] = min(best.get(name, timing), timing, key=lambda t: t.cpu)
    return best


def table(header: list[str], rows: list[list[str]]) -> str:
    """Columns of text, aligned to the right but for the first."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    rule = ["-" * width for width in widths]
    lines = []
    for first, *others in [header, rule, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)
