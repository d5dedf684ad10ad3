"""The page of the gallery: one file of text and pictures beside it, no script, nothing from elsewhere."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from pygments import highlight  # rich, which the command line is printed with, brings it
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

if TYPE_CHECKING:
    from _gallery import Shown

STYLE = Path(__file__).with_suffix(".css")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>diffeo: gallery</title>
<link rel="icon" href="data:,">
<style>
{style}
</style>
</head>
<body>
<header>
<h1>diffeo: gallery</h1>
<p>Smooth, invertible maps between images, shapes, labels and densities. Every picture was drawn, and every number
printed, by the file that is linked beside it; what it asserts held when it ran.</p>
<p class="facts">{facts}</p>
</header>
<nav aria-label="Demos">
{cards}
</nav>
<main>
{articles}
</main>
</body>
</html>
"""
CARD = """<a class="card" href="#{name}"><img src="{name}.png" alt="" width="{width}" height="{height}">
<span>{title}</span></a>"""
ARTICLE = """<article id="{name}">
<h2><a href="#{name}">{title}</a></h2>
{idea}
<figure><a href="{name}.png"><img src="{name}.png" alt="{alt}" width="{width}" height="{height}"></a></figure>
{film}<div class="told">
<section><h3>It printed, in {cpu} CPU seconds</h3>
<pre class="printed">{printed}</pre></section>
<section><h3>It asserts</h3>
<ul>
{claims}
</ul></section>
</div>
<h3>What makes it (all of it: <a href="{name}.py">{name}.py</a>)</h3>
<pre class="code"><code>{code}</code></pre>
</article>"""
FILM = """<figure class="film"><img src="{name}.gif" alt="The same as a film" width="{width}" height="{height}"
loading="lazy"></figure>
"""


def page(found: Sequence[Shown], seconds: float, processes: int) -> str:
    """The page, whose pictures lie beside it.

    Args:
        found: demos that ran, in order.
        seconds: that all of them took, on the clock.
        processes: in so many at a time.
    """
    cpu = sum(one.cpu for one in found)
    facts = (
        f"{len(found)} demos, {cpu:.0f} CPU seconds in all, {seconds / 60:.1f} minutes in {processes} processes; "
        f"diffeo {version('diffeo')}, torch {version('torch')}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}."
    )
    return PAGE.format(
        style=STYLE.read_text(encoding="utf-8").strip(),
        facts=escape(facts),
        cards="\n".join(CARD.format(**_common(one)) for one in found),
        articles="\n".join(_article(one) for one in found),
    )


def _common(one: Shown) -> dict[str, object]:
    with Image.open(one.picture) as image:
        width, height = image.size
    title = _text(one.demo.title)
    return {"name": one.demo.name, "title": title, "width": width, "height": height}


def _article(one: Shown) -> str:
    film = ""
    if one.film is not None:
        with Image.open(one.film) as image:
            width, height = image.size
        film = FILM.format(name=one.demo.name, width=width, height=height)
    return ARTICLE.format(
        **_common(one),
        alt=escape(one.demo.title),
        idea="\n".join(f"<p>{_text(part)}</p>" for part in re.split(r"\n\s*\n", one.demo.idea) if part),
        film=film,
        cpu=f"{one.cpu:.0f}",
        printed=escape(one.printed),
        claims="\n".join(f"<li><code>{escape(claim)}</code></li>" for claim in one.demo.claims),
        code=colored(one.demo.code),
    )


def colored(code: str) -> str:
    """Python with its words in classes that the style sheet colors."""
    return highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n")


def _text(words: str) -> str:
    """A paragraph; what is between backticks is code."""
    return re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", escape(" ".join(words.split()), quote=False))
