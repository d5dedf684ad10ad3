"""``open_result``: what register, train and density fit left in a folder, as the objects that they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeo.results.folder import MODEL, Folder


def open_result(
    folder: str | Path,
    *,
    source: str | Path | None = None,
    target: str | Path | None = None,
    mask: str | Path | None = None,
    table: str | Path | None = None,
) -> Any:
    """Read a result again.

    What it was made from stays where it was, and is read there: report.json says where that is. It is checked to be
    the same. A table is needed only for pictures: where it is gone, a network or a density comes without its rows.

    Args:
        folder: what register, train or density fit wrote, or `Registration.save`; or the map or the model in it.
        source, target: the shapes of a registration, if they are elsewhere now.
        mask: the mask of the target, if it is elsewhere now.
        table: the table of a network or a density, if it is elsewhere now.

    Returns: a `Registration`, a `ResNetClassifier`, a `ResNetRegressor` or a `DensityFlow`.
    Raises: ValueError, in one sentence, for what is no result, and for files that are gone or not those that it was
        made from.
    """
    found = Folder.of(Path(folder))
    given = {"source": source, "target": target, "mask": mask, "table": table}
    places = {role: Path(path) for role, path in given.items() if path is not None}
    roles = {"table"} if found.file.name == MODEL else {"source", "target", "mask"}
    for role in places.keys() - roles:
        raise ValueError(f"{found.path} was made from no {role}: leave {role} (--{role}) out.")
    if found.file.name == MODEL:
        from diffeo.results.estimators import open_estimator

        return open_estimator(found, places.get("table"))
    from diffeo.results.registrations import open_registration

    return open_registration(found, places)
