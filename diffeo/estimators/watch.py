"""A training that can be watched, killed, and taken up again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from diffeo.fit import Record
from diffeo.io.checkpoint import Checkpoint


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
        self.callbacks, self.checkpoint = tuple(callbacks), Checkpoint(checkpoint, resume, "training")
        self.state: dict[str, Any] | None = None

    def open(self, x: Tensor, y: Tensor, settings: Any) -> None:
        """Begin, or take up what the same training has kept. Raises ValueError if the file is another one's."""
        digest = hashlib.sha256(repr(settings).encode())
        for value in (x, y):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        self.state = self.checkpoint.open(digest.hexdigest())

    def options(self) -> dict[str, Any]:
        """What `fit` is to be called with."""
        save = None if self.checkpoint.path is None else self.checkpoint.save
        return {"callbacks": self.callbacks, "save": save, "state": self.state}
