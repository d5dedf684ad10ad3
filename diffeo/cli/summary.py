"""A registration in a few lines for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeo.cli.output import show, tell_more


def folded(report: dict[str, Any]) -> bool:
    """Whether the map folds: a determinant at the source's points that is not positive, or a flipped face."""
    least = report.get("min_corner", report.get("min_jacobian"))
    return bool(report.get("flipped")) or (least is not None and not least > 0)


def summarize(result: Any, out: Path) -> None:
    """Print distances before and after, folds, the smallest Jacobian, the errors, the time, and where the files are."""
    from rich.console import Console
    from rich.table import Table

    report = result.report
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _rows(report):
        table.add_row(name, value)
    console = Console(highlight=False, soft_wrap=True)
    bad = folded(report)
    verdict = "the map folds" if bad else "done" if result.converged else "not converged"
    console.print(f"[bold {'red' if bad else 'green' if result.converged else 'yellow'}]{verdict}[/]")
    console.print(table)
    console.print(f"files: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))} in {out}")
    tell_more(out)


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    before, after = report.get("distance_before"), report.get("distance_after")
    rows = [
        ("distance", None if after is None else f"{show(before)} → {show(after)}  (mean, data units)"),
        ("relative error", _change(report, "error")),
        ("data term", f"{show(report['data_before'])} → {show(report['data_after'])}"),
        ("energy", show(report["energy"])),
        ("smallest Jacobian", _optional(report.get("min_jacobian"))),
        ("smallest corner", _optional(report.get("min_corner"))),
        ("flipped, turned", _faces(report)),
        ("inverse error", _optional(report.get("inverse_error"))),
        ("step error", _optional(report.get("step_error"))),
        ("iterations", show(report["iterations"])),
        ("seconds", show(report["seconds"])),
    ]
    return [(name, value) for name, value in rows if value is not None]


def _change(report: dict[str, Any], name: str) -> str | None:
    before, after = report.get(f"{name}_before"), report.get(f"{name}_after")
    return None if before is None or after is None else f"{show(before)} → {show(after)}"


def _optional(value: Any) -> str | None:
    return None if value is None else show(value)


def _faces(report: dict[str, Any]) -> str | None:
    if report.get("flipped") is None:
        return None
    return f"{show(report['flipped'])}, {show(report.get('turned', 0))}"
