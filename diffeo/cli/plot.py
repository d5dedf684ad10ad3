"""``diffeo plot``: a picture of a result."""

from __future__ import annotations

from pathlib import Path

from diffeo.cli.drawing import Out, Quiet, work

SUFFIXES = (".png", ".pdf", ".svg")
DPI = 150  # of pixels; what is drawn as lines and texts in a pdf or an svg has no resolution


def plot(
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
    """Draw RESULT, which register, train or density fit wrote: what was done, how well, and how it was found.

    What the result was made from is read again where it was then.

    Args:
        result: folder that register, train or density fit wrote.
        out: png, pdf or svg file; by default plot.png in RESULT.
        source: source of a registration, if it is elsewhere now.
        target: target of a registration, if it is elsewhere now.
        mask: mask of a registration, if it is elsewhere now.
        table: table of a network or a density, if it is elsewhere now.
        quiet: print nothing.
    """
    given = {"source": source, "target": target, "mask": mask, "table": table}
    with work(result, out, "plot.png", SUFFIXES, given, quiet) as task:
        from diffeo.io.atomic import replacing

        figure = task.result.plot(title=task.drawn_title, **task.told)
        with replacing(task.path) as temporary:
            figure.savefig(temporary, dpi=DPI)
    return 0
