"""A density as the command line fits it: read, split, fit, check, and leave the files."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from diffeo.cli.progress import Progress
from diffeo.cli.training import CHECKPOINT, HELD_OUT, HISTORY, MODEL, PICTURE, REPORT, origin, resumable
from diffeo.tables import Coordinates, Records, read_records
from diffeo.tables.scores import held_out

KIND = "density"  # what report.json says that it is about


@dataclass(frozen=True)
class Request:
    """What was asked for; ``parameters`` are those of the estimator. Columns are names, or numbers from 1."""

    table: Path
    out: Path
    columns: tuple[str, ...]
    drop: tuple[str, ...]
    context: tuple[str, ...]
    categorical: tuple[str, ...]
    bounds: dict[str, tuple[float, float]]
    periods: dict[str, float]
    header: bool | None
    validation: Path | None
    holdout: float
    seed: int
    parameters: dict[str, Any]


def run(request: Request, *, resume: bool, quiet: bool) -> dict[str, Any]:
    """Fit, write all files, and give back the report."""
    check_replaceable(request.out)
    records, coordinates, notes = _read(request)
    others = _others(request, coordinates)
    settings = _settings(request, records, coordinates)
    for each in (records, others):
        if each is not None:
            _check_bounds(each, coordinates, settings["bounds"])
    rows, out = held_out(np.zeros(len(records)), request.holdout, request.seed, False)
    if request.holdout and not len(out):
        notes = [*notes, f"Nothing is held out of {len(rows)} rows: the score is that of the rows that were fitted."]
    parts = {"training": records.take(rows)} | ({"holdout": records.take(out)} if len(out) else {})
    # Some packages print when they are imported; stdout is for results.
    with redirect_stdout(StringIO() if quiet else sys.stderr), resumable(request.out / CHECKPOINT):
        settings["check"] = not len(out)  # with rows that are held out for it, the check is made with them
        model = _fitted(request, coordinates, parts["training"], others, settings, resume=resume, quiet=quiet)
        return _written(request, records, model, parts, [*records.notes, *notes])


def check_replaceable(out: Path) -> None:
    """Raise ValueError if the folder holds files that the result would replace, and that are not an older one's."""
    from diffeo.estimators import DensityFlow
    from diffeo.estimators.files import kind_of

    model, report = out / MODEL, out / REPORT
    if model.exists() and kind_of(model) != DensityFlow.__name__:
        raise ValueError(
            f"{model} is not a density, and would be overwritten by one: choose another folder with -o, or remove it."
        )
    if report.exists() and _kind_in(report) != KIND:
        raise ValueError(
            f"{report} is not the report of a density, and would be overwritten by one: choose another folder with -o, "
            "or remove it."
        )
    for path in (out / PICTURE, out / HELD_OUT, out / HISTORY):
        if path.exists() and not report.exists():
            raise ValueError(f"{path} would be overwritten by the result: choose another folder with -o, or remove it.")


