"""Types of options, and the checks that cost nothing: done before torch is imported, so that mistakes show at once."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

MOST_LABELS = 100_000  # in one range: more would be a mistake


def _whole(type_: Any, tokens: Sequence[Any]) -> int:
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"a whole number is expected, and got {tokens[0].value!r}.") from None


def _lengths(type_: Any, tokens: Sequence[Any]) -> tuple[float, ...]:
    parts = [part for token in tokens for part in token.value.split(",") if part]
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise ValueError(f"lengths are expected, such as 20 10 5, and got {' '.join(parts)!r}.") from None


def _labels(type_: Any, tokens: Sequence[Any]) -> tuple[int, ...]:
    found: set[int] = set()
    for part in (part for token in tokens for part in token.value.replace(" ", ",").split(",") if part):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise ValueError(f"labels are expected, such as 1-32 or 1,2,5-7, and got {part!r}.")
        low, high = int(first), int(last or first)
        if not low <= high < low + MOST_LABELS:
            raise ValueError(f"a range of labels goes upward, such as 1-32, and got {part!r}.")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def _names(type_: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    return tuple(name for token in tokens for part in token.value.split(",") if (name := part.strip()))


def _levels(type_: Any, tokens: Sequence[Any]) -> tuple[int, ...]:
    parts = [part for token in tokens for part in token.value.split(",") if part]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(f"whole numbers are expected, such as 4,2,1, and got {' '.join(parts)!r}.") from None


Levels = Annotated[tuple[int, ...], Parameter(converter=_levels, consume_multiple=True, negative="")]
"""One or several whole numbers: ``--levels 4,2,1`` or ``--levels 4 2 1``."""
Whole = Annotated[int, Parameter(converter=_whole)]
"""An integer; cyclopts by itself would round 1.5."""
Lengths = Annotated[tuple[float, ...], Parameter(converter=_lengths, consume_multiple=True, negative="")]
"""One or several numbers: ``--scale 20 10 5``, ``--scale 20,10,5`` or ``--scale 20 --scale 10``."""
Labels = Annotated[tuple[int, ...], Parameter(converter=_labels, negative="")]
"""Labels and ranges of them: ``--labels 1-32``, ``--labels 1,2,5-7``."""
Names = Annotated[tuple[str, ...], Parameter(converter=_names, negative="")]
"""Names of columns, or their numbers: ``--drop id,date``, ``--drop id --drop date``."""
JSON = Annotated[bool, Parameter(name="--json", negative="")]
Switch = Annotated[bool, Parameter(negative="")]


def limits(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Bounds of columns: ``share=0:1``, or with an open side ``income=0:``. Raises ValueError for anything else."""
    found: dict[str, tuple[float, float]] = {}
    for text in texts:
        name, _, pair = text.rpartition("=")
        low, colon, high = pair.partition(":")
        try:
            bounds = float(low or "-inf"), float(high or "inf")
        except ValueError:
            bounds = math.nan, math.nan
        if not (name and colon and (low or high) and bounds[0] < bounds[1]) or name in found:
            raise ValueError(
                f"--bounds expects a column, = and two numbers in order, such as share=0:1 or income=0: with an open "
                f"side, once for each column, and got {text!r}."
            )
        found[name] = bounds
    return found


def circumferences(texts: Sequence[str]) -> dict[str, float]:
    """Periods of columns: ``angle=360``. Raises ValueError for anything else."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            period = float(value)
        except ValueError:
            period = math.nan
        if not (name and 0 < period < math.inf) or name in found:
            raise ValueError(
                f"--periodic expects a column, = and its period, a positive number, such as angle=360, once for each "
                f"column, and got {text!r}."
            )
        found[name] = period
    return found


def check_positive(name: str, value: float | None) -> None:
    """Raise ValueError unless the value is None or positive and finite."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} expects a positive, finite number, and got {value:g}.")


def check_not_negative(name: str, value: float | None) -> None:
    """Raise ValueError unless the value is None, zero or positive, and finite."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} expects a finite number that is not negative, and got {value:g}.")


def check_at_least(name: str, value: int | None, least: int) -> None:
    """Raise ValueError unless the value is None or an integer that is not below ``least``."""
    if value is not None and value < least:
        raise ValueError(f"{name} expects a whole number of at least {least}, and got {value}.")


def check_file(path: Path, what: str) -> None:
    """Raise ValueError unless the file is there and can be opened."""
    if not path.exists():
        raise ValueError(f"cannot read {what} {path}: there is no such file.")
    if path.is_dir():
        raise ValueError(f"cannot read {what} {path}: it is a folder, and a file is expected.")
    if not os.access(path, os.R_OK):
        raise ValueError(f"cannot read {what} {path}: you have no permission to.")


def check_folder(path: Path) -> None:
    """Raise ValueError unless the folder is there, or can be made, and can be written to."""
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ValueError(f"cannot write to {path}: {existing} is a file, and a folder is expected.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write to {path}: {existing} does not allow it; choose another folder.")
