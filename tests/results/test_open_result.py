"""What was saved comes back as it was: map, report, history, shapes, and the picture, to the last pixel."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

import diffeo
from diffeo.cli.main import main
from diffeo.estimators.tabular import TableModel
from diffeo.estimators.tabular_density import TableDensity
from diffeo.fit import Record
from diffeo.registration.course import read_history, write_history
from diffeo.registration.origin import facts, relative
from tests.cli.results import together
from tests.cli.tables import QUICK, QUICK_DENSITY, measured, prices, rings
from tests.marks import cases
from tests.registration.scenes import bend, cube, picture, square
from tests.registration.shapes import ball, blob, cloud

FEW = {"max_iterations": 2, "align": diffeo.NoAlignment()}


def labels():
    image = picture(square(24))
    return dataclasses.replace(image, values=(image.values > 0.5).float(), interpolation=diffeo.Nearest())


def masked():
    image = picture(square(24))
    mask = torch.zeros(image.grid.shape)
    mask[2:-2, 2:-2] = 1
    return dataclasses.replace(image, mask=mask, attributes={"space": "pixels (x = column, y = row)", "note": "a"})


def weighted(seed):
    x = cloud(20, 2, seed).x
    return diffeo.Points(x, torch.linspace(0.1, 1, 20, dtype=x.dtype), attributes={"id": np.arange(20, dtype=np.int16)})


PAIRS = {
    "points": lambda: (cloud(30), cloud(30, seed=1)),
    "points with weights": lambda: (weighted(0), weighted(1)),
    "points on a line": lambda: (cloud(12, 1), cloud(12, 1, 1)),
    "points of five dimensions": lambda: (cloud(12, 5), cloud(12, 5, 1)),
    "a curve": lambda: (blob(20), blob(24, 0.1)),
    "a surface": lambda: (ball(3), ball(3, 0.3)),
    "a picture with a mask": lambda: (picture(square(24), bend), masked()),
    "labels": lambda: (dataclasses.replace(picture(square(24), bend), interpolation=diffeo.Cubic()), labels()),
    "a volume": lambda: (picture(cube(12), bend), picture(cube(12))),
}


def drawn(figure):
    """Its pixels."""
    figure.set_dpi(60)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def same(a, b):
    """Whether two maps are the same to the last bit."""
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return type(a) is type(b) and all(j == k and torch.equal(x, y) for (j, x), (k, y) in pairs)


def check(result, folder):
    again = diffeo.open_result(folder)
    assert isinstance(again, diffeo.Registration)
    assert again.report == result.report
    assert list(again.history) == list(result.history)
    assert same(again.phi, result.phi)
    for name in ("source", "target", "moved"):
        assert facts(getattr(again, name)) == facts(getattr(result, name)), name
    assert np.array_equal(drawn(again.plot()), drawn(result.plot()))
    return again


@pytest.mark.parametrize("name", cases(list(PAIRS), slow=PAIRS.keys() - {"labels"}))
def test_a_registration_comes_back(name, tmp_path):
    result = diffeo.register(*PAIRS[name](), **FEW)
    again = check(result, result.save(tmp_path / "out"))
    kept = getattr(result.target, "attributes", {})
    assert {k: np.asarray(v).tolist() for k, v in again.target.attributes.items()} == {
        k: np.asarray(v).tolist() for k, v in kept.items()
    }
    assert type(getattr(again.target, "interpolation", None)) is type(getattr(result.target, "interpolation", None))


@pytest.mark.slow
def test_several_shapes_at_once_come_back(tmp_path):
    result = together()
    again = check(result, result.save(tmp_path / "out"))
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")
    check(again, again.save(tmp_path / "elsewhere"))  # in place of its own files


@pytest.mark.slow
def test_files_that_are_known_are_not_copied(tmp_path):
    for name, shape in (("a.ply", ball(3)), ("b.ply", ball(3, 0.3))):
        diffeo.write(tmp_path / name, shape)
    files = tmp_path / "a.ply", tmp_path / "b.ply"
    result = diffeo.register(*map(diffeo.read, files), **FEW)
    out = result.save(
        tmp_path / "deep" / "out", like=files[0], files=dict(zip(("source", "target"), files, strict=True))
    )
    assert json.loads((out / "report.json").read_text())["files"] == {"source": "../../a.ply", "target": "../../b.ply"}
    assert not {"source.safetensors", "target.safetensors"} & {path.name for path in out.iterdir()}
    check(result, out)


@pytest.mark.slow
def test_the_file_that_the_source_came_from_is_known_unless_it_is_another(tmp_path):
    diffeo.write(tmp_path / "a.ply", ball(3))
    source = diffeo.read(tmp_path / "a.ply")
    result = diffeo.register(source, ball(3, 0.3), **FEW)
    out = result.save(tmp_path / "out", like=tmp_path / "a.ply")
    assert json.loads((out / "report.json").read_text())["files"] == {
        "source": "../a.ply", "target": "target.safetensors",
    }  # fmt: skip
    moved = diffeo.register(dataclasses.replace(source, x=1.1 * source.x), ball(3, 0.3), **FEW)
    out = moved.save(tmp_path / "other", like=tmp_path / "a.ply")
    assert json.loads((out / "report.json").read_text())["files"]["source"] == "source.safetensors"


TRAINED = {
    "classifier": (rings, ("train", "-t", "where", *QUICK)),
    "regressor": (prices, ("train", "-t", "price", *QUICK, "--holdout", "0")),
    "categories": (prices, ("train", "-t", "price", *QUICK, "--categorical", "floor", "--drop", "city")),
    "density": (measured, ("density", "fit", "--columns", "x,income", "--bounds", "income=0:", *QUICK_DENSITY)),
    "context": (measured, ("density", "fit", "--columns", "x", "--context", "city,hour", *QUICK_DENSITY)),
}


@pytest.mark.parametrize("name", cases(list(TRAINED), slow=TRAINED.keys() - {"classifier"}))
@pytest.mark.slow
def test_a_network_and_a_density_come_back_with_their_rows(name, tmp_path, monkeypatch):
    made = {}
    for kind in (TableModel, TableDensity):
        save = kind.save
        monkeypatch.setattr(kind, "save", lambda self, *a, save=save: (made.update(model=self), save(self, *a))[1])
    table, (verb, *options) = TRAINED[name]
    verbs = ["density", options.pop(0)] if verb == "density" else [verb]
    with redirect_stdout(io.StringIO()):
        assert main([*verbs, str(table(tmp_path / "a.csv")), "-o", str(tmp_path / "out"), *options, "-q"]) == 0
    estimator, again = made["model"].estimator, diffeo.open_result(tmp_path / "out")
    assert type(again) is type(estimator)
    assert same(again.phi_, estimator.phi_)
    assert again.history_.records == estimator.history_.records
    assert (again.history_.reason, again.history_.converged) == (
        estimator.history_.reason, estimator.history_.converged,
    )  # fmt: skip
    for mine, theirs in zip(again.rows_, estimator.rows_, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or np.array_equal(mine, theirs)
    report = {}
    if isinstance(again, diffeo.DensityFlow):
        told = json.loads((tmp_path / "out" / "report.json").read_text())["checks"]
        assert again.report_.to_dict() == told
        cities = ["city=Lima", "city=Oslo", "city=Rome", "hour"]
        assert vars(again)["context_names_"] == (cities if name == "context" else [])
        report = {"report": again.report_}
    pictures = drawn(again.plot(**report)), drawn(estimator.plot(names=again.names_, **report))
    assert np.array_equal(*pictures)


def test_a_history_comes_back_with_all_digits(tmp_path):
    records = [Record(0, 1 / 3, 0.0, float("inf"), 1e-300, 0.1), Record(1, -2.5, 0.1, 7e22, 1.0, 2.0, 1, 3, 9, 0.7)]
    write_history(tmp_path / "h.csv", records)
    assert read_history(tmp_path / "h.csv") == records
    write_history(tmp_path / "h.csv", [])
    assert read_history(tmp_path / "h.csv") == []
    assert read_history(tmp_path / "none.csv") == []


def test_ways_to_files_begin_at_the_folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.ply").write_text("")
    (tmp_path / "link.ply").symlink_to(tmp_path / "data" / "a.ply")
    (tmp_path / "short").symlink_to(tmp_path / "data")
    out = tmp_path / "x" / "out"
    assert relative(tmp_path / "data" / "a.ply", out) == "../../data/a.ply"
    assert relative(tmp_path / "short" / "a.ply", out) == "../../data/a.ply"
    assert relative(tmp_path / "link.ply", out) == "../../link.ply"  # as version control of large files has it
