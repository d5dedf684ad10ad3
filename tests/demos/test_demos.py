"""Every demo at a small size: its assertions hold, and its picture shows something."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[2] / "demos"
SIZES = {
    "faces": {"n": 60, "iterations": 120, "rows": 800, "moments": 3},
    "curves": {"text": "e", "spacing": 3.0},
    "surfaces": {"cell": 0.7},
    "landmarks": {"lines": 9, "fine": 21},
    "three_ways": {"n": 30, "steps": 6, "iterations": 100},
    "slices": {"height": 160},
    "pl": {"width": 400, "layers": 4},
    "volumes": {"voxel": 3.0},
    "compound": {"size": 0.5},
    "spirals": {"n": 60, "steps": 12, "iterations": 120},
    "depth": {"depths": (10, 100), "n": 20, "iterations": 40},
    "rkhs_node": {"count": 100, "epochs": 12, "iterations": 40},
    "same": {"n": 50},
    "geodesic": {"n": 8, "depth": 6, "iterations": 60},
    "densities": {"names": ("8gaussians", "moons"), "n": 800, "components": 8, "depth": 3, "width": 32, "max_iter": 5},
    "cells": {"rows": 250},
    "svgd": {"n": 200, "layers": 120},
    "morph": {"n": 1000, "layers": 10, "epochs": 30},
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def check_picture(path):
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    assert min(height, width) > 300
    drawn = (pixels != 255).any(2)
    for half in np.array_split(drawn, 2, axis=1):  # nothing is drawn on one side only
        assert half.mean() > 0.03
    assert not drawn[[0, -1]].any(), "something is cut off above or below"
    assert not drawn[:, [0, -1]].any(), "something is cut off at a side"
    assert path.stat().st_size < 250_000


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_demo(name, tmp_path):
    picture = tmp_path / f"{name}.png"
    importlib.import_module(name).main(**SIZES[name], out=picture)
    check_picture(picture)


@pytest.mark.slow
def test_first(tmp_path, capsys):
    picture = tmp_path / "first.png"
    report = importlib.import_module("first").main(tmp_path / "demo-out", cell=2.0, picture=picture)
    check_picture(picture)
    printed = capsys.readouterr().out
    assert "report.png" in printed
    assert report["converged"]
    assert report["inverse_error"] < 1e-6


def test_every_demo_is_tested_and_shown():
    demos = {path.stem for path in FOLDER.glob("[a-z]*.py")}
    assert demos == {*SIZES, "first"}
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for name in demos:
        picture = FOLDER.parent / "assets" / f"{name}.png"
        assert f"assets/{name}.png" in readme
        check_picture(picture)
