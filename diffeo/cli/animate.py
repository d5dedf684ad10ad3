"""``diffeo animate``: a film of a result."""

from __future__ import annotations

from pathlib import Path

from diffeo.cli.drawing import Out, Quiet, work
from diffeo.cli.options import Whole, check_at_least, check_positive

SUFFIXES = (".gif", ".mp4")
MOST_DPI = 600.0


def animate(
    result: Path,
    /,
    *,
    out: Out = None,
    moments: Whole = 25,
    seconds: float = 4.0,
    dpi: float = 80.0,
    source: Path | None = None,
    target: Path | None = None,
    mask: Path | None = None,
    table: Path | None = None,
    quiet: Quiet = False,
) -> int:
    """Make a film of RESULT, which register, train or density fit wrote: the way from the identity to the map.

    What the result was made from is read again where it was then.

    Args:
        result: folder that register, train or density fit wrote.
        out: gif file, or mp4 where ffmpeg is on the system; by default animation.gif in RESULT.
        moments: pictures from the start to the end.
        seconds: from the start to the end.
        dpi: pixels per inch: 40 for a small film, 160 for a large one.
        source: source of a registration, if it is elsewhere now.
        target: target of a registration, if it is elsewhere now.
        mask: mask of a registration, if it is elsewhere now.
        table: table of a network or a density, if it is elsewhere now.
        quiet: print nothing.
    """
    check_at_least("--moments", moments, 2)
    for name, value in (("--seconds", seconds), ("--dpi", dpi)):
        check_positive(name, value)
    if dpi > MOST_DPI:
        raise ValueError(f"--dpi expects {MOST_DPI:g} at most, and got {dpi:g}.")
    given = {"source": source, "target": target, "mask": mask, "table": table}
    with work(result, out, "animation.gif", SUFFIXES, given, quiet) as task:
        from diffeo.viz.film import check_film

        check_film(task.path, seconds, dpi)
        how = {"moments": moments, "seconds": seconds, "dpi": dpi, "progress": task.waiting}
        task.result.animate(task.path, title=task.drawn_title, **how)
    return 0
