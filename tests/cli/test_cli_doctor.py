"""``diffeo doctor`` tells what is there, what works and what to do about the rest."""

from __future__ import annotations

import json

from diffeo.backends import CPUBackend, DenseBackend, KeOpsBackend
from diffeo.cli import machine
from diffeo.cli.main import main


def survey(capsys, monkeypatch, *argv):
    monkeypatch.setattr(machine, "SECONDS", 0.01)
    assert main(["doctor", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_versions_machine_and_speeds(capsys, monkeypatch):
    found = survey(capsys, monkeypatch)
    assert found["versions"]["torch"][0].isdigit()
    assert found["machine"]["processors"] >= 1
    assert found["backends"]["dense"]["works"]
    assert found["backends"]["dense"]["pairs_per_second"] > 1e4
    assert found["backends"]["cpu"]["pairs_per_second"] > 1e4
    assert found["backends"]["keops"]["pairs_per_second"] is None


def test_a_backend_that_cannot_work_says_why_and_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(KeOpsBackend, "unavailable", lambda self: "KeOps needs a C++ compiler: install g++.")
    found = survey(capsys, monkeypatch, "--all")
    assert found["backends"]["keops"] == {
        "works": False,
        "reason": "KeOps needs a C++ compiler: install g++.",
        "pairs_per_second": None,
    }
    assert found["advice"][-1] == "keops: KeOps needs a C++ compiler: install g++."


def test_a_backend_that_breaks_or_lies_is_reported_and_not_fatal(capsys, monkeypatch):
    def broken(*_):
        raise OSError("the cache cannot be written")

    monkeypatch.setattr(CPUBackend, "reduce", broken)
    monkeypatch.setattr(DenseBackend, "reduce", lambda self, f, j, rows, columns: (rows[0] * 0,))
    found = survey(capsys, monkeypatch)["backends"]
    assert "the cache cannot be written" in found["cpu"]["reason"]
    assert "differs" in found["dense"]["reason"]


def test_text(capsys, monkeypatch):
    monkeypatch.setattr(machine, "SECONDS", 0.01)
    monkeypatch.setattr(machine, "_version", lambda name: "not installed" if name in machine.OPTIONAL else "1.0")
    monkeypatch.setattr(KeOpsBackend, "unavailable", lambda self: None)  # with or without a compiler here
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "million pairs per second" in text
    assert "diffeo doctor --all" in text
    assert "diffeo[vtk]" in text
    assert "diffeo[itk]" in text
