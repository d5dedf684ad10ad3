"""Maps and laws in files: safetensors with a description in plain text, so that a stranger's file runs no code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from diffeo import fields, flows, grid, heads, kernels, laws, losses, solvers
from diffeo.core import Diffeo, Field, Kernel, Solver
from diffeo.fields.activations import Activation
from diffeo.grid import Grid
from diffeo.heads import Head
from diffeo.io.tree import load_tree, save_tree
from diffeo.laws import Law, toys
from diffeo.losses import GaussianProfileLoss, KLLoss, NLLLoss, ReadOutLoss

FORMAT = "diffeo-transform-1"
KINDS = (Kernel, Solver, Field, Diffeo, Grid, Activation, Head, Law, ReadOutLoss, NLLLoss, KLLoss, GaussianProfileLoss)


def save(path: str | Path, phi: Diffeo | Law, metadata: dict[str, Any] | None = None) -> None:
    """Write a diffeomorphism or a law.

    Args:
        path: the file; what was there is replaced only once the new one is complete.
        phi: any diffeomorphism, or law, made of this library's parts.
        metadata: anything JSON can hold, kept beside it (see `describe`).

    Raises: ValueError if the file cannot be written, or something in it cannot be described.
    """
    tree = {"map": encode(phi), "state": dict(phi.state_dict())}  # the state, so that not even rounding changes
    save_tree(path, tree, {"format": FORMAT, **(metadata or {})})


def load(path: str | Path) -> Any:
    """Read what `save` wrote: a `Diffeo` or a `Law`. Raises ValueError if the file is not one."""
    tree, _ = _read(path)
    try:
        found = decode(tree["map"])
        if not isinstance(found, (Diffeo, Law)):
            raise TypeError(f"a {type(found).__name__} instead")
        found.load_state_dict(tree["state"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} does not describe a diffeomorphism that this version knows: {reason}.") from None
    return found.requires_grad_(False)


def load_map(path: str | Path) -> Diffeo:
    """Read a diffeomorphism. Raises ValueError if the file holds no such thing."""
    found = load(path)
    if not isinstance(found, Diffeo):
        raise ValueError(f"{path} holds a law ({type(found).__name__}), and a diffeomorphism is expected.")
    return found


def describe(path: str | Path) -> dict[str, Any]:
    """The metadata of a transform file. Raises ValueError if the file is not one."""
    return _read(path)[1]


def _read(path: str | Path) -> tuple[Any, dict[str, Any]]:
    tree, metadata = load_tree(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a transform file of diffeo: expected the format {FORMAT!r} in its header.")
    return tree, metadata


def encode(value: Any) -> Any:
    """An object as nested dicts of tensors, numbers and strings: its class's name and what to call it with."""
    if isinstance(value, (Field, Diffeo, Head, Law, ReadOutLoss, NLLLoss, KLLoss, GaussianProfileLoss)):
        return {"class": type(value).__name__} | {k: encode(v) for k, v in value.arguments().items()}
    if dataclasses.is_dataclass(value) and isinstance(value, KINDS):
        names = [f.name for f in dataclasses.fields(value) if f.compare]
        return {"class": type(value).__name__} | {name: encode(getattr(value, name)) for name in names}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, Tensor):
        return value.detach()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(
        f"{type(value).__name__} cannot be saved: a file holds tensors, numbers, and this library's own kernels, "
        "solvers, fields, heads, laws, diffeomorphisms, and losses with a read-out or a law."
    )


def decode(value: Any) -> Any:
    """The object that `encode` described; only classes that the library exports are ever called."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    arguments = {k: decode(v) for k, v in value.items() if k != "class"}
    if value["class"] == "SumKernel":
        arguments["terms"] = tuple(arguments["terms"])
    return known()[value["class"]](**arguments)


def known() -> dict[str, type]:
    """Every class that a file may name."""
    modules = (grid, kernels, solvers, fields, flows, heads, laws, toys, losses)
    classes = [item for module in modules for item in vars(module).values() if isinstance(item, type)]
    return {c.__name__: c for c in classes if issubclass(c, KINDS) and not getattr(c, "__abstractmethods__", None)}
