"""A still picture."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import ClassVar

from matplotlib.figure import Figure

from diffeo.viz.page.panel import Panel


@dataclass(frozen=True)
class Picture(Panel):
    """A figure, as PNG.

    Attributes:
        title: what it shows.
        figure: drawn at its own size.
        note: how to read it.
        dpi: pixels per inch.
    """

    title: str
    figure: Figure
    note: str = ""
    dpi: float = 110
    kind: ClassVar[str] = "picture"

    def body(self) -> str:
        """The picture, never larger than the page is wide."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=self.dpi, facecolor="white")
        source = base64.b64encode(buffer.getvalue()).decode("ascii")
        return f'<img class="still" alt="{escape(self.title)}" src="data:image/png;base64,{source}">'
