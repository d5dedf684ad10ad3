"""The files that ``density score`` and ``density sample`` read and write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeo.cli.options import check_file, check_folder

TABLES = (".csv", ".tsv", ".npy", ".npz")


def model_file(model: Path) -> Path:
    """The file of a model that is given by its folder, or itself. Raises ValueError if it is not there."""
    file = model / "model.safetensors" if model.is_dir() else model
    if model.is_dir() and not file.exists():
        raise ValueError(f"cannot read MODEL {model}: there is no {file.name} in it, as density fit writes it.")
    check_file(file, "MODEL")
    return file


def check_out(out: Path, inputs: tuple[Path, ...]) -> None:
    """Raise ValueError unless a table may be written there."""
    if out.suffix.lower() not in TABLES:
        raise ValueError(
            f"--out expects a file that ends with {', '.join(TABLES[:-1])} or {TABLES[-1]}, and got {out}."
        )
    if out.is_dir():
        raise ValueError(f"cannot write to {out}: it is a folder, and a file is expected.")
    check_folder(out.parent)
    if any(out.exists() and out.samefile(path) for path in inputs):
        raise ValueError(f"{out} would be overwritten by the result: choose another file with -o.")


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """A table that appears complete or not at all: csv and tsv with a header, npz with an array per column, npy without
    names, shape (n, d).

    Raises: ValueError for texts in an npy file.
    """
    import numpy as np

    from diffeo.cli.scoring import write_rows
    from diffeo.io.atomic import replacing

    if path.suffix.lower() in (".csv", ".tsv"):
        write_rows(path, _rows(columns))
        return
    arrays = {name: column.astype(str) if column.dtype.kind == "O" else column for name, column in columns.items()}
    texts = [name for name, column in arrays.items() if column.dtype.kind == "U"]
    single = path.suffix.lower() == ".npy"
    if single and texts:
        raise ValueError(f"{path} is to hold numbers only, and {texts[0]!r} holds texts: write csv, tsv or npz.")
    with replacing(path, parents=True) as temporary, temporary.open("wb") as file:
        if single:
            np.save(file, np.column_stack(list(arrays.values())))
        else:
            np.savez(file, **arrays)


def to_text(columns: dict[str, Any]) -> str:
    """The same as csv."""
    from diffeo.cli.scoring import as_csv

    return as_csv(_rows(columns))


def _rows(columns: dict[str, Any]) -> list[list[Any]]:
    return [list(columns), *map(list, zip(*(column.tolist() for column in columns.values()), strict=True))]
