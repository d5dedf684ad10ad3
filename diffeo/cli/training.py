"""A training as the command line runs it: read, split, fit, and leave the files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from diffeo.cli.progress import Progress

MODEL, REPORT, PICTURE, HELD_OUT, HISTORY, CHECKPOINT = FILES = (
    "model.safetensors",
    "report.json",
    "report.png",
    "holdout.csv",
    "history.csv",
    "checkpoint.safetensors",
)
"""What a training leaves in its folder; the last one only while it runs."""


@dataclass(frozen=True)
class Request:
    """What was asked for; ``parameters`` are those of the estimator."""

    table: Path
    target: str
    out: Path
    task: str | None
    features: tuple[str, ...]
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    header: bool | None
    holdout: float
    seed: int
    parameters: dict[str, Any]


def run(request: Request, *, resume: bool, quiet: bool) -> dict[str, Any]:
    """Train, write all files, and give back the report."""
    from diffeo.tables import Features, Target, Task, read_records
    from diffeo.tables.scores import held_out

    records = read_records(request.table, request.header)
    name = records.resolve(request.target, "target")
    only, without, categorical = (
        [records.resolve(column) for column in columns]
        for columns in (request.features, request.drop, request.categorical)
    )
    _check_columns(name, only, without, categorical)
    if categorical:  # texts, as they stand in the file: 007 is not 7
        records = read_records(request.table, request.header, texts=categorical)
    task = None if request.task is None else Task(request.task)
    target = Target.of(records, name, task)
    features, notes = Features.of(records, name, only, without, categorical)
    x, _ = features.matrix(records)
    y = target.values(records)
    rows, out = held_out(y, request.holdout, request.seed, target.task is Task.classification)
    notes = [*records.notes, *notes, *_about_holdout(request, len(rows), len(out))]
    # Some packages print when they are imported; stdout is for results.
    with redirect_stdout(StringIO() if quiet else sys.stderr):
        estimator = _fitted(request, target, x[rows], y[rows], resume, quiet)
    return _written(request, records, estimator, features, target, (rows, out), notes)


def _check_columns(target: str, only: list[str], without: list[str], categorical: list[str]) -> None:
    for option, names in (("--features", only), ("--drop", without), ("--categorical", categorical)):
        if target in names:
            raise ValueError(f"{option} names {target!r}, which is the target: leave it out there.")
    both = [name for name in only if name in without]
    if both:
        raise ValueError(f"--features and --drop both name {both[0]!r}: leave it out in one of them.")


def _about_holdout(request: Request, trained: int, held: int) -> list[str]:
    if request.holdout and not held:
        return [f"Nothing is held out of {trained} rows: the score is that of the rows trained on."]
    return []


def _fitted(request: Request, target: Any, x: Any, y: Any, resume: bool, quiet: bool) -> Any:
    """The estimator, trained; interrupted, it says how to go on."""
    from diffeo.estimators import ResNetClassifier, ResNetRegressor
    from diffeo.tables import Task

    kind = ResNetClassifier if target.task is Task.classification else ResNetRegressor
    estimator = kind(**request.parameters, random_state=request.seed)
    checkpoint = request.out / CHECKPOINT
    with resumable(checkpoint), Progress(quiet) as progress:
        return estimator.fit(x, y, callbacks=(progress,), checkpoint=checkpoint, resume=resume)


@contextmanager
def resumable(checkpoint: Path) -> Iterator[None]:
    """What is interrupted inside says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{checkpoint} keeps what was done: the same command with --resume goes on from there."
        raise KeyboardInterrupt(
            f"interrupted; {kept}" if checkpoint.exists() else "interrupted before anything was done."
        ) from None


def _written(
    request: Request, records: Any, estimator: Any, features: Any, target: Any, split: tuple[Any, Any], notes: list[str]
) -> dict[str, Any]:
    """All files, each of which appears complete or not at all; the model last but for its checkpoint."""
    from diffeo.cli import scoring
    from diffeo.estimators.tabular import TableModel
    from diffeo.registration.course import write_history
    from diffeo.results.tables import Predicted

    model = TableModel(estimator, features, target)
    results = {
        name: model.predict(records.take(rows))
        for name, rows in zip(("training", "holdout"), split, strict=True)
        if len(rows)
    }
    report = scoring.report(request, records, model, results, notes)
    request.out.mkdir(parents=True, exist_ok=True)
    report |= origin(request, Predicted(features, target), records)
    scoring.write_json(request.out / REPORT, report)
    scoring.draw(request.out / PICTURE, model, results, str(request.table))
    held = request.out / HELD_OUT
    if "holdout" in results:
        scoring.write_holdout(held, records, split[1], results["holdout"], target.name)
    else:
        held.unlink(missing_ok=True)  # that of an earlier training would be mistaken for its own
    write_history(request.out / HISTORY, estimator.history_.records)
    model.save(request.out / MODEL, {name: report[name] for name in ("versions", "parameters", "seed", "holdout")})
    (request.out / CHECKPOINT).unlink(missing_ok=True)
    return report


def origin(request: Any, trained: Any, records: Any) -> dict[str, Any]:
    """Where the table is, as seen from the folder of the result, and by what it is known again.

    Args:
        request: what was asked for: its table, its header, and its folder, which exists.
        trained: what was trained on.
        records: the table.
    """
    from diffeo.registration.origin import FILES, MADE_FROM, relative

    return {
        FILES: {"table": relative(request.table, request.out)},
        MADE_FROM: {"table": trained.facts(records, request.header)},
    }
