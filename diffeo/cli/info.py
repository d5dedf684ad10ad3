"""``diffeo info``: what is in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeo.cli.options import JSON, check_file
from diffeo.cli.output import print_json, print_rows, show

TRANSFORM = ".safetensors"


def info(file: Path, /, *, json: JSON = False) -> int:
    """Say what is in FILE: a shape, an image, or a transform that register wrote.

    Args:
        file: any shape or image file, or a transform.safetensors.
        json: print JSON.
    """
    check_file(file, "FILE")
    facts = _transform(file) if file.suffix.lower() == TRANSFORM else _shape(file)
    if json:
        print_json(facts)
    else:
        print_rows(str(file), [(name, _listed(value)) for name, value in facts.items()])
    return 0


def _shape(file: Path) -> dict[str, Any]:
    from diffeo.cli.inspection import inspect
    from diffeo.cli.inspection_image import inspect_image
    from diffeo.io import read
    from diffeo.shapes import Image

    shape = read(file)
    return inspect_image(shape) if isinstance(shape, Image) else inspect(shape)


def _transform(file: Path) -> dict[str, Any]:
    from diffeo.cli.maps import dimension, structure
    from diffeo.io.transform import describe, load

    phi = load(file)
    return structure(phi) | {"dimension": dimension(phi), "energy": float(phi.energy().detach())} | describe(file)


def _listed(value: Any) -> Any:
    """Nested facts as indented lines; flat numbers on one line."""
    if isinstance(value, dict):
        return "\n".join(_lines(value)) or "none"
    if isinstance(value, list) and any(isinstance(item, str | dict | list) for item in value):
        return "\n".join(line for item in value for line in (_lines(item) if isinstance(item, dict) else [show(item)]))
    return value


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            lines.append(f"{indent}{name}")
            for item in [value] if isinstance(value, dict) else value:
                lines += _lines(item, indent + "  ")
        elif value is not None:
            lines.append(f"{indent}{name}  {show(value)}")
    return lines
