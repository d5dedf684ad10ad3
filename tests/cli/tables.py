"""Small tables for the command line's tests."""

from __future__ import annotations

import math

CITIES = ("Lima", "Oslo", "Rome")
QUICK = ("--depth", "3", "--width", "8", "--max-iter", "12", "--seed", "3")
"""A network that is trained in a moment."""


def rings(path, n=40, labels=("inner", "outer"), header="x,y,where"):
    """Two rings, told apart by their label."""
    rows = [] if header is None else [header]
    for k in range(n):
        outer, t = k % 2, 2.4 * k
        r = 2.0 if outer else 0.8
        rows.append(f"{r * math.cos(t):.4f},{r * math.sin(t):.4f},{labels[outer]}")
    path.write_text("\n".join(rows) + "\n")
    return path


def prices(path, n=40, target=True):
    """Numbers and categories, from which a number follows."""
    rows = [f"size,city,floor{',price' if target else ''}"]
    for k in range(n):
        size, city, floor = 20 + (37 * k) % 80, CITIES[k % 3], (k * k) % 7
        rows.append(f"{size},{city},{floor}" + (f",{size * (1 + k % 3) + 3 * floor + 0.5}" if target else ""))
    path.write_text("\n".join(rows) + "\n")
    return path


QUICK_DENSITY = ("--depth", "2", "--width", "6", "--components", "2", "--max-iter", "8", "--seed", "3")
"""A density that is fitted in a moment."""


def measured(path, n=60, start=1):
    """A number, one that is positive and follows it, a share, an hour, a category: nothing repeats."""
    lines = ["x,income,share,hour,city"]
    for k in range(start, start + n):
        u, v, w, h = ((k * r) % 1 for r in (0.7548776662, 0.5698402909, 0.8191725134, 0.2207440846))
        x = 4 * u - 2 + (k % 3)
        lines.append(f"{x:.5f},{math.exp(0.8 * x + 0.6 * v):.5f},{0.02 + 0.9 * w:.5f},{24 * h:.4f},{CITIES[k % 3]}")
    path.write_text("\n".join(lines) + "\n")
    return path
