"""Nested containers of tensors and numbers as one safetensors file: transforms, checkpoints. No pickle."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from diffeo.io.atomic import replacing
from diffeo.io.guard import check_readable

_FORMAT, _VERSION = "diffeo-tree", 1


def save_tree(path: str | os.PathLike[str], tree: Any, metadata: dict[str, Any] | None = None) -> None:
    """Write a tree to a file, which appears complete or not at all.

    Args:
        path: where to.
        tree: dictionaries (keys are strings, integers, floats, booleans or None), lists and tuples of tensors (any
            dtype and shape), numbers, strings, booleans and None. Floats come back exactly, infinities and NaN too.
            Sub-classes come back as the plain type: a named tuple as a tuple. Tensors that are the same memory are
            written once, and come back as many.
        metadata: what JSON can hold, stored beside the tree, readable without it.
    Raises: ValueError for anything else in the tree, saying where; or if the file cannot be written.
    """
    tensors = _Tensors()
    skeleton = _encoded(tree, "", tensors)
    try:
        beside = json.dumps({} if metadata is None else metadata)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the metadata of {path} must be what JSON can hold: {error}.") from None
    header = {"format": _FORMAT, "version": str(_VERSION), "tree": json.dumps(skeleton), "metadata": beside}
    content = save(tensors.named, header)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.writelines(_ordered(content))


def load_tree(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """The tree in a file, with all tensors on the CPU, and its metadata.

    Raises: ValueError with one sentence if the file is missing, truncated, or was not written by ``save_tree``.
    """
    path = Path(path)
    check_readable(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            # copied out of the file, to aligned memory: sums depend on the alignment, and a resumed run must not differ
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except SafetensorError:
        raise ValueError(f"cannot read {path}: it is truncated or not a safetensors file.") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}.") from None
    _check_version(path, header)
    try:
        return _decoded(json.loads(header["tree"]), tensors, set()), json.loads(header["metadata"])
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"cannot read {path}: what it says about its content is damaged.") from None


def _ordered(content: bytes) -> tuple[bytes, bytes, memoryview]:
    """The parts of a safetensors file, its metadata in order: equal trees make equal files, which they else do not."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # what follows is aligned
    return len(text).to_bytes(8, "little"), text, memoryview(content)[end:]


def _check_version(path: Path, header: dict[str, str]) -> None:
    if header.get("format") != _FORMAT:
        raise ValueError(f"cannot read {path}: it is a safetensors file, but not one that diffeo has written.")
    if header.get("version") != str(_VERSION):
        raise ValueError(
            f"cannot read {path}: it has version {header.get('version')} and {_VERSION} is expected; update diffeo."
        )


@dataclass
class _Tensors:
    """What is written beside the tree.

    Attributes:
        named: copies of the tensors, by the names that tell where they are.
        names: the name of what lies at a place in memory; the tree holds on to it meanwhile.
    """

    named: dict[str, Tensor] = field(default_factory=dict)
    names: dict[Any, str] = field(default_factory=dict)


def _encoded(node: Any, where: str, tensors: _Tensors) -> Any:
    """JSON for a node; its tensors are put into ``tensors``, under the names that tell where they are.

    Lists, texts, whole numbers, booleans and None are themselves; all else is an object with one key, its kind.
    """
    if node is None or isinstance(node, str | bool | int):
        return node
    if isinstance(node, float):
        return {"float": float(node).hex()}
    if isinstance(node, Tensor):
        return _encoded_tensor(node, where, tensors)
    if isinstance(node, dict):
        pairs = [[_key(k, where), _encoded(v, f"{where}.{k}" if where else str(k), tensors)] for k, v in node.items()]
        return {"dict": pairs}
    if isinstance(node, list | tuple):
        items = [_encoded(v, f"{where}.{k}" if where else str(k), tensors) for k, v in enumerate(node)]
        return items if isinstance(node, list) else {"tuple": items}
    raise ValueError(
        f"a tree holds dictionaries, lists, tuples, tensors, numbers, texts, booleans and None, and at "
        f"{where or 'its root'!r} there is a {type(node).__module__}.{type(node).__name__}."
    )


def _key(key: Any, where: str) -> Any:
    if isinstance(key, float):
        return {"float": float(key).hex()}
    if key is None or isinstance(key, str | int):
        return key
    raise ValueError(
        f"the keys of a tree are texts or numbers, and at {where or 'its root'!r} there is a {type(key).__name__}."
    )


def _encoded_tensor(tensor: Tensor, where: str, tensors: _Tensors) -> dict[str, str]:
    kind = str(tensor.dtype).removeprefix("torch.") if tensor.is_complex() else "tensor"
    # how the memory is read counts, too: conjugates and negatives may be views
    place = (tensor.device, tensor.dtype, tensor.data_ptr(), tensor.shape, tensor.stride())
    place = (*place, tensor.is_conj(), tensor.is_neg())
    if place in tensors.names:
        return {kind: tensors.names[place]}
    name = where or "tensor"
    while name in tensors.named:
        name += "'"
    plain = tensor.detach().cpu()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    # a copy: safetensors refuses tensors that share a part of their memory, as the views of a parameter do
    tensors.named[name] = plain.resolve_neg().clone(memory_format=torch.contiguous_format)
    tensors.names[place] = name
    return {kind: name}


def _decoded(node: Any, tensors: dict[str, Tensor], given: set[str]) -> Any:
    """The inverse of ``_encoded``; tensors that were given once already are copied, so that none shares memory."""
    if isinstance(node, list):
        return [_decoded(item, tensors, given) for item in node]
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    if kind == "float":
        return float.fromhex(value)
    if kind == "dict":
        return {_decoded(k, tensors, given): _decoded(v, tensors, given) for k, v in value}
    if kind == "tuple":
        return tuple(_decoded(item, tensors, given) for item in value)
    tensor = tensors[value].clone() if value in given else tensors[value]
    given.add(value)
    return tensor if kind == "tensor" else torch.view_as_complex(tensor)
