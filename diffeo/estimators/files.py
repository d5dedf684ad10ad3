"""Trained estimators in files: safetensors with a description in plain text, so that a stranger's file runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from diffeo.core import Diffeo, Solver
from diffeo.estimators.density import DensityFlow
from diffeo.estimators.resnet import ResNetClassifier, ResNetRegressor
from diffeo.fit import History
from diffeo.io import transform
from diffeo.io.tree import load_tree, save_tree
from diffeo.training import Way

FORMAT = "diffeo-estimator-1"
ESTIMATORS: dict[str, type[BaseEstimator]] = {c.__name__: c for c in (ResNetClassifier, ResNetRegressor, DensityFlow)}
LEFT = ("history_", "report_", "rows_")  # what tells of the training, and is not needed after it


def save_estimator(path: str | Path, estimator: BaseEstimator, metadata: dict[str, Any] | None = None) -> None:
    """Write a trained estimator: what it was called with, and what it has learned. History and report stay behind.

    Args:
        path: the file; what was there is replaced only once the new one is complete.
        estimator: a `ResNetClassifier`, a `ResNetRegressor` or a `DensityFlow`, after ``fit``.
        metadata: anything JSON can hold, kept beside it.

    Raises: ValueError if it is not trained, holds what no file can, or if the file cannot be written.
    """
    name = type(estimator).__name__
    if ESTIMATORS.get(name) is not type(estimator):
        raise ValueError(f"save_estimator expects one of {', '.join(ESTIMATORS)}, and got a {name}.")
    learned = {k: v for k, v in vars(estimator).items() if k.endswith("_") and k not in LEFT}
    if not hasattr(estimator, "phi_"):
        raise ValueError(f"this {name} is not trained yet: call fit before it is saved.")
    tree = {
        "class": name,
        "parameters": {k: encode(v) for k, v in estimator.get_params(deep=False).items()},
        "learned": {k: encode(v) for k, v in sorted(learned.items())},
    }
    save_tree(path, tree, {"format": FORMAT, **(metadata or {})})


def load_estimator(path: str | Path) -> Any:
    """Read a trained estimator; its history is empty. Raises ValueError if the file is not one."""
    return read_estimator(path)[0]


def kind_of(path: str | Path) -> str | None:
    """The name of the class whose trained estimator a file holds; None if it holds none."""
    try:
        tree, metadata = load_tree(path)
        return tree["class"] if metadata.get("format") == FORMAT else None
    except (ValueError, KeyError, TypeError):
        return None


def read_estimator(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """One of `ESTIMATORS`, trained, and the metadata beside it. Raises ValueError if the file is not one."""
    tree, metadata = load_tree(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a trained estimator of diffeo: expected the format {FORMAT!r} in its header.")
    try:
        estimator = ESTIMATORS[tree["class"]](**{k: decode(v) for k, v in tree["parameters"].items()})
        for name, value in tree["learned"].items():
            found = decode(value)
            setattr(estimator, name, found.requires_grad_(False) if isinstance(found, nn.Module) else found)
        if not isinstance(getattr(estimator, "phi_", None), Diffeo):
            raise TypeError("there is no map in it")
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path} does not describe an estimator that this version knows: {reason}.") from None
    vars(estimator)["history_"] = History()
    if isinstance(estimator, DensityFlow):
        estimator.report_ = None
    return estimator, metadata


def encode(value: Any) -> Any:
    """What a parameter or a learned attribute is, as nested dicts of tensors, numbers and strings."""
    if isinstance(value, np.ndarray):
        return {"array": _array(value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, nn.Module):
        # the state too, so that not even rounding changes
        return {"module": transform.encode(value), "state": dict(value.state_dict())}
    if isinstance(value, Way):
        raise ValueError(
            f"an estimator whose train is an object ({type(value).__name__}) cannot be saved: choose it by its name."
        )
    if value is None or isinstance(value, (bool, int, float, str, Tensor)):
        return value
    if isinstance(value, dict):
        return {"dict": {k: encode(v) for k, v in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(item) for item in value]}
    if isinstance(value, Solver):
        return {"solver": transform.encode(value)}
    raise ValueError(f"an estimator with a {type(value).__name__} in it cannot be saved.")


def decode(value: Any) -> Any:
    """The inverse of `encode`; only classes that the library exports are ever called."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        content = value["array"]
        return content.numpy() if isinstance(content, Tensor) else np.array(content["values"], content["dtype"])
    if "solver" in value:
        return transform.decode(value["solver"])
    if "dict" in value:
        return {k: decode(v) for k, v in value["dict"].items()}
    for kind in (list, tuple):
        if kind.__name__ in value:
            return kind(decode(item) for item in value[kind.__name__])
    module = transform.decode(value["module"])
    module.load_state_dict(value["state"])
    return module


def _array(value: np.ndarray) -> Any:
    """Numbers as a tensor; texts, and objects that are texts or numbers, as a list."""
    if value.dtype.kind in "biuf" and value.dtype.isnative:
        return torch.from_numpy(np.ascontiguousarray(value))
    kind = value.dtype.kind
    items = value.tolist()
    if value.ndim == 1 and kind in "UO" and all(isinstance(item, (str, int, float, bool)) for item in items):
        return {"values": items, "dtype": "object" if kind == "O" else value.dtype.str}
    raise ValueError(f"an estimator with an array of {value.dtype} in it cannot be saved.")
