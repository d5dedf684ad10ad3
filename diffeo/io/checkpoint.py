"""A file that keeps what a long run has done, so that it can be taken up exactly there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from diffeo.io.tree import load_tree, save_tree

SHARE = 20  # times as long as it took to save, nothing is saved again: what is lost is done again when it is resumed


class Checkpoint:
    """What is kept between iterations.

    Args:
        path: the file; None keeps nothing.
        resume: take up what is in it.
        kind: what is being run, such as "registration", for files and errors.
    """

    def __init__(self, path: str | Path | None, resume: bool, kind: str) -> None:
        self.path, self.resume, self.kind = None if path is None else Path(path), resume, kind
        self.header: dict[str, Any] = {}
        self.next_save = 0.0

    def open(self, fingerprint: str) -> Any:
        """What the same run has kept, as nested dicts and lists of tensors and numbers; None where there is nothing.

        Args:
            fingerprint: a digest of the data and of everything that was asked for.

        Raises: ValueError if the file belongs to another run.
        """
        self.header = {"format": f"diffeo-{self.kind}-1", "fingerprint": fingerprint}
        if self.path is None:
            return None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not (self.resume and self.path.exists()):
            return None
        tree, metadata = load_tree(self.path)
        if any(metadata.get(key) != value for key, value in self.header.items()):
            raise ValueError(
                f"{self.path} belongs to another {self.kind} (other data, options or versions): start without "
                "resuming, or with another file or folder."
            )
        return tree

    def save(self, tree: Any) -> None:
        """Keep it, unless that was done a moment ago."""
        started = time.perf_counter()
        if self.path is None or started < self.next_save:
            return
        save_tree(self.path, tree, self.header)
        ended = time.perf_counter()
        self.next_save = ended + SHARE * (ended - started)
