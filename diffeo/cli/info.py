"""``diffeo info``: what is in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeo.cli.options import JSON, check_file
from diffeo.cli.output import print_json, print_rows, show

TRANSFORM = ".safetensors"
RESULTS = ("model.safetensors", "transform.safetensors")
"""What is looked for in a folder."""
MODEL, SHAPE = "diffeo-estimator-1", "diffeo-shape-1"


def info(file: Path, /, *, json: JSON = False) -> int:
    """Say what is in FILE: a shape, an image, or what register, train or density fit wrote.

    Args:
        file: any shape or image file, a transform.safetensors, a model.safetensors, or the folder of one of these; or
            a source.safetensors beside them.
        json: print JSON.
    """
    if file.is_dir():
        file = next((path for name in RESULTS if (path := file / name).exists()), file)
    check_file(file, "FILE")
    facts = _transform(file) if file.suffix.lower() == TRANSFORM else _shape(file)
    if json:
        print_json(facts)
    else:
        print_rows(str(file), [(name, _listed(value)) for name, value in facts.items()])
    return 0


def _shape(file: Path) -> dict[str, Any]:
    from diffeo.io import read

    return _inspected(read(file))


def _inspected(shape: Any) -> dict[str, Any]:
    from diffeo.cli.inspection import inspect
    from diffeo.cli.inspection_image import inspect_image
    from diffeo.shapes import Compound, Image

    if isinstance(shape, Compound):
        return {"type": "Compound", "parts": [_inspected(part) for part in shape.parts]}
    return inspect_image(shape) if isinstance(shape, Image) else inspect(shape)


def _transform(file: Path) -> dict[str, Any]:
    from diffeo.cli.maps import structure
    from diffeo.diagnostics.dimensions import dimension
    from diffeo.io.transform import describe, load_map
    from diffeo.io.tree import load_tree

    kind = load_tree(file)[1].get("format")
    if kind == MODEL:
        return _model(file)
    if kind == SHAPE:
        from diffeo.io.shape_files import load_shape

        return _inspected(load_shape(file))
    phi = load_map(file)
    return structure(phi) | {"dimension": dimension(phi), "energy": float(phi.energy().detach())} | describe(file)


def _model(file: Path) -> dict[str, Any]:
    from diffeo.cli.maps import structure
    from diffeo.estimators import DensityFlow
    from diffeo.estimators.files import read_estimator

    estimator, metadata = read_estimator(file)
    table = metadata.pop("table", {})
    kind = {"kind": type(estimator).__name__}
    if isinstance(estimator, DensityFlow):
        what, energy = _density(estimator, table), estimator.energy_
    else:
        what, energy = _prediction(estimator, table), float(estimator.phi_.energy().detach())
    return kind | what | {"map": structure(estimator.phi_), "energy": energy} | metadata


def _prediction(estimator: Any, table: dict[str, Any]) -> dict[str, Any]:
    """What a residual network predicts, and from what."""
    return {
        "target": table.get("target", {}).get("name"),
        "classes": estimator.classes_.tolist() if hasattr(estimator, "classes_") else None,
        "columns": [_column(**column) for column in table.get("features", {}).get("columns", [])],
    }


def _density(estimator: Any, table: dict[str, Any]) -> dict[str, Any]:
    """What a density is one of; columns without names are numbers, from 0."""
    columns = [_column(**column) for column in table.get("features", {}).get("columns", [])]
    count = estimator.n_features_in_
    names = columns[:count] or [str(k) for k in range(count)]
    by_name = {
        key: [f"{k if isinstance(k, str) else names[k]}: {show(v)}" for k, v in (getattr(estimator, key) or {}).items()]
        for key in ("bounds", "periods")
    }
    return {"columns": names, "context": columns[count:], **by_name}


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
