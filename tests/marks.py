"""Cases that take long go with the slow tests, where others show the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest


def cases(of: Mapping[str, Any] | Sequence[Any], slow: Collection[Any], name: Callable[[Any], str] = str) -> list[Any]:
    """Parameters for ``pytest.mark.parametrize``, of which those in ``slow`` are run with the slow tests.

    Args:
        of: values by their names, or values alone.
        slow: which of them take long; names, where there are names.
        name: what a value is called that has no name.
    """
    named = of if isinstance(of, Mapping) else {name(value): value for value in of}
    late = slow if isinstance(of, Mapping) else {name(value) for value in slow}
    assert set(late) <= set(named), f"{set(late) - set(named)} is no case"
    return [pytest.param(v, id=k, marks=[pytest.mark.slow] if k in late else []) for k, v in named.items()]
