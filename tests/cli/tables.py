"""Small tables for the command line's tests."""

from __future__ import annotations

import math

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
        size, city, floor = 20 + (37 * k) % 80, ("Lima", "Oslo", "Rome")[k % 3], (k * k) % 7
        rows.append(f"{size},{city},{floor}" + (f",{size * (1 + k % 3) + 3 * floor + 0.5}" if target else ""))
    path.write_text("\n".join(rows) + "\n")
    return path
