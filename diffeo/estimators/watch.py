"""A training that can be watched, killed, and taken up again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from diffeo.fit import Record
from diffeo.io.tree import load_tree, save_tree

FORMAT = "diffeo-training-1"
SHARE = 20  # times as long as it took to save, nothing is saved again


class Watch:
    """Who is told of every iteration, and which file keeps what was done.

    Args:
        callbacks: called with every `Record`.
        checkpoint: a file, rewritten now and then while training; removed by the caller.
        resume: go on from it, if it exists.
    """

    def __init__(
        self,
        callbacks: Sequence[Callable[[Record], None]] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> None:
        self.callbacks, self.resume = tuple(callbacks), resume
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.state: dict[str, Any] | None = None
        self.fingerprint, self.next_save = "", 0.0

    def open(self, x: Tensor, y: Tensor, settings: Any) -> None:
        """Begin, or take up what the same training has kept. Raises ValueError if the file is another one's."""
        digest = hashlib.sha256(repr(settings).encode())
        for value in (x, y):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if not (self.resume and self.checkpoint.exists()):
            return
        tree, metadata = load_tree(self.checkpoint)
        if metadata.get("format") != FORMAT or metadata.get("fingerprint") != self.fingerprint:
            raise ValueError(
                f"{self.checkpoint} belongs to another training (other data or options): start without resuming, or "
                "with another file."
            )
        self.state = tree

    def options(self) -> dict[str, Any]:
        """What `fit` is to be called with."""
        save = self._save if self.checkpoint is not None else None
        return {"callbacks": self.callbacks, "save": save, "state": self.state}

    def _save(self, state: dict[str, Any]) -> None:
        started = time.perf_counter()
        if self.checkpoint is None or started < self.next_save:
            return
        save_tree(self.checkpoint, state, {"format": FORMAT, "fingerprint": self.fingerprint})
        ended = time.perf_counter()
        self.next_save = ended + SHARE * (ended - started)
