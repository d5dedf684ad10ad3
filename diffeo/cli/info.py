"""``diffeo info``: what is in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeo.cli.options import JSON, check_file
from diffeo.cli.output import print_json, print_rows, show

TRANSFORM = ".safetensors"
MODEL = "diffeo-estimator-1"


def info(file: Path, /, *, json: JSON = False) -> int:
    """Say what is in FILE: a shape, an image, a transform that register wrote, or a model that train wrote.

    Args:
        file: any shape or image file, a transform.safetensors, or a model.safetensors.
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
    from diffeo.io.transform import describe, load_map
    from diffeo.io.tree import load_tree

    if load_tree(file)[1].get("format") == MODEL:
        return _model(file)
    phi = load_map(file)
    return structure(phi) | {"dimension": dimension(phi), "energy": float(phi.energy().detach())} | describe(file)


def _model(file: Path) -> dict[str, Any]:
    from diffeo.cli.maps import structure
    from diffeo.estimators import ResNetClassifier
    from diffeo.estimators.files import read_estimator

    estimator, metadata = read_estimator(file)
    table, phi = metadata.pop("table", {}), estimator.phi_
    columns = table.get("features", {}).get("columns", [])
    return {
        "kind": type(estimator).__name__,
        "target": table.get("target", {}).get("name"),
        "classes": estimator.classes_.tolist() if isinstance(estimator, ResNetClassifier) else None,
        "columns": [_column(**column) for column in columns],
        "map": structure(phi),
        "energy": float(phi.energy().detach()),
        **metadata,
    }


def _column(name: str, categories: list[str] | None, **_: Any) -> str:
    return name if categories is None else f"{name}: {', '.join(categories)}"


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
