"""The README tells the truth: its code runs, its commands work, its options and its defaults are the library's own."""

import inspect
import json
import re
import shlex
from pathlib import Path

import pytest

import diffeo
from diffeo.cli.animate import animate
from diffeo.cli.apply import apply
from diffeo.cli.density.fit import fit
from diffeo.cli.density.sample import sample
from diffeo.cli.density.score import score
from diffeo.cli.doctor import doctor
from diffeo.cli.evaluate import evaluate
from diffeo.cli.info import info
from diffeo.cli.main import main as shell
from diffeo.cli.plot import plot
from diffeo.cli.predict import predict
from diffeo.cli.register import register
from diffeo.cli.report import report
from diffeo.cli.train import train
from diffeo.registration import scales
from diffeo.registration.register import CLOUD, TIME_ERROR
from diffeo.registration.settings import Settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("diffeo ")
]
REPORT = re.findall(r"`(\w+)`", TEXT.split("### What the report says")[1].split("## ")[0])


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder in which ``make demo`` has run, only on coarser surfaces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "demos")
    from first import brains, hippocampus, tables

    (tmp_path / "demo-out").mkdir()
    diffeo.write("demo-out/source.ply", hippocampus(1.3, 1.0, 5.0, [-0.75, 0.0, 0.75], 2.7))
    diffeo.write("demo-out/target.ply", hippocampus(2.8, 3.0, 5.0, [-0.9, 0.05, 0.7], 2.8))
    brains(tmp_path / "demo-out", 6.0)
    tables(tmp_path / "demo-out")
    return tmp_path


@pytest.mark.slow
def test_python_blocks_run_in_order(made):
    assert len(PYTHON) >= 6
    names = {}
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    before, after = (names["result"].report[key] for key in ("distance_before", "distance_after"))
    assert after < before / 5
    assert {path.name for path in (made / "out-python").iterdir()} == {
        "moved.ply", "transform.safetensors", "report.json", "report.png", "history.csv", "source.safetensors",
        "target.safetensors",
    }  # fmt: skip


@pytest.mark.slow
def test_commands_work_in_order(made, capsys):
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        assert shell(shlex.split(command)[1:]) == 0, command
    for name in ("moved.ply", "transform.safetensors", "report.json", "report.png", "again.ply"):
        assert (made / "out" / name).exists()
    for name in ("warp.nii.gz", "inverse_warp.nii.gz", "jacobian.nii.gz", "moved.nii.gz"):
        assert (made / "brain" / name).exists()
    documented = set(REPORT) | {f"distance_{when}_{what}" for when in ("before", "after") for what in ("p95", "max")}
    for folder in ("out", "brain", "shot"):
        assert set(json.loads((made / folder / "report.json").read_text())) <= documented


def test_every_option_exists():
    options = {
        verb.__name__: {name.replace("_", "-") for name in inspect.signature(verb).parameters} | {"help"}
        for verb in (register, apply, info, doctor, evaluate, train, predict, fit, sample, score, plot, animate, report)
    }
    assert set(re.findall(r"--([a-z][a-z-]*)", TEXT)) <= set().union(*options.values())
    for command in COMMANDS:
        verb = next(word for word in shlex.split(command)[1:] if word != "density")
        assert set(re.findall(r" --([a-z][a-z-]*)", command)) <= options[verb], command


def test_defaults_are_those_of_the_library():
    section = " ".join(TEXT.split("## How to choose scales")[1].split("\n## ")[0].split())
    widths = [scales.WIDEST / 2**k for k in range(scales.HALVINGS + 1)]
    assert ", ".join(f"{w:g}" for w in widths[:-1]) + f" and {widths[-1]:g} of the extent" in section
    assert f"The default is {scales.FINEST:g} of the extent, or {scales.SPACINGS:g} times the mean distance" in section
    assert f"in stages, from {scales.COARSEST:g} of the extent" in section
    assert f"the default is {Settings().weight:g}." in section
    assert f"at most {Settings().controls} points" in section
    assert f"more than {CLOUD:,} points" in section
    assert f"below {TIME_ERROR:.4f} of the extent" in " ".join(TEXT.split())


def test_names_and_files_exist():
    for name in re.findall(r"`(\w+(?:Kernel|Loss|Backend))`", TEXT):
        assert hasattr(diffeo, name), name
    headings = {line.strip("# ").lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith("#")}
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert link[1:] in headings if link.startswith("#") else (ROOT / link).exists(), link
