"""Imports go one way only: every module is parsed, and what it imports must lie in a layer below its own.

grid < core < backends < sampling < kernels, solvers < fields < flows        shapes and flows never import each other
grid < core < backends < sampling < kernels < shapes < losses                core < heads < shapes, losses
core < laws < losses
shapes, laws < fit < registration, estimators, statistics < results < cli; io, viz and diagnostics know shapes and
maps, not who uses them
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import diffeo

ROOT = Path(diffeo.__file__).parent

BELOW: dict[str, set[str]] = {}  # layer: the layers that it may import
BELOW["grid"] = set()
BELOW["core"] = {"grid"}
BELOW["backends"] = {"core", "grid"}
BELOW["sampling"] = {"core", "grid", "backends"}
BELOW["kernels"] = {"core", "grid", "backends", "sampling"}
BELOW["solvers"] = {"core"}
BELOW["fields"] = BELOW["kernels"] | {"kernels"}
BELOW["flows"] = BELOW["fields"] | {"solvers", "fields"}
BELOW["heads"] = {"core", "grid"}
BELOW["laws"] = {"core"}
BELOW["shapes"] = BELOW["kernels"] | {"kernels", "heads"}
BELOW["losses"] = BELOW["shapes"] | {"shapes", "laws"}
BELOW["fit"] = BELOW["shapes"] | {"shapes", "laws"}  # a batch of labelled rows is a shape; batches may be drawn
PARTS = {
    "grid",
    "core",
    "backends",
    "sampling",
    "kernels",
    "solvers",
    "fields",
    "flows",
    "heads",
    "laws",
    "shapes",
    "losses",
}
BELOW["io"] = PARTS
BELOW["tables"] = {"io"}
BELOW["diagnostics"] = PARTS
BELOW["viz"] = PARTS | {"io"}  # pages and films are files
BELOW["training"] = PARTS | {"fit"}
BELOW["registration"] = PARTS | {"fit", "io", "diagnostics", "viz"}
BELOW["estimators"] = BELOW["statistics"] = BELOW["registration"] | {"tables", "training"}
BELOW["results"] = BELOW["estimators"] | {"registration", "estimators"}
BELOW["cli"] = BELOW["registration"] | {
    "registration",
    "results",
    "tables",
    "estimators",
    "statistics",
    "__init__",
}  # and every public name

FREE = {"__init__"}  # the package itself, which names everything


class Import(NamedTuple):
    """One import of a part of the library."""

    file: Path
    line: int
    layer: str
    target: str
    for_types: bool
    inside: str | None

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT.parent)}:{self.line} imports {self.target}"


def layer_of(module: str) -> str:
    """``diffeo.kernels.radial`` is in the layer ``kernels``."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(file: Path) -> str:
    """The module that a file is."""
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def targets(node: ast.AST, module: str, package: bool) -> list[str]:
    """What an import statement names, absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        parents = parts[: len(parts) - node.level + package]
        base = ".".join([*parents, *([base] if base else [])])
    if base == "diffeo":
        return [f"diffeo.{alias.name}" for alias in node.names]
    return [base]


def walk(node: ast.AST, for_types: bool = False, inside: str | None = None):
    """All nodes, with whether they stand under TYPE_CHECKING, and the function they are in."""
    for child in ast.iter_child_nodes(node):
        types = for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
        within = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else inside
        yield child, types, within
        yield from walk(child, types, within)


def imports_in(source: str, file: Path) -> list[Import]:
    """The imports of the library in a file."""
    module, package = module_of(file), file.stem == "__init__"
    return [
        Import(file, node.lineno, layer_of(module), target, for_types, inside)
        for node, for_types, inside in walk(ast.parse(source))
        for target in targets(node, module, package)
        if target.split(".")[0] == "diffeo"
    ]


FILES = sorted(ROOT.rglob("*.py"))


@cache
def imports() -> list[Import]:
    """Of all files."""
    return [item for file in FILES for item in imports_in(file.read_text(encoding="utf-8"), file)]


def forbidden(item: Import) -> bool:
    """Whether an import goes up, sideways, or around."""
    target = layer_of(item.target)
    return item.layer not in FREE and target != item.layer and target not in BELOW[item.layer]


def test_every_module_has_a_layer():
    unknown = {layer_of(module_of(file)) for file in FILES} - set(BELOW) - FREE
    assert not unknown, f"say in tests/test_layers.py what {unknown} may import"


def test_layers_have_an_order():
    done: set[str] = set()
    while len(done) < len(BELOW):
        ready = {layer for layer, below in BELOW.items() if layer not in done and below - FREE <= done}
        assert ready, f"a cycle among {set(BELOW) - done}"
        done |= ready


def test_imports_go_one_way():
    wrong = [str(item) for item in imports() if forbidden(item)]
    assert not wrong, "\n".join(wrong)


def test_shapes_and_flows_never_import_each_other():
    for a, b in (("shapes", "flows"), ("flows", "shapes"), ("fields", "shapes"), ("losses", "flows")):
        assert not [str(i) for i in imports() if i.layer == a and layer_of(i.target) == b]


def test_imports_for_types_stay_within_their_package():
    """They hide a cycle; inside one package that is a matter of files, between packages one of design."""
    wrong = [str(i) for i in imports() if i.for_types and layer_of(i.target) != i.layer and forbidden(i)]
    assert not wrong, "\n".join(wrong)


def test_modules_of_a_layer_form_no_cycle():
    """At run time, imports inside functions aside."""
    modules = {module_of(file) for file in FILES}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for item in imports():
        if item.for_types or item.inside:
            continue
        target = item.target
        while target not in modules and "." in target:
            target = target.rpartition(".")[0]
        module = module_of(item.file)
        if target != module and not module.startswith(f"{target}."):  # a package may be named by what is in it
            graph[module].add(target)
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {m for m, needed in graph.items() if m not in done and needed <= done}
        assert ready, f"a cycle among {sorted(set(graph) - done)}"
        done |= ready


FOUND_OUT = {
    "a layer above": ("kernels/new.py", "from diffeo.flows import Flow"),
    "a neighbour": ("flows/new.py", "from diffeo.shapes import Points"),
    "the package": ("shapes/new.py", "from diffeo import losses"),
    "relative": ("fields/new.py", "from ..flows.flow import Flow"),
    "relative, from a package": ("fields/__init__.py", "from ..flows.flow import Flow"),
    "in a function": ("core.py", "def f():\n    import diffeo.kernels.radial"),
    "for types": ("losses/new.py", "if TYPE_CHECKING:\n    from diffeo.flows import Flow"),
    "command line": ("registration/new.py", "from diffeo.cli.main import main"),
    "the loop": ("losses/new.py", "import diffeo.fit"),
}


@pytest.mark.parametrize("name", FOUND_OUT)
def test_a_wrong_import_would_be_found(name):
    path, source = FOUND_OUT[name]
    assert [item for item in imports_in(source, ROOT / path) if forbidden(item)]


@pytest.mark.parametrize(
    "source", ["from diffeo.core import Loss", "from . import base", "import torch", "from .base import x"]
)
def test_a_right_import_is_let_pass(source):
    assert not [item for item in imports_in(source, ROOT / "shapes/new.py") if forbidden(item)]


def test_the_core_needs_torch_alone():
    tree = ast.parse((ROOT / "core.py").read_text(encoding="utf-8"))
    found = [target for node, _, _ in walk(tree) for target in targets(node, "diffeo.core", False)]
    named = {target if target == "diffeo.grid" else target.split(".")[0] for target in found}
    assert named <= {"__future__", "abc", "copy", "collections", "typing", "torch", "diffeo.grid"}
