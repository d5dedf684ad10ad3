"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str], parents: bool = False) -> Iterator[Path]:
    """A temporary path to write to; it takes the place of ``path`` when the block ends well, and is removed otherwise.

    The temporary file lies in the same folder (so that the rename is atomic) and ends as it does (for libraries
    that guess the format from it). A process killed meanwhile leaves ``path`` as it was. A link is written through.

    Args:
        path: the file to create or replace.
        parents: create the folders that are missing.
    Raises: ValueError if the folder is missing or cannot be written to, or if ``path`` is a folder.
    """
    target = Path(path).resolve()
    _check_target(target, parents)
    temporary = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_target(target: Path, parents: bool) -> None:
    """Raise ValueError unless a file can be made at ``target``."""
    folder = target.parent
    if target.is_dir():
        raise ValueError(f"cannot write {target}: it is a folder, and a file name is expected.")
    if parents:
        _make(folder)
    if not folder.is_dir():
        hint = "a file is in its place" if folder.exists() else "create it first"
        raise ValueError(f"cannot write {target}: there is no folder {folder} ({hint}).")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write {target}: the folder {folder} is not writable; choose another one.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot create the folder {folder}: {error.strerror or error}.") from None
