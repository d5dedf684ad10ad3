"""Networks and densities out of folders, with the rows that they were trained on, where these are still to be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeo.diagnostics import DensityReport
from diffeo.estimators.files import read_estimator
from diffeo.fit import History
from diffeo.results.folder import Folder, hint
from diffeo.results.tables import Array, Distributed, Trained, trained_on
from diffeo.tables import read_records


def open_estimator(folder: Folder, table: Path | None) -> Any:
    """The network or the density in a folder, with its history, its columns' names, its checks, and its rows.

    Args:
        folder: of the result.
        table: where its table is, if that is not what the report says; where it is gone, there are no rows.

    Raises: ValueError for a table that is given and not there, or that is not the one that was trained on.
    """
    estimator, metadata = read_estimator(folder.file)
    folder.check(metadata)
    try:
        trained = trained_on(metadata["table"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder.path} holds an estimator that was not written there by diffeo train or diffeo density fit."
        ) from None
    reason, converged = str(folder.report.get("reason", "")), bool(folder.report.get("converged"))
    known: dict[str, Any] = {"history_": History(folder.history, converged, reason), "names_": trained.names}
    if isinstance(trained, Distributed):
        known |= {"report_": _checks(folder), "context_names_": trained.context}
    if table is not None or ("table" in folder.files and folder.files["table"].is_file()):
        known["rows_"] = _rows(folder, trained, folder.find("table", table))
    vars(estimator).update(known)
    return estimator


def _checks(folder: Folder) -> DensityReport | None:
    """What was checked of a density; None if another version did: pictures then check anew."""
    try:
        return DensityReport.from_dict(folder.report["checks"])
    except (KeyError, TypeError):
        return None


def _rows(folder: Folder, trained: Trained, file: Path) -> tuple[Array, Array | None]:
    """Some of the rows that were trained on, as many as an estimator keeps, and what goes with them."""
    known = folder.made_from.get("table", {})
    names = [feature.name for feature in trained.features.columns] if trained.features.named else ()
    records = read_records(file, known.get("header"), names, trained.features.texts)
    columns = trained.columns(records)
    rows, expected, held = len(records), folder.told("rows"), folder.told("holdout")
    what = f"{rows:,} rows instead of {expected:,}" if rows != expected else "other values"
    if rows != expected or (known and known != trained.facts(records, known.get("header"))):
        raise ValueError(f"{file} is not the table that {folder.path} was made from (it has {what}): {hint('table')}.")
    chosen = trained.split(columns, (held["rows"] if held else 0) / rows, folder.told("seed"))
    return trained.kept((columns[0][chosen], columns[1][chosen]))
