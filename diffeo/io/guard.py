"""Whatever is wrong with a file becomes one sentence that names it."""

from __future__ import annotations

import logging
import lzma
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

_BROKEN = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)

T = TypeVar("T")


def check_readable(path: Path) -> None:
    """Raise ValueError unless the file is there, can be opened, and is not empty."""
    if path.is_dir():
        raise ValueError(f"cannot read {path}: it is a folder, and a file is expected.")
    if not path.exists():
        raise ValueError(f"cannot read {path}: there is no such file.")
    if not os.access(path, os.R_OK):
        raise ValueError(f"cannot read {path}: you have no permission to.")
    if path.stat().st_size == 0:
        raise ValueError(f"cannot read {path}: it is empty.")


def guarded(path: Path, action: Callable[[], T], verb: str = "read") -> T:
    """Do it; whatever a broken file makes a reader raise becomes one sentence that names the file."""
    try:
        return action()
    except _BROKEN as error:
        reason = str(error) if isinstance(error, ValueError) else f"it is damaged ({type(error).__name__}: {error})"
        way_out = "; copy or export it again" if "truncated" in reason or "damaged" in reason else ""
        raise ValueError(f"cannot {verb} {path}: {' '.join(reason.split()).rstrip('.')}{way_out}.") from None
    except MemoryError:
        raise ValueError(f"cannot {verb} {path}: it needs more memory than there is.") from None
    except OSError as error:
        raise ValueError(f"cannot {verb} {path}: {error.strerror or error}.") from None


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether the name ends with one of the extensions, which may have two parts, as .nii.gz has."""
    return path.name.lower().endswith(suffixes)


@contextmanager
def silenced(logger: str) -> Iterator[None]:
    """Inside, a library does not log what is wrong with a file: it is told in one sentence, or does no harm."""
    found = logging.getLogger(logger)
    before = found.disabled
    found.disabled = True
    try:
        yield
    finally:
        found.disabled = before
