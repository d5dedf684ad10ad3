"""The progress bar shows what the fit says, and nothing where nobody looks."""

from __future__ import annotations

import io
import time

import pytest
import rich.console

from diffeo.cli import progress
from diffeo.cli.progress import Progress, Waiting
from diffeo.fit import Record


def records():
    for stage in range(2):
        for iteration in range(1, 4):
            yield Record(iteration, 2.0, 0.125, 1.75, 1.0, 0.1, stage, 2, 3)


def run(monkeypatch, terminal, quiet=False):
    stream = io.StringIO()
    console = rich.console.Console(file=stream, force_terminal=terminal, width=120)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    with Progress(quiet) as callback:
        for record in records():
            callback(record)
            if callback._bar is not None:
                callback._bar.refresh()
    return stream.getvalue()


def test_stage_iteration_energy_and_data_term_are_shown(monkeypatch):
    text = run(monkeypatch, terminal=True)
    for words in ("stage 1 of 2", "stage 2 of 2", "3/3", "energy 0.125", "data 1.75"):
        assert words in text


def test_nothing_is_drawn_into_a_file_or_when_quiet(monkeypatch):
    assert run(monkeypatch, terminal=False) == ""
    assert run(monkeypatch, terminal=True, quiet=True) == ""


def test_the_bar_is_taken_away_when_the_fit_fails(monkeypatch):
    console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    with pytest.raises(RuntimeError), Progress() as callback:
        raise RuntimeError
    assert not callback._bar.live.is_started


def waited(monkeypatch, patience, terminal=True, quiet=False):
    stream = io.StringIO()
    console = rich.console.Console(file=stream, force_terminal=terminal, width=120)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    monkeypatch.setattr(progress, "PATIENCE", patience)
    with Waiting(quiet, "writing bend.gif") as callback:
        for k in range(3):
            callback(k + 1, 3)
            time.sleep(0.15)
    return stream.getvalue()


@pytest.mark.slow
def test_what_takes_long_has_a_bar_and_what_does_not_has_none(monkeypatch):
    assert "writing bend.gif" in waited(monkeypatch, 0.01)
    assert waited(monkeypatch, 60.0) == ""
    assert waited(monkeypatch, 0.01, terminal=False) == ""
    assert waited(monkeypatch, 0.01, quiet=True) == ""
