"""``diffeo predict``: a trained model and a table in, predictions out."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from diffeo.cli.options import JSON, Switch, check_file, check_folder
from diffeo.cli.output import print_json, print_rows, say

TABLES = (".csv", ".tsv")


def predict(
    model: Path,
    table: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    proba: Switch = False,
    allow_unseen: Switch = False,
    header: bool | None = None,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False,
    json: JSON = False,
) -> int:
    """Predict the target of MODEL for every row of TABLE, in the order of its rows.

    Columns are matched by their names, in any order, and others are not used;
    without a header they are matched by their order. Where TABLE holds the target,
    the score is printed, too.

    Args:
        model: folder that train wrote, or the model.safetensors in it.
        table: the same kind of table, with or without the target.
        out: csv or tsv file for the predictions; by default they are printed.
        proba: also the probability of every class.
        allow_unseen: take categories that the training table lacks for unknown; by default they are an error.
        header: whether the first row names the columns; by default found out.
        quiet: print no notes and no score.
        json: print JSON: predictions, probabilities, score and notes.
    """
    file = model / "model.safetensors" if model.is_dir() else model
    if model.is_dir() and not file.exists():
        raise ValueError(f"cannot read MODEL {model}: there is no {file.name} in it, as train writes it.")
    check_file(file, "MODEL")
    check_file(table, "TABLE")
    if out is not None:
        _check_out(out, (file, table))
    with redirect_stdout(sys.stderr):  # some packages print when they are imported
        from diffeo.estimators.tabular import TableModel
        from diffeo.tables import read_records

        found = TableModel.load(file)
        if proba and found.classes is None:
            raise ValueError("--proba is for classes, and MODEL predicts numbers: leave it out.")
        known = [feature.name for feature in found.features.columns]
        records = read_records(table, header, known if found.features.named else (), found.features.texts)
        result = found.predict(records, lenient=allow_unseen)
    _give(found, result, [*records.notes, *result.notes], out, proba=proba, quiet=quiet, json=json)
    return 0


def _check_out(out: Path, inputs: tuple[Path, ...]) -> None:
    if out.suffix.lower() not in TABLES:
        raise ValueError(f"--out expects a file that ends with {' or '.join(TABLES)}, and got {out}.")
    if out.is_dir():
        raise ValueError(f"cannot write to {out}: it is a folder, and a file is expected.")
    check_folder(out.parent)
    if any(out.exists() and out.samefile(path) for path in inputs):
        raise ValueError(f"{out} would be overwritten by the predictions: choose another file with -o.")


def _give(model: Any, result: Any, notes: list[str], out: Path | None, *, proba: bool, quiet: bool, json: bool) -> None:
    """Write or print predictions, then say how good they are."""
    from diffeo.cli.scoring import as_csv, in_words, write_rows

    scores = result.scores()
    labels = [] if model.classes is None else model.classes.tolist()
    if out is not None or not json:
        head = [model.target.name, *(f"p({label})" for label in labels if proba)]
        probabilities = result.probabilities.tolist() if proba else [[]] * len(result.values)
        rows = [head, *([v, *p] for v, p in zip(result.values.tolist(), probabilities, strict=True))]
        if out is not None:
            write_rows(out, rows)
        else:
            sys.stdout.write(as_csv(rows))
    if json:
        facts = {"target": model.target.name, "task": model.target.task.value, "classes": labels or None}
        facts |= {"predictions": result.values.tolist()} if out is None else {"file": str(out)}
        facts |= {"probabilities": result.probabilities.tolist()} if proba and out is None else {}
        print_json(facts | {"rows": len(result.values), "score": scores, "notes": notes})
    elif not quiet and out is not None:
        score = None if scores is None else in_words(scores)
        told = [("rows", len(result.values)), ("score", score), ("notes", "\n".join(notes))]
        print_rows(f"{model.target.name}: {out}", told)
    elif not quiet:
        for note in notes:
            say(note[0].lower() + note[1:])
        if scores is not None:
            say(f"{in_words(scores)}.")
