"""Figures, with what they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, NamedTuple

from diffeo.viz.page.panel import Panel

MANY = 12
"""Values in a list, of which more are not all written."""


class Row(NamedTuple):
    """A figure."""

    name: str
    value: Any
    """A number, a string, a truth value, or None where the figure has no meaning here."""
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Table(Panel):
    """Figures by name, with units and meanings.

    Attributes:
        title: what it shows.
        rows: name, value, unit or "", meaning.
        note: how to read it.
        wide: whether it takes a row of its own where there is room for two.
    """

    title: str
    rows: Sequence[tuple[str, Any, str, str]]
    note: str = ""
    wide: bool = True
    kind: ClassVar[str] = "table"

    def body(self) -> str:
        """The table; ``data-value`` holds a number in all its digits."""
        head = "<tr><th>figure</th><th>value</th><th>unit</th><th>meaning</th></tr>"
        rows = (_row(Row(*row)) for row in self.rows)
        return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(row: Row) -> str:
    exact = "" if row.value is None else escape(str(row.value))
    unit = escape(row.unit) if row.value is not None else ""
    kind = "value word" if isinstance(row.value, str | Sequence) else "value"
    return (
        f'<tr data-name="{escape(row.name)}"><th scope="row">{escape(row.name)}</th>'
        f'<td class="{kind}" data-value="{exact}">{written(row.value)}</td>'
        f'<td class="unit">{unit}</td><td class="meaning">{escape(row.meaning)}</td></tr>'
    )


def written(value: Any) -> str:
    """A value as HTML: four digits of a number, the first and the last of many, a dash for None."""
    if value is None:
        return '<span title="no meaning here">–</span>'
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        return _real(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > MANY:
        return f"{len(value):,}: " + ", ".join([*map(written, value[: MANY // 2]), "…", written(value[-1])])
    return escape(str(value))


def _real(value: float) -> str:
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits, _, power = f"{value:.4g}".replace("-", "−").partition("e")
    if not power:
        return digits
    exponent = int(power.replace("−", "-"))
    return f"{digits} · 10<sup>{exponent}</sup>".replace("-", "−")
