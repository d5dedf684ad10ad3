"""The folder of a result: what is in it, and what its report says of where it comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Any

from diffeo.fit import Record
from diffeo.registration.course import HISTORY, read_history
from diffeo.registration.origin import FILES, MADE_FROM

TRANSFORM, MODEL, REPORT = "transform.safetensors", "model.safetensors", "report.json"


@dataclass(frozen=True)
class Folder:
    """The folder of a result.

    Attributes:
        path: where it is.
        file: the map, or the model.
        report: report.json, without what it says of files.
        files: what the result was made from, by roles: where it was when the result was written.
        made_from: facts by which that is known again, by roles.
        history: the course of the fit; empty where older versions left none.
    """

    path: Path
    file: Path
    report: dict[str, Any]
    files: dict[str, Path]
    made_from: dict[str, Any]
    history: list[Record]

    @classmethod
    def of(cls, path: Path) -> Folder:
        """Read what is small in it.

        Args:
            path: the folder, or the map or the model in it.

        Raises: ValueError if that is no result.
        """
        if not path.exists():
            raise ValueError(f"cannot open {path}: there is no such folder.")
        if not path.is_dir() and path.name not in (TRANSFORM, MODEL):
            raise ValueError(f"cannot open {path}: the folder of a result is expected, or its {TRANSFORM} or {MODEL}.")
        place = path if path.is_dir() else path.parent
        found = [name for name in (TRANSFORM, MODEL) if (place / name).is_file()]
        if not found:
            raise ValueError(
                f"{place} holds no result: {TRANSFORM} or {MODEL} is expected in it, as register, train and density "
                "fit write them."
            )
        report = _report(place / REPORT)
        file = place / (MODEL if "table" in report else TRANSFORM)
        if file.name not in found or (path.is_file() and path.name != file.name):
            raise ValueError(
                f"{place / REPORT} does not belong to {place / found[0]}, but to another result: run the command again "
                "that wrote them."
            )
        files = {role: Path(normpath(place.resolve() / text)) for role, text in report.pop(FILES, {}).items()}
        return cls(place, file, report, files, report.pop(MADE_FROM, {}), read_history(place / HISTORY))

    def told(self, name: str) -> Any:
        """What the report says. Raises ValueError where it says nothing."""
        try:
            return self.report[name]
        except KeyError:
            raise ValueError(f"cannot read {self.path / REPORT}: it is damaged, it says nothing of {name!r}.") from None

    def check(self, metadata: dict[str, Any]) -> None:
        """Raise ValueError unless the report is that of the map or model, which this stands beside."""
        for name in ("parameters", "seed", "seconds"):
            if name in metadata and metadata[name] != self.told(name):
                raise ValueError(
                    f"{self.path / REPORT} is not the report of {self.file}, but of another run: run the command again "
                    "that wrote them."
                )

    def find(self, role: str, given: Path | None) -> Path:
        """The file of a role, which is there.

        Args:
            role: source, target, mask or table.
            given: where it is, if that is not what the report says.

        Raises: ValueError if it is not known, or not there.
        """
        place = given or self.files.get(role)
        if place is None:
            raise ValueError(f"{self.path / REPORT} does not say where the {role} is: {hint(role)}.")
        if not place.is_file():
            where = "" if given else ", where it was when the result was made"
            raise ValueError(f"cannot read the {role} {place}{where}: there is no such file; {hint(role)}.")
        return place


def hint(role: str) -> str:
    """What to do about a file that is not there, or not the right one."""
    return f"say with {role} (--{role}) where the file is that the result was made from"


def _report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}, which says what the result was made from.")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        shaped = isinstance(report, dict) and all(isinstance(report.get(key, {}), dict) for key in (FILES, MADE_FROM))
        if not shaped or not all(isinstance(text, str) for text in report.get(FILES, {}).values()):
            raise TypeError
    except (OSError, ValueError, TypeError):
        raise ValueError(f"cannot read {path}: it is damaged, or not a report of diffeo.") from None
    return report
