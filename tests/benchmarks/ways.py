"""Two spirals, every field and every way to train through the same call: the share of right labels, and CPU seconds.

All networks are at their defaults but for precision, solver, the price of energy and the number of iterations, the same
for all; and for a dimension more, since greedy growth alone does not find its way in the plane. Positively homogeneous
fields, convolutions of one pixel, get a channel of ones.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

import diffeo
from diffeo.estimators.parts import FIELDS
from diffeo.training import WAYS

SAME = {"extra_dims": 1, "depth": 10, "solver": "midpoint", "weight": 1e-3, "dtype": "float64", "max_iter": 200}


def spirals(n: int, turns: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved spirals of n points each: positions (2n, 2), labels (2n,)."""
    label = np.arange(2 * n) % 2
    radius = np.repeat(np.linspace(0.12, 1, n), 2)
    angle = 2 * math.pi * turns * radius + math.pi * label
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), label


def cell(field: str, way: str, X: np.ndarray, y: np.ndarray) -> str:
    """How many labels are right, and the time it took."""
    started = time.process_time()
    clf = diffeo.ResNetClassifier(field=field, train=way, **SAME).fit(X, y)
    return f"{100 * clf.score(X, y):.0f} %, {time.process_time() - started:.1f} s"


def main(arguments: list[str]) -> None:
    """Print the table, as the README shows it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks ways")
    parser.add_argument("--points", type=int, default=60, help="points of each spiral")
    parser.add_argument("--fields", default=",".join(FIELDS), help="fields, with commas between them")
    options = parser.parse_args(arguments)
    X, y = spirals(options.points)
    print(f"| field | {' | '.join(WAYS)} |\n| --- |{' --- |' * len(WAYS)}")
    for field in options.fields.split(","):
        print(f'| `"{field}"` |', end="", flush=True)
        for way in WAYS:
            print(f" {cell(field, way, X, y)} |", end="", flush=True)
        print()
