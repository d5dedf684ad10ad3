"""What is said, written and drawn of a trained model and its predictions."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from diffeo.cli.output import print_rows, show, tell_more, without_nan
from diffeo.io.atomic import replacing

WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
}


def report(request: Any, records: Any, model: Any, results: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Everything there is to say, as JSON can hold it."""
    import sklearn

    from diffeo.registration.report import versions

    estimator, history = model.estimator, model.estimator.history_
    last = history[len(history) - 1]
    scores = {name: {"rows": len(result.values)} | (result.scores() or {}) for name, result in results.items()}
    return {
        "table": str(request.table),
        "target": model.target.name,
        "task": model.target.task.value,
        "why": model.target.why,
        "rows": len(records),
        "columns": [feature.name for feature in model.features.columns],
        "features": len(model.features.labels),
        "classes": None if model.classes is None else model.classes.tolist(),
        "training": scores["training"],
        "holdout": scores.get("holdout"),
        "baseline": baseline(results, model.classes),
        "energy": float(estimator.phi_.energy()),
        "objective": last.objective,
        "data": last.data,
        "iterations": len(history) - 1,
        "converged": history.converged,
        "diverged": history.reason.startswith("diverged"),
        "reason": history.reason,
        "seconds": last.seconds,
        "certificate": certificate(estimator),
        "parameters": {name: plain(value) for name, value in estimator.get_params(deep=False).items()},
        "seed": request.seed,
        "versions": versions() | {"scikit-learn": sklearn.__version__},
        "notes": notes,
        "history": [[r.iteration, r.objective, r.energy, r.data] for r in history.records],
    }


def baseline(results: dict[str, Any], classes: Any) -> dict[str, float]:
    """The score, on the rows held out or else on all, of saying the most frequent class, or the mean, every time."""
    from diffeo.tables.scores import classification_scores, regression_scores

    learned, judged = results["training"].truth, results.get("holdout", results["training"]).truth
    if classes is None:
        return regression_scores(judged, np.full(len(judged), learned.mean()))
    labels, counts = np.unique(learned, return_counts=True)
    return classification_scores(judged, np.full(len(judged), labels[counts.argmax()]))


def certificate(estimator: Any) -> dict[str, Any] | None:
    """What is proven of the map; None where nothing can be."""
    try:
        found = estimator.certificate()
    except ValueError:
        return None
    return {
        "invertible": found.invertible,
        "layers": len(found.bounds),
        "layers_invertible": sum(found.layers_invertible),
        "lipschitz": found.lipschitz,
        "inverse_lipschitz": found.inverse_lipschitz,
    }


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def write_json(path: Path, value: Any) -> None:
    """JSON that every parser accepts, complete or not at all."""
    with replacing(path, parents=True) as temporary:
        text = json.dumps(without_nan(value), indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def draw(path: Path, model: Any, results: dict[str, Any], source: str) -> None:
    """The course of the fit, and predictions against the truth."""
    from diffeo.tables.scores import confusion
    from diffeo.viz import learning

    named = {"training": "training", "holdout": "hold-out"}
    which = "holdout" if "holdout" in results else "training"
    shown = results[which]

    def panel(ax: Any) -> None:
        if model.classes is None:
            pairs = {named[name]: (result.truth, result.values) for name, result in results.items()}
            learning.agreement(ax, pairs, model.target.name)
        else:
            counts = confusion(shown.truth, shown.values, model.classes)
            learning.confusion(ax, counts, [str(label) for label in model.classes], named[which])

    remark = ",  ".join(f"{WORDS[name]} {show(value)}" for name, value in (shown.scores() or {}).items())
    figure = learning.learning(
        model.estimator.history_.records, panel, f"{Path(source).name}: {model.target.name}", remark
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def write_holdout(path: Path, records: Any, rows: Any, result: Any, target: str) -> None:
    """The rows that were held out: where they are in the table, the truth, and what is predicted."""
    places = [records.places[k] for k in rows]
    lines = zip(places, result.truth.tolist(), result.values.tolist(), strict=True)
    write_rows(path, [[records.unit, target, "predicted"], *map(list, lines)])


def write_rows(path: Path, rows: list[list[Any]]) -> None:
    """A csv file, complete or not at all; tsv by its extension."""
    with replacing(path, parents=True) as temporary:
        temporary.write_text(as_csv(rows, "\t" if path.suffix.lower() == ".tsv" else ","), encoding="utf-8", newline="")


def as_csv(rows: list[list[Any]], separator: str = ",") -> str:
    """Rows as text; numbers with all their digits."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue()


def summarize(facts: dict[str, Any], out: Path) -> None:
    """A training in a few lines for people."""
    columns = len(facts["columns"])
    used = f"{show(columns)} column{'s' if columns > 1 else ''}"
    numbers = f", {show(facts['features'])} numbers" if facts["features"] != columns else ""
    ended = facts["reason"] or ("converged" if facts["converged"] else "")
    rows = [
        ("task", f"{facts['task']} ({facts['why']})"),
        ("data", f"{show(facts['rows'])} rows, {used}{numbers}"),
        ("training", in_words(facts["training"])),
        ("hold-out", in_words(facts["holdout"]) if facts["holdout"] else None),
        ("without a model", in_words(facts["baseline"])),
        ("energy", facts["energy"]),
        ("certificate", proven(facts["certificate"])),
        ("iterations", f"{show(facts['iterations'])}: {ended}" if ended else facts["iterations"]),
        ("seconds", facts["seconds"]),
        ("notes", "\n".join(facts["notes"])),
    ]
    print_rows("diverged" if facts["diverged"] else "done", rows)
    print(f"files: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))} in {out}")
    tell_more(out)


def in_words(scores: dict[str, Any]) -> str:
    """Scores on one line."""
    told = [f"{WORDS[name]} {_number(value)}" for name, value in scores.items() if name in WORDS]
    count = f"  ({show(scores['rows'])} rows)" if "rows" in scores else ""
    return ", ".join(told) + count


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else show(float(value))


def proven(found: dict[str, Any] | None) -> str | None:
    """A certificate on one line."""
    if found is None:
        return None
    kept = f"{found['layers_invertible']} of {found['layers']} layers proven invertible"
    return f"{kept}, Lipschitz constant at most {show(found['lipschitz'])}"
