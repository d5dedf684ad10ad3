"""A progress bar on stderr that shows how the fit goes."""

from __future__ import annotations

from threading import Timer
from types import TracebackType
from typing import Any, Self

PATIENCE = 2.0  # seconds before a bar appears for what may be done by then


class Progress:
    """A callback for ``fit``, and a context: a bar for each stage, with energy and data term.

    Args:
        quiet: draw nothing. Nothing is drawn either where stderr is not a terminal.
    """

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console

        console = Console(stderr=True)
        self._bar: Any = None if quiet or not console.is_terminal else _bar(console)
        self._task: Any = None
        self._stage = -1

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("reading the data", total=None, terms="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, record: Any) -> None:
        """Show one outer iteration: a ``Record``."""
        if self._bar is None:
            return
        if record.stage != self._stage:
            self._stage = record.stage
            self._bar.reset(self._task, description=f"stage {record.stage + 1} of {record.stages}")
        self._bar.update(
            self._task,
            completed=record.iteration,
            total=record.max_iterations or None,
            terms=f"energy {record.energy:.4g}  data {record.data:.4g}",
        )


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Rich

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[terms]}"))
    return Rich(*columns, TimeElapsedColumn(), console=console, transient=True)


class Waiting:
    """A bar on stderr for work that takes longer than a moment; a context, and a callback.

    Args:
        quiet: draw nothing. Nothing is drawn either where stderr is not a terminal.
        what: is being done, in a few words.
    """

    def __init__(self, quiet: bool, what: str) -> None:
        from rich.console import Console

        console = Console(stderr=True)
        self._bar: Any = None if quiet or not console.is_terminal else _plain_bar(console)
        self._task: Any = None if self._bar is None else self._bar.add_task(what, total=None)
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._timer = Timer(PATIENCE, self._bar.start)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """So much of it is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)


def _plain_bar(console: Any) -> Any:
    from rich.progress import BarColumn, TimeElapsedColumn
    from rich.progress import Progress as Rich

    return Rich("{task.description}", BarColumn(), TimeElapsedColumn(), console=console, transient=True)
