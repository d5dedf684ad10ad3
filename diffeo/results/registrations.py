"""Registrations out of folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffeo.core import Diffeo, Shape
from diffeo.diagnostics.dimensions import check_dimension
from diffeo.io import read
from diffeo.io.shape_files import load_shape
from diffeo.io.transform import describe, load_map
from diffeo.registration import Registration
from diffeo.registration.images import has_images, moved_onto
from diffeo.registration.origin import facts
from diffeo.results.folder import Folder, hint
from diffeo.results.masks import masked


def open_registration(folder: Folder, given: Mapping[str, Path]) -> Registration:
    """The registration that was saved in a folder.

    Args:
        folder: of the result.
        given: where source, target and mask are, if that is not what the report says.

    Raises: ValueError if one of them is gone, or not what was registered.
    """
    phi = load_map(folder.file)
    folder.check(describe(folder.file))
    for name in ("energy", "converged"):
        folder.told(name)
    source = _shape(folder, "source", phi, given)
    target = _shape(folder, "target", phi, given)
    if has_images(source, target) and not (has_images(source, source) and has_images(target, target)):
        kinds = " and a ".join(type(shape).__name__ for shape in (source, target))
        raise ValueError(f"{folder.path} is not a registration of a {kinds}: {hint('source')}.")
    moved = moved_onto(source, target, phi, folder.report.get("labels"))
    return Registration(source, target, moved, phi, folder.history, folder.report)


def _shape(folder: Folder, role: str, phi: Diffeo, given: Mapping[str, Path]) -> Shape:
    """The source or the target, checked to be what was registered."""
    file = folder.find(role, given.get(role))
    shape = read_shape(file)
    if role == "target" and ("mask" in given or "mask" in folder.files):
        shape = masked(shape, folder.find("mask", given.get("mask")))
    known = folder.made_from.get(role)
    if known is None:  # a folder of an older version
        try:
            check_dimension(phi, shape)
        except ValueError as error:
            raise ValueError(f"{file} is not the {role} that was registered: {error}") from None
    elif (found := facts(shape)) != known:
        raise ValueError(
            f"{file} is not the {role} that {folder.path} was made from ({_difference(known, found)}): {hint(role)}."
        )
    return shape


def read_shape(file: Path) -> Any:
    """A shape of any format, also of that which results are saved in."""
    return load_shape(file) if file.suffix.lower() == ".safetensors" else read(file)


def _difference(known: dict[str, Any], found: dict[str, Any]) -> str:
    """What is not the same, in a few words."""
    names = (name for name in (*known, *found) if known.get(name) != found.get(name) and name != "checksum")
    name = next(names, None)
    if name is None:
        return "it holds other numbers"
    if name == "parts":
        return "it has other parts"
    return f"{name}: {_shown(found.get(name))} instead of {_shown(known.get(name))}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return " × ".join(map(str, value)) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else value
