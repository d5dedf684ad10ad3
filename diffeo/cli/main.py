"""``diffeo``: the verbs, and how failures are told: one sentence, and an exit code that says whose fault it was."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from diffeo.cli.animate import animate
from diffeo.cli.apply import apply
from diffeo.cli.density import density
from diffeo.cli.doctor import doctor
from diffeo.cli.evaluate import evaluate
from diffeo.cli.info import info
from diffeo.cli.output import joined, say, sentence
from diffeo.cli.plot import plot
from diffeo.cli.predict import predict
from diffeo.cli.register import register
from diffeo.cli.report import report
from diffeo.cli.train import train
from diffeo.cli.usage import usage_error

FINE, FAILED, WRONG_INPUT, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done; failed; the input or the usage was wrong; not converged or folded; stopped by Ctrl-C."""


def _version() -> str:
    try:
        return version("diffeo")
    except PackageNotFoundError:
        return "not installed (running from its folder)"


app = App(
    name="diffeo",
    help="Diffeomorphic registration: two shapes, or data and labels, in; a smooth invertible map out.",
    help_epilogue=(
        "Exit codes: 0 fine, 1 failed, 2 the input or the usage was wrong, 3 not converged or folded, 130 interrupted. "
        "Errors are one sentence; --debug (or DIFFEO_DEBUG=1) adds the traceback."
    ),
    version=_version,
    help_format="plaintext",  # markdown would cost 0.1 s
    print_error=False,
    exit_on_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for verb in (register, apply, evaluate, train, predict, density, plot, animate, report, info, doctor):
    app.command(verb)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        argv: the arguments after the program's name; by default the process's own.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch's threads would spin between its many small operations
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("DIFFEO_DEBUG", "") not in ("", "0")
    try:
        with told_warnings(debug):
            code = int(app([a for a in arguments if a != "--debug"]) or FINE)
        sys.stdout.flush()  # here, where a reader that has gone away is expected
        return code
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except BaseException as error:
        if isinstance(error, SystemExit | GeneratorExit):
            raise
        if debug:
            traceback.print_exc()
        code, text = explain(error, arguments)
        say(text)
        return code


@contextmanager
def told_warnings(debug: bool) -> Iterator[None]:
    """Our own warnings become sentences on stderr; those of other packages are for developers, and shown to them."""

    def tell(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        if Path(filename).is_relative_to(Path(__file__).parents[1]):
            say(f"warning: {joined(str(message))}")

    with warnings.catch_warnings():
        if not debug:
            warnings.showwarning = tell
        yield


def explain(error: BaseException, arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code and the sentence for an exception."""
    if isinstance(error, CycloptsError):
        return WRONG_INPUT, usage_error(error, arguments)
    if isinstance(error, ValueError):
        return WRONG_INPUT, sentence(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or "interrupted."
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):  # torch's own
        return FAILED, (
            "out of memory: use fewer points or --controls, for images --levels that end with 2, for tables a smaller "
            "--width, --depth or --number."
        )
    expected = isinstance(error, OSError | RuntimeError | ArithmeticError)  # divergence is an ArithmeticError
    if expected and not isinstance(error, ZeroDivisionError | OverflowError):
        return FAILED, sentence(error)
    what = f"{type(error).__name__}: {sentence(error)}".rstrip(".")
    return FAILED, f"internal error ({what}): run it again with --debug to see where, and please report it."


if __name__ == "__main__":
    sys.exit(main())
