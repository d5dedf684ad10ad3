"""What is said, written and drawn of a density that was fitted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffeo.cli.output import print_rows, show, tell_more
from diffeo.io.atomic import replacing
from diffeo.tables import Records

Array = NDArray[Any]


def report(
    request: Any,
    records: Records,
    model: Any,
    scores: dict[str, Array],
    checks: Any,
    parts: dict[str, Records],
    notes: list[str],
) -> dict[str, Any]:
    """Everything there is to say, as JSON can hold it.

    Args:
        request: what was asked for.
        records: the whole table.
        model: a `TableDensity`, fitted.
        scores: log-densities of the rows of each part.
        checks: a `DensityReport`.
        parts: the rows that were fitted, and, where there are some, those that were held out.
        notes: what was decided, a sentence each.
    """
    import sklearn

    from diffeo.cli.density.fitting import KIND
    from diffeo.registration.report import versions

    estimator, history, names = model.estimator, model.estimator.history_, model.coordinates.names
    last = history[len(history) - 1]
    settings = estimator.get_params(deep=False)
    settings.pop("check")  # the density is checked in any case
    by_name = {key: {names[k]: v for k, v in (settings.pop(key) or {}).items()} for key in ("bounds", "periods")}
    return {
        "kind": KIND,
        "table": str(request.table),
        "rows": len(records),
        "columns": names,
        "context": model.coordinates.context,
        **by_name,
        "training": likelihood(scores["training"]),
        "holdout": likelihood(scores["holdout"]) if "holdout" in scores else None,
        "baseline": gaussian(model.coordinates, parts),
        "energy": estimator.energy_,
        "geodesic_distance": estimator.geodesic_distance_,
        "problems": checks.problems,
        "checks": checks.to_dict(),
        "in_words": str(checks),
        "objective": last.objective,
        "data": last.data,
        "validation": last.validation,
        "iterations": len(history) - 1,
        "converged": history.converged,
        "diverged": history.reason.startswith("diverged"),
        "reason": history.reason,
        "seconds": last.seconds,
        "parameters": settings,
        "seed": request.seed,
        "versions": versions() | {"scikit-learn": sklearn.__version__},
        "notes": notes,
        "history": [[r.iteration, r.objective, r.energy, r.data, r.validation] for r in history.records],
    }


def likelihood(scores: Array) -> dict[str, float]:
    """The negative log-likelihood of a row, in nats, with its standard error; of those within the bounds, if any."""
    inside = scores[np.isfinite(scores)]
    n = len(inside)
    return {
        "rows": len(scores),
        "of_density_0": len(scores) - n,
        "nll": float(-inside.mean()) if n else math.inf,
        "standard_error": float(inside.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
    }


def gaussian(coordinates: Any, parts: dict[str, Records]) -> float | None:
    """The negative log-likelihood, of the rows held out or else of all, of a Gaussian of the same mean and covariance.

    None of conditional densities, and where there are too few rows.
    """
    import torch

    from diffeo.estimators.standardization import Standardization
    from diffeo.laws import Gaussian

    if coordinates.context:
        return None
    x = coordinates.rows(parts["training"])
    columns = Standardization.of(x)
    judged = coordinates.rows(parts.get("holdout", parts["training"]))
    try:
        law = Gaussian.fitted(torch.from_numpy(columns.forward(x)))
    except ValueError:
        return None
    score = float(law.log_prob(torch.from_numpy(columns.forward(judged))).mean())
    return float(np.log(columns.spread).sum()) - score


def draw(path: Path, model: Any, records: Records, checks: Any, table: Path) -> None:
    """What was fitted beside the rows, in a file that appears complete or not at all."""
    given = f", given {', '.join(model.coordinates.context)}" if model.coordinates.context else ""
    figure = model.plot(records, checks, f"{table.name}{given}".replace("$", r"\$"))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def summarize(facts: dict[str, Any], out: Path) -> None:
    """A fit in a few lines for people."""
    given = f", given {', '.join(facts['context'])}" if facts["context"] else ""
    ended = facts["reason"] or ("converged" if facts["converged"] else "")
    rows = [
        ("density", f"of {', '.join(facts['columns'])}{given}"),
        ("data", f"{show(facts['rows'])} rows"),
        ("training", in_words(facts["training"])),
        ("hold-out", in_words(facts["holdout"]) if facts["holdout"] else None),
        ("a Gaussian", None if facts["baseline"] is None else f"{_decimals(facts['baseline'])} nats"),
        ("energy", facts["energy"]),
        ("checks", facts["in_words"].replace(". ", ".\n")),
        ("iterations", f"{show(facts['iterations'])}: {ended}" if ended else facts["iterations"]),
        ("seconds", facts["seconds"]),
        ("notes", "\n".join(facts["notes"])),
    ]
    print_rows("diverged" if facts["diverged"] else "no density" if facts["problems"] else "done", rows)
    print(f"files: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))} in {out}")
    tell_more(out)


def in_words(found: dict[str, Any]) -> str:
    """A likelihood on one line."""
    error = found["standard_error"]
    about = f" ± {error:.2g}" if error is not None and math.isfinite(error) else ""
    outside = f", {show(found['of_density_0'])} of density 0" if found["of_density_0"] else ""
    score = f"negative log-likelihood {_decimals(found['nll'])}{about} nats a row"
    return f"{score}  ({show(found['rows'])} rows{outside})"


def _decimals(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:,.4f}"
