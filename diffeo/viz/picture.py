"""Figures that stay text where a format knows text."""

from __future__ import annotations

from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure


class Picture(Figure):
    """A figure whose texts can be searched and edited in PDF and SVG, where matplotlib would draw or subset them."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """As matplotlib does, with fonts of type 42 in PDF and text as text in SVG."""
        with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}):
            super().savefig(fname, **options)
