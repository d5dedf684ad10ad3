"""Every demo at a small size: its assertions hold, its picture shows something, and can be read where it is shown."""

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from tests.viz.texts import clipped, written

FOLDER = Path(__file__).parents[2] / "demos"
ASSETS = FOLDER.parent / "assets"
SIZES = {
    "faces": {"height": 112, "n": 60, "iterations": 120, "rows": 800, "moments": 3},
    "first": {"cell": 2.0, "voxel": 6.0},
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
DEMOS = sorted(FOLDER.glob("[a-z]*.py"))
PAGE = 830 / 96  # inches: how wide the project page shows a picture
SMALLEST = 6.9  # points, there
DRAWN = ("rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli")


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def saved(monkeypatch):
    """All figures that are written to files."""
    figures, write = [], Figure.savefig

    def spy(self, *args, **options):
        figures.append(self)
        write(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", spy)
    return figures


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


def check_film(path):
    with Image.open(path) as film:
        assert film.n_frames > 2
        film.seek(0)
        first = np.asarray(film.convert("RGB")).astype(float)
        film.seek(film.n_frames // 2)
        assert np.abs(np.asarray(film.convert("RGB")) - first).mean() > 0.5, "nothing moves"
    assert path.stat().st_size < 1_500_000


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_demo(name, tmp_path, monkeypatch, saved, capsys):
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "pictures" / f"{name}.png"
    demo = importlib.import_module(name)
    demo.main(**SIZES[name], out=picture)
    check_picture(picture)
    assert picture.with_suffix(".gif").exists() == (ASSETS / f"{name}.gif").exists()
    if picture.with_suffix(".gif").exists():
        check_film(picture.with_suffix(".gif"))
    assert capsys.readouterr().out.strip(), "it says nothing"
    figure = saved[0]  # pages have pictures of their own
    smallest = SMALLEST * figure.get_figwidth() / PAGE
    small = {t.get_text() for t in figure.findobj(Text) if t.get_text().strip() and t.get_fontsize() < smallest}
    assert not small, "too small to be read on the project page"
    assert not clipped(figure, written(figure, monkeypatch))


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_a_demo_is_one(path):
    """It says what it is, and which lines make it; it asserts something, and has a size for tests."""
    demo = importlib.import_module("_demo").read(path)
    assert demo.name in SIZES
    assert demo.seconds <= 150
    assert f"assets/{demo.name}." in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_chance_is_fixed(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "default_rng":
                assert node.args
            if ast.unparse(node.func) in {f"torch.{name}" for name in DRAWN}:
                assert "generator" in {keyword.arg for keyword in node.keywords}


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_pictures_are_of_the_demos_as_they_are(path):
    pictures = importlib.import_module("_pictures")
    picture = ASSETS / f"{path.stem}.png"
    check_picture(picture)
    assert pictures.maker(picture) == pictures.fingerprint(path), "make it again: make gallery"
    if picture.with_suffix(".gif").exists():
        check_film(picture.with_suffix(".gif"))


def test_sizes_are_of_demos():
    assert set(SIZES) == {path.stem for path in DEMOS}
