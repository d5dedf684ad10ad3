"""``diffeo train``: a table in; a residual network that predicts one of its columns, its score and a picture out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from diffeo.cli.choices import DType, Layers, ReadOut, Task, Velocity, Way
from diffeo.cli.options import (
    JSON,
    Names,
    Switch,
    Whole,
    check_at_least,
    check_file,
    check_folder,
    check_not_negative,
    check_positive,
)
from diffeo.cli.output import print_json

UNFINISHED = 3


def train(
    table: Path,
    /,
    *,
    target: Annotated[str, Parameter(name=["--target", "-t"])],
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    task: Task | None = None,
    features: Names | None = None,
    drop: Names | None = None,
    categorical: Names | None = None,
    header: bool | None = None,
    field: Velocity | None = None,
    head: ReadOut | None = None,
    train: Way | None = None,
    depth: Whole | None = None,
    width: Whole | None = None,
    scale: float | None = None,
    weight: float | None = None,
    penalty: float | None = None,
    solver: Layers | None = None,
    extra_dims: Whole | None = None,
    holdout: float = 0.1,
    max_iter: Whole | None = None,
    tol: float | None = None,
    time_limit: float | None = None,
    dtype: DType | None = None,
    seed: Whole = 0,
    resume: Switch = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False,
    json: JSON = False,
) -> int:
    """Learn to predict one column of TABLE from the others: a residual network trained as a registration.

    Columns of texts become categories. A target that holds texts, or few whole
    numbers, is classified; any other is a regression. No value may be missing.
    What was decided is said, and stands in report.json.

    Args:
        table: csv, tsv or txt, separated by commas, tabs, semicolons or blanks, with or without a header; npy or npz.
        target: column to predict: its name, or its number, counted from 1, or backward from -1.
        out: folder for model.safetensors, report.json, report.png, history.csv and holdout.csv.
        task: classification or regression; by default found out, and said.
        features: columns to learn from, names or numbers, such as age,height; by default all others.
        drop: columns to leave out.
        categorical: columns whose numbers are only names, such as postal codes.
        header: whether the first row names the columns; by default found out.
        field: space of the velocities.
        head: how targets are read out of the moved points.
        train: how the network is trained.
        depth: number of layers.
        width: number of features, hidden units or inducing points of a layer.
        scale: width of the kernels, in units in which two rows are about 1.4 from each other.
        weight: price of deformation: larger is smoother, smaller is closer to the data.
        penalty: of the read-out, where it is solved for: ridge and kernel-ridge.
        solver: what kind of step a layer is.
        extra_dims: dimensions added to the data, in which there is room to untangle them.
        holdout: part of the rows that is not trained on, and tells how good the predictions are; 0 for none.
        max_iter: iterations at most.
        tol: stop when the objective falls by less than this fraction.
        time_limit: seconds at most.
        dtype: precision.
        seed: of whatever is random.
        resume: go on from the checkpoint that an interrupted run left in OUT.
        quiet: print nothing.
        json: print report.json on stdout, and nothing else.
    """
    _check(table, out, holdout)
    for name, value in (("--scale", scale), ("--time-limit", time_limit)):
        check_positive(name, value)
    for name, value in (("--weight", weight), ("--penalty", penalty), ("--tol", tol)):
        check_not_negative(name, value)
    for name, count, least in (
        ("--depth", depth, 1),
        ("--width", width, 2),
        ("--extra-dims", extra_dims, 0),
        ("--max-iter", max_iter, 1),
        ("--seed", seed, 0),
    ):
        check_at_least(name, count, least)
    from diffeo.cli.training import Request, run

    chosen: dict[str, Any] = {"field": field, "head": head, "train": train, "dtype": dtype, "solver": solver}
    names = {name: choice.value for name, choice in chosen.items() if choice is not None}
    numbers = {
        "depth": depth,
        "width": width,
        "scale": scale,
        "weight": weight,
        "penalty": penalty,
        "extra_dims": extra_dims,
        "max_iter": max_iter,
        "tol": tol,
        "time_limit": time_limit,
    }
    request = Request(
        table=table,
        target=target,
        out=out,
        task=None if task is None else task.value,
        features=features or (),
        drop=drop or (),
        categorical=categorical or (),
        header=header,
        holdout=holdout,
        seed=seed,
        parameters=names | {name: value for name, value in numbers.items() if value is not None},
    )
    report = run(request, resume=resume, quiet=quiet or json)
    if json:
        print_json(report)
    elif not quiet:
        from diffeo.cli.scoring import summarize

        summarize(report, out)
    return UNFINISHED if report["diverged"] else 0


def _check(table: Path, out: Path, holdout: float) -> None:
    if not (math.isfinite(holdout) and 0 <= holdout < 1):
        raise ValueError(f"--holdout expects a part of the rows, 0 or more and less than 1, and got {holdout:g}.")
    check_file(table, "TABLE")
    check_folder(out)
    from diffeo.cli.training import FILES

    for name in FILES:
        path = out / name
        if path.exists() and path.samefile(table):
            raise ValueError(f"{path} would be overwritten by the result: choose another folder with -o.")
        if path.is_dir():
            raise ValueError(
                f"cannot write {path}: it is a folder, and a file is to be there; choose another one with -o."
            )
