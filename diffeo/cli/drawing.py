"""What ``plot``, ``animate`` and ``report`` have in common: a result is opened, and something is drawn of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from diffeo.cli.output import print_rows
from diffeo.cli.progress import Waiting

Out = Annotated[Path | None, Parameter(name=["--out", "-o"])]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")]


@dataclass(frozen=True)
class Work:
    """A result that is to be drawn, and where to.

    Attributes:
        result: a registration, a network or a density.
        path: the file to write.
        title: what it is made from.
        told: what a network does not know of itself, and report.json does: an argument of its pictures.
        waiting: shows how far the work is.
    """

    result: Any
    path: Path
    title: str | None
    told: dict[str, Any]
    waiting: Waiting

    @property
    def drawn_title(self) -> str | None:
        """The title as matplotlib takes it, to which dollars are formulas."""
        return None if self.title is None else self.title.replace("$", r"\$")


@contextmanager
def work(
    folder: Path, out: Path | None, default: str, suffixes: Sequence[str], given: dict[str, Path | None], quiet: bool
) -> Iterator[Work]:
    """Open a result to draw it; say afterwards what was written.

    Args:
        folder: the result.
        out: the file to write, if it is not to stand in the folder.
        default: what it is called there.
        suffixes: what the file may end with.
        given: what the result was made from, by roles, where that is elsewhere now.
        quiet: say nothing.

    Raises: ValueError for what cannot be opened, and for a file that cannot be written.
    """
    path = _destination(folder, out, default, suffixes)
    # Some packages print when they are imported; stdout is for results.
    with redirect_stdout(StringIO() if quiet else sys.stderr), Waiting(quiet, f"writing {path.name}") as waiting:
        from diffeo.results import open_result
        from diffeo.results.folder import Folder

        found = Folder.of(folder)
        _check_inputs(path, [*found.files.values(), *(file for file in given.values() if file is not None)])
        result = open_result(folder, **given)
        if "table" in found.report and not hasattr(result, "rows_"):
            found.find("table", None)  # says what is missing
        told = {"report": found.report} if "task" in found.report else {}
        yield Work(result, path, _title(found, given), told, waiting)
    if not quiet:
        print_rows("done", [("written", path)])


def _destination(folder: Path, out: Path | None, default: str, suffixes: Sequence[str]) -> Path:
    """The file to write. Raises ValueError if it cannot be one."""
    if not folder.exists():
        raise ValueError(f"cannot open {folder}: there is no such folder.")
    path = (folder if folder.is_dir() else folder.parent) / default if out is None else out
    if path.suffix.lower() not in suffixes:
        *others, last = suffixes
        raise ValueError(f"--out expects a file that ends with {', '.join(others)} or {last}, and got {path}.")
    if path.is_dir():
        raise ValueError(f"cannot write to {path}: it is a folder, and a file is expected.")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write to {path}: there is no folder {path.parent}, create it first.")
    return path


def _check_inputs(path: Path, inputs: Sequence[Path]) -> None:
    """Raise ValueError if a file would be overwritten that the result was made from."""
    if any(path.exists() and file.exists() and path.samefile(file) for file in inputs):
        raise ValueError(f"{path} would be overwritten, from which the result was made: choose another file with -o.")


def _title(folder: Any, given: dict[str, Path | None]) -> str | None:
    """What a result was made from, in a line; None for what was in no file."""
    names = {role: file.name for role, file in (folder.files | {k: v for k, v in given.items() if v}).items()}
    if "table" not in folder.report:
        found = [names[role] for role in ("source", "target") if role in names]
        return " → ".join(found) if len(found) == 2 and not all(n.endswith(".safetensors") for n in found) else None
    name, context = names.get("table", ""), folder.report.get("context")
    target = folder.report.get("target")
    return f"{name}: {target}" if target else f"{name}, given {', '.join(context)}" if context else name
