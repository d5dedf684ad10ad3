"""``diffeo density fit``: a table in; the joint density of its columns, what was checked, and a picture out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from diffeo.cli.choices import DType
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
    circumferences,
    limits,
)
from diffeo.cli.output import print_json

UNFINISHED = 3


def fit(
    table: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    columns: Names | None = None,
    drop: Names | None = None,
    context: Names | None = None,
    categorical: Names | None = None,
    bounds: Names | None = None,
    periodic: Names | None = None,
    header: bool | None = None,
    components: Whole | None = None,
    depth: Whole | None = None,
    width: Whole | None = None,
    scale: float | None = None,
    weight: float | None = None,
    certified: Switch = False,
    validation: str | None = None,
    holdout: float = 0.1,
    max_iter: Whole | None = None,
    time_limit: float | None = None,
    dtype: DType | None = None,
    seed: Whole = 0,
    resume: Switch = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False,
    json: JSON = False,
) -> int:
    """Learn the joint density of the columns of TABLE: a flow that carries them to a mixture of Gaussians.

    Columns hold numbers, all known and not all the same; texts may only be a
    context. Densities are per unit of the columns, likelihoods in nats. What was
    decided is said, and stands in report.json, with what was checked.

    Args:
        table: csv, tsv or txt, separated by commas, tabs, semicolons or blanks, with or without a header; npy or npz.
        out: folder for model.safetensors, report.json, report.png, history.csv and holdout.csv.
        columns: columns to learn the density of, names or numbers, such as age,height; by default all others.
        drop: columns to leave out.
        context: columns c of a conditional density p(x | c), such as city,age.
        categorical: columns of the context whose numbers are only names, such as postal codes.
        bounds: between what a column must lie, such as share=0:1, or income=0: with an open side.
        periodic: columns that go round, and their period, such as angle=360,hour=24.
        header: whether the first row names the columns; by default found out.
        components: Gaussians in the mixture.
        depth: number of layers.
        width: number of inducing points of a layer.
        scale: width of the kernels, in standard deviations of a column.
        weight: price of deformation: larger is smoother, smaller is closer to the data.
        certified: build the flow so that it is proven to fold nowhere; it takes two to three times as long.
        validation: part of the rows, or another table, that what is left out is chosen by, and when to stop.
        holdout: part of the rows that is used for nothing else than to tell how good the density is; 0 for none.
        max_iter: iterations at most.
        time_limit: seconds at most.
        dtype: precision.
        seed: of whatever is random.
        resume: go on from the checkpoint that an interrupted run left in OUT.
        quiet: print nothing.
        json: print report.json on stdout, and nothing else.
    """
    others = _validation(validation)
    _check(table, out, holdout, others)
    for name, value in (("--scale", scale), ("--time-limit", time_limit)):
        check_positive(name, value)
    check_not_negative("--weight", weight)
    counts = (("--components", components), ("--depth", depth), ("--width", width), ("--max-iter", max_iter))
    for name, count in counts:
        check_at_least(name, count, 1)
    check_at_least("--seed", seed, 0)
    allowed, periods = limits(bounds or ()), circumferences(periodic or ())
    from diffeo.cli.density.fitting import Request, run

    given: dict[str, Any] = {
        "components": components,
        "depth": depth,
        "width": width,
        "scale": scale,
        "weight": weight,
        "certified": certified or None,
        "max_iter": max_iter,
        "time_limit": time_limit,
        "dtype": None if dtype is None else dtype.value,
        "validation_fraction": others if isinstance(others, float) else None,
    }
    request = Request(
        table=table,
        out=out,
        columns=columns or (),
        drop=drop or (),
        context=context or (),
        categorical=categorical or (),
        bounds=allowed,
        periods=periods,
        header=header,
        validation=others if isinstance(others, Path) else None,
        holdout=holdout,
        seed=seed,
        parameters={name: value for name, value in given.items() if value is not None},
    )
    report = run(request, resume=resume, quiet=quiet or json)
    if json:
        print_json(report)
    elif not quiet:
        from diffeo.cli.density.words import summarize

        summarize(report, out)
    return UNFINISHED if report["diverged"] or report["problems"] else 0


def _validation(text: str | None) -> float | Path | None:
    """A part of the rows, or a file. Raises ValueError for numbers that are no part, and files that are not there."""
    if text is None:
        return None
    try:
        part = float(text)
    except ValueError:
        check_file(Path(text), "--validation")
        return Path(text)
    if not 0 < part < 1:
        raise ValueError(f"--validation expects a part of the rows, between 0 and 1, or a file, and got {text}.")
    return part


def _check(table: Path, out: Path, holdout: float, validation: float | Path | None) -> None:
    if not (math.isfinite(holdout) and 0 <= holdout < 1):
        raise ValueError(f"--holdout expects a part of the rows, 0 or more and less than 1, and got {holdout:g}.")
    check_file(table, "TABLE")
    check_folder(out)
    from diffeo.cli.training import FILES

    inputs = [table, *([validation] if isinstance(validation, Path) else [])]
    for path in (out / name for name in FILES):
        if path.is_dir():
            raise ValueError(
                f"cannot write {path}: it is a folder, and a file is to be there; choose another one with -o."
            )
        if path.exists() and any(path.samefile(other) for other in inputs):
            raise ValueError(f"{path} would be overwritten by the result: choose another folder with -o.")
