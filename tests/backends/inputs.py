"""Random inputs for any formula, by the names of its symbols."""

from __future__ import annotations

import torch
from torch import Tensor

from diffeo.backends import formulas
from diffeo.backends.formulas import Formula, Jet
from diffeo.kernels.measures import Oriented
from tests.oracles import cloud

FORMULAS = [value for value in vars(formulas).values() if isinstance(value, Formula)]
POSITIONS, VECTORS, MATRICES, SCALARS = set("xyqc"), set("pabn"), set("A"), set("ws")
DIRECTED = {"directed_masses"}  # compares directions too, by a second jet


def jets(formula: Formula, kernel: Jet) -> tuple[Jet, ...]:
    """The functions that the formula uses."""
    return (kernel, Oriented(0.8)) if formula.name in DIRECTED else (kernel,)


def width(name: str, d: int) -> int:
    """Components of an input; a new name must be added above."""
    (kind,) = [k for k, names in enumerate((SCALARS, POSITIONS | VECTORS, MATRICES)) if name in names]
    return d**kind


def widths(formula: Formula, d: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Components of all inputs."""
    return tuple(width(name, d) for name in formula.rows), tuple(width(name, d) for name in formula.columns)


def side(names: tuple[str, ...], n: int, d: int, dtype: torch.dtype, seed: int) -> tuple[Tensor, ...]:
    """Inputs of one side; directions are unit vectors."""
    tensors = [cloud(n, width(name, d), seed=seed + 10 * k) for k, name in enumerate(names)]
    unit = [torch.nn.functional.normalize(t) if name == "n" else t for name, t in zip(names, tensors, strict=True)]
    return tuple(t.to(dtype) for t in unit)


def inputs(
    formula: Formula, n: int, m: int, d: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(rows, columns), no point of which is in both."""
    return side(formula.rows, n, d, dtype, seed), side(formula.columns, m, d, dtype, seed + 500)
