"""What an estimator shows of itself: the rows that it keeps for pictures, and all that pictures are made of."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffeo.core import Compose, Diffeo
from diffeo.diagnostics import Certificate, certificate, speeds

SHOWN = 2000  # rows kept for pictures
MEASURED = 5e9  # multiplications that singular values may take


def some(n: int, most: int = SHOWN) -> np.ndarray:
    """Numbers of n rows, so many at most: drawn at random, since tables may be in some order, always the same ones."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def energies(phi: Diffeo) -> np.ndarray:
    """Each layer's part of the energy of φ, shape (L,); what is not made of layers counts as one."""
    found: list[float] = []
    for part in phi.diffeos if isinstance(phi, Compose) else [phi]:
        try:
            squares = speeds(part).double().square()
            found += (0.5 * squares / len(squares)).tolist()
        except ValueError:
            found.append(float(part.energy()))
    return np.array(found)


def proven(phi: Diffeo, start: Tensor) -> Certificate | None:
    """The certificate of φ, measured at as many points as is done at once; None where nothing is proven."""
    d, layers = start.shape[1], len(phi.path(start[:1]))
    rows = some(len(start), int(MEASURED / (20 * d**3 * layers)))
    try:
        return certificate(phi, start[torch.from_numpy(rows)] if len(rows) > 1 else None)
    except ValueError:
        return None


def details(estimator: Any, report: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parameters and versions: those that a report tells, or else those of now."""
    found = dict(report or {})
    if "versions" not in found:
        found["versions"] = {"python": platform.python_version()}
        found["versions"] |= {name: version(name) for name in ("diffeo", "torch", "scikit-learn")}
    parameters = found.get("parameters") or estimator.get_params(deep=False)
    return {"parameters": parameters, "versions": found["versions"]}
