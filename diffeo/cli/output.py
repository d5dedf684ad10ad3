"""What the verbs print: sentences on stderr, results on stdout, JSON that every parser accepts."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def say(text: str) -> None:
    """One sentence on stderr."""
    print(f"diffeo: {text}", file=sys.stderr)


def sentence(error: BaseException) -> str:
    """The message of an exception as one sentence on one line, with a full stop."""
    return f"{joined(str(error)).rstrip('.') or type(error).__name__}."


def joined(text: str) -> str:
    """Several sentences as one, on one line; names such as MMDLoss keep their capitals."""
    text = re.sub(r"[.?!] ([A-Z][a-z]*\b)", lambda m: f"; {m[1].lower()}", " ".join(text.split()))
    return re.sub(r"[.?!] (?=[A-Z])", "; ", text)


def print_json(value: Any) -> None:
    """JSON on stdout; NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(without_nan(value), indent=2, ensure_ascii=False))


def read_json(path: Path) -> Any:
    """What is in a file that was just written."""
    return json.loads(path.read_text(encoding="utf-8"))


def tell_more(out: Path) -> None:
    """Where to go on from the folder of a result, on stdout."""
    print(f"diffeo report {shlex.quote(str(out))} makes a page of it")


def without_nan(value: Any) -> Any:
    """The same, of plain dicts and lists, with None for NaN and infinities, which JSON lacks."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_rows(title: str, rows: Iterable[tuple[str, Any]]) -> None:
    """A title and aligned ``name  value`` rows on stdout; rows whose value is None or empty are left out."""
    kept = [(name, show(value)) for name, value in rows if value is not None and value != "" and value != []]
    width = max((len(name) for name, _ in kept), default=0)
    print(title)
    for name, value in kept:
        head, *more = value.split("\n")
        print(f"  {name:<{width}}  {head}")
        for line in more:
            print(f"  {'':<{width}}  {line}")


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns of numbers, aligned to the right under their names, on stdout."""
    table = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print()
    for row in table:
        print("  " + "  ".join(entry.rjust(width) for entry, width in zip(row, widths, strict=True)))


def show(value: Any) -> str:
    """A value for people: four significant digits, thousands separated, sequences with spaces."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "  ".join(show(item) for item in value)
    return str(value)