def _kind_in(report: Path) -> Any:
    try:
        return json.loads(report.read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(request: Request) -> tuple[Records, Coordinates, list[str]]:
    """The table and what its columns are."""
    records = read_records(request.table, request.header)
    only, without, given, categorical = (
        [records.resolve(column) for column in columns]
        for columns in (request.columns, request.drop, request.context, request.categorical)
    )
    _check_once("--columns", only, "--drop", without)
    _check_once("--columns", only, "--context", given)
    _check_once("--context", given, "--drop", without)
    for name in categorical:
        if name not in given:
            raise ValueError(f"--categorical names {name!r}, and only columns of the --context may be categorical.")
    if categorical:  # texts, as they stand in the file: 007 is not 7
        records = read_records(request.table, request.header, texts=categorical)
    coordinates, notes = Coordinates.of(records, only, without, given, categorical)
    return records, coordinates, notes


def _check_once(one: str, first: list[str], other: str, second: list[str]) -> None:
    for option, names in ((one, first), (other, second)):
        twice = [name for k, name in enumerate(names) if name in names[:k]]
        if twice:
            raise ValueError(f"{option} names {twice[0]!r} twice.")
    both = [name for name in first if name in second]
    if both:
        raise ValueError(f"{one} and {other} both name {both[0]!r}: leave it out in one of them.")


def _others(request: Request, coordinates: Coordinates) -> Records | None:
    """The table to validate on."""
    if request.validation is None:
        return None
    known = [feature.name for feature in coordinates.features.columns]
    named = coordinates.features.named
    records = read_records(request.validation, None, known if named else (), coordinates.features.texts)
    return coordinates.arranged(records)[0]


def _settings(request: Request, records: Records, coordinates: Coordinates) -> dict[str, Any]:
    """The arguments of the estimator; columns by their numbers from 0."""
    bounds = {_place("--bounds", name, records, coordinates): pair for name, pair in request.bounds.items()}
    periods = {_place("--periodic", name, records, coordinates): value for name, value in request.periods.items()}
    for place in bounds.keys() & periods.keys():
        raise ValueError(f"--bounds and --periodic both name {coordinates.names[place]!r}, which can be only one.")
    return {
        **request.parameters,
        "bounds": bounds or None,
        "periods": periods or None,
        "random_state": request.seed,
    }


def _place(option: str, name: str, records: Records, coordinates: Coordinates) -> int:
    column = records.resolve(name)
    if column not in coordinates.names:
        raise ValueError(f"{option} names {column!r}, whose density is not learned: leave it out there.")
    return coordinates.names.index(column)


def _check_bounds(records: Records, coordinates: Coordinates, bounds: dict[int, tuple[float, float]] | None) -> None:
    """Raise ValueError, saying where, if a value does not lie between its bounds."""
    for place, (low, high) in (bounds or {}).items():
        name = coordinates.names[place]
        column = coordinates.rows(records)[:, place]
        beyond = np.flatnonzero((column <= low) | (column >= high))
        if len(beyond):
            raise ValueError(
                f"{records.source}: {records.at(int(beyond[0]), name)} is {column[beyond[0]]:g}, and a number above "
                f"{low:g} and below {high:g} is expected, as --bounds says; {len(beyond):,} values are not such."
            )


def _fitted(
    request: Request,
    coordinates: Coordinates,
    records: Records,
    others: Records | None,
    settings: dict[str, Any],
    *,
    resume: bool,
    quiet: bool,
) -> Any:
    """The density, fitted."""
    from diffeo.estimators import DensityFlow
    from diffeo.estimators.columns import check_density
    from diffeo.estimators.tabular_density import TableDensity

    model = TableDensity(DensityFlow(**settings), coordinates)
    check_density(coordinates.rows(records), f"{records.source}: a density", coordinates.names)
    with Progress(quiet) as progress:
        return model.fit(records, others, callbacks=(progress,), checkpoint=request.out / CHECKPOINT, resume=resume)


def _written(
    request: Request, records: Records, model: Any, parts: dict[str, Records], notes: list[str]
) -> dict[str, Any]:
    """All files, each of which appears complete or not at all; the model last but for its checkpoint."""
    from diffeo.cli import scoring
    from diffeo.cli.density import words
    from diffeo.registration.course import write_history
    from diffeo.results.tables import Distributed

    scores = {name: model.score(part)[0] for name, part in parts.items()}
    checks = model.check(parts["training"], parts["holdout"]) if "holdout" in parts else model.estimator.report_
    report = words.report(request, records, model, scores, checks, parts, notes)
    request.out.mkdir(parents=True, exist_ok=True)
    report |= origin(request, Distributed(model.coordinates), records)
    scoring.write_json(request.out / REPORT, report)
    words.draw(request.out / PICTURE, model, parts["training"], checks, request.table)
    held = request.out / HELD_OUT
    if "holdout" in parts:
        places = list(parts["holdout"].places)
        lines = zip(places, scores["holdout"].tolist(), strict=True)
        scoring.write_rows(held, [[records.unit, "log_density"], *map(list, lines)])
    else:
        held.unlink(missing_ok=True)  # that of an earlier fit would be mistaken for its own
    write_history(request.out / HISTORY, model.estimator.history_.records)
    kept = ("versions", "parameters", "seed", "training", "holdout")
    model.save(request.out / MODEL, {name: report[name] for name in kept})
    (request.out / CHECKPOINT).unlink(missing_ok=True)
    return report
