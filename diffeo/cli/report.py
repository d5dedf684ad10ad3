"""``diffeo report``: a page about a result."""

from __future__ import annotations

from pathlib import Path

from diffeo.cli.drawing import Out, Quiet, work

SUFFIXES = (".html", ".htm")


def report(
    result: Path,
    /,
    *,
    out: Out = None,
    source: Path | None = None,
    target: Path | None = None,
    mask: Path | None = None,
    table: Path | None = None,
    quiet: Quiet = False,
) -> int:
    """Make a page about RESULT, which register, train or density fit wrote: to look at from all sides, and to send.

    It is one HTML file that any browser opens, without a network. What the result
    was made from is read again where it was then, and stands in the page as far as
    it is shown: points, slices, rows.

    Args:
        result: folder that register, train or density fit wrote.
        out: html file; by default report.html in RESULT.
        source: source of a registration, if it is elsewhere now.
        target: target of a registration, if it is elsewhere now.
        mask: mask of a registration, if it is elsewhere now.
        table: table of a network or a density, if it is elsewhere now.
        quiet: print nothing.
    """
    given = {"source": source, "target": target, "mask": mask, "table": table}
    with work(result, out, "report.html", SUFFIXES, given, quiet) as task:
        task.result.to_html(task.path, title=task.title, **task.told)
    return 0
