"""Panels, put together in one HTML file."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from diffeo.io.atomic import replacing
from diffeo.viz.page.panel import Panel
from diffeo.viz.page.table import written

SUFFIXES = (".html", ".htm")
SCRIPTS = ("page.js", "scene.js", "controls.js", "traces.js", "chart.js", "swipe.js")

# Whatever a page holds, a browser is told to load nothing from anywhere. Plotly compiles functions.
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def write_page(
    path: str | PathLike[str],
    title: str,
    panels: Sequence[Panel],
    subtitle: str = "",
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write a page that needs nothing but a browser.

    Args:
        path: ends in .html; it is replaced only when the page is complete.
        title: of the page.
        panels: from top to bottom.
        subtitle: one line under the title.
        details: parameters, versions and the like, at the foot of the page: values, or mappings of values.

    Returns: the path.
    Raises: ValueError for another suffix, for no panels, and where the file cannot be written.
    """
    target = check_page(path)
    if not panels:
        raise ValueError("a page expects at least one panel, and got none.")
    text = _document(title, panels, subtitle, details or {})
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def check_page(path: str | PathLike[str]) -> Path:
    """The path, if it is one of a page; raise ValueError otherwise, before anything is computed for it."""
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ValueError(f"a page is an .html file, and got {target.name or target}.")
    return target


def _document(title: str, panels: Sequence[Panel], subtitle: str, details: Mapping[str, Any]) -> str:
    plotly = f'<script type="text/plain" id="plotly">{_plotly()}</script>' if any(p.plotly for p in panels) else ""
    script = "\n".join(_own(name) for name in SCRIPTS)
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title><style>{_own('page.css')}</style></head><body>",
            f'<header><h1>{escape(title)}</h1><p class="subtitle">{escape(subtitle)}</p></header>',
            "<noscript><p>What moves on this page needs JavaScript.</p></noscript>",
            f"<main>{''.join(_section(panel) for panel in panels)}</main>",
            _details(details),
            plotly,
            f"<script>\n(() => {{\n{script}\nstart();\n}})();\n</script></body></html>\n",
        ]
    )


def _section(panel: Panel) -> str:
    data = panel.data()
    note = f'<p class="note">{escape(panel.note)}</p>' if panel.note else ""
    alive = f'<script type="application/json">{_json(data)}</script>' if data is not None else ""
    return (
        f'<section class="{panel.kind}{" wide" if panel.wide else ""}" data-kind="{panel.kind}">'
        f"<h2>{escape(panel.title)}</h2>{note}{panel.body()}{alive}</section>"
    )


def _json(data: Any) -> str:
    """JSON that cannot end the script it stands in."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _details(details: Mapping[str, Any]) -> str:
    """Values first, then one table for each mapping."""
    values = {name: value for name, value in details.items() if not isinstance(value, Mapping)}
    groups = {"": values, **{name: value for name, value in details.items() if isinstance(value, Mapping)}}
    tables = "".join(_group(name, group) for name, group in groups.items() if group)
    return f'<details class="details"><summary>Parameters and versions</summary>{tables}</details>' if tables else ""


def _group(name: str, values: Mapping[str, Any]) -> str:
    title = f"<h3>{escape(name)}</h3>" if name else ""
    rows = (
        f'<tr data-name="{escape(str(k))}"><th scope="row">{escape(str(k))}</th><td>{written(v)}</td></tr>'
        for k, v in values.items()
    )
    return f'<div>{title}<div class="scroll"><table>{"".join(rows)}</table></div></div>'


def _own(name: str) -> str:
    """A file of this package."""
    return resources.files("diffeo.viz.page").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _plotly() -> str:
    """plotly.js, deflated to a third of its 4.8 MB, in base64; the browser inflates it."""
    from plotly.offline import get_plotlyjs  # it takes a second to import, and few commands need it

    return base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9)).decode("ascii")
