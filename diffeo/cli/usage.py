"""Usage errors as one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts.exceptions import CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from diffeo.cli.output import joined


def usage_error(error: CycloptsError, arguments: Sequence[str]) -> str:
    """What was wrong with the command line, and where to look."""
    verb = " ".join(error.command_chain or [])
    return f"{_reason(error, arguments)} (see {f'diffeo {verb}'.strip()} --help)."


def _reason(error: CycloptsError, arguments: Sequence[str]) -> str:
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return _missing(error, arguments)
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument {' '.join(error.unused_tokens or [])}"
    token = next(iter(arguments[len(error.command_chain or []) :]), "")
    if isinstance(error, UnknownCommandError) and token.startswith("-"):
        return f"unknown option {token}"
    text = joined(str(error)).rstrip(".")
    text = text[0].lower() + text[1:]
    name = error.argument.name if error.argument is not None else ""
    return text if name in text else f"{name}: {text}"


def _missing(error: MissingArgumentError, arguments: Sequence[str]) -> str:
    argument = error.argument
    assert argument is not None
    if argument.index is None:
        names = " or ".join(argument.names)
        given = any(name in arguments for name in argument.names)
        return f"{names} expects a value, and got none" if given else f"{names} is missing"
    # --scale takes all numbers that follow, and the shapes too if they come next.
    hint = ": give the shapes before --scale" if "--scale" in arguments and arguments[0] == "register" else ""
    return f"{argument.name.lstrip('-').upper()} is missing{hint}"
