"""What a demo says of itself: its idea, how long it takes, the lines that make it, and what it asserts."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

FEWEST, MOST = 10, 30  # lines of code that make a demo
REGION = re.compile(r"^ *# region\n(.*?)^ *# endregion$", re.MULTILINE | re.DOTALL)
HEAD = re.compile(r"(?P<title>.+) \(about (?P<count>\d+) (?P<unit>s|min)\)", re.DOTALL)


@dataclass(frozen=True)
class Demo:
    """A demo, read from its file.

    Attributes:
        path: the file; its stem is the demo's name, and that of its picture.
        title: the first sentences of its docstring.
        idea: the paragraphs below them.
        seconds: how long it takes, as its docstring says, in CPU seconds.
        code: the lines that make it: those between ``# region`` and ``# endregion``, of which there may be several.
        claims: the conditions of its assertions, but for those that only tell types.
    """

    path: Path
    title: str
    idea: str
    seconds: float
    code: str
    claims: tuple[str, ...]

    @property
    def name(self) -> str:
        """That of the file and of the picture."""
        return self.path.stem


def read(path: Path) -> Demo:
    """Read a demo.

    Raises: ValueError if its docstring does not begin with a title and "(about N s)", if it has no marked lines or not
        between 10 and 30 of them, or if it asserts nothing.
    """
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    head, _, idea = (ast.get_docstring(tree) or "").partition("\n\n")
    found = HEAD.fullmatch(head)
    if found is None:
        raise ValueError(f"{path.name} should begin with a docstring: its title, and at the end '(about 20 s)'.")
    code = "\n\n".join(textwrap.dedent(part).strip("\n") for part in REGION.findall(text))
    count = sum(bool(line.strip()) for line in code.splitlines())
    if not FEWEST <= count <= MOST:
        raise ValueError(
            f"{path.name} should have {FEWEST} to {MOST} lines that make it, between '# region' and '# endregion', "
            f"and has {count}."
        )
    claims = tuple(claim for node in ast.walk(tree) if isinstance(node, ast.Assert) for claim in _claim(text, node))
    if not claims:
        raise ValueError(f"{path.name} asserts nothing: say what has to hold, so that it cannot lie.")
    seconds = float(found["count"]) * (60 if found["unit"] == "min" else 1)
    title = " ".join(found["title"].split())
    return Demo(path, title, idea.strip(), seconds, code, claims)


def _claim(text: str, node: ast.Assert) -> list[str]:
    """What is asserted, on one line; nothing if it is there for the type checker."""
    source = " ".join((ast.get_source_segment(text, node.test) or "").split())
    return [] if source.startswith("isinstance(") or source.endswith("is not None") else [source]
