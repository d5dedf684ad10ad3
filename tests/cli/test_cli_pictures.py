"""``diffeo plot``, ``animate`` and ``report``: of every kind of result a picture, a film and a page with content."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

import diffeo
from diffeo.cli.main import main
from diffeo.viz.page.table import written
from tests.cli import results
from tests.cli.results import KINDS, REGISTRATIONS, TABLES, run
from tests.cli.tables import prices
from tests.marks import cases
from tests.viz.browser import in_browser, ink, opened, pixels

QUICK = ["points", "classifier"]
TITLES = {name: f"a.{end} → b.{end}" for name, end in (("curve", "npz"), ("mesh", "off"), ("photo", "png"))}
TITLES |= {"points": "a.csv → b.csv", "scan": "a.nii.gz → b.nii.gz", "compound": "Registration"}
TITLES |= {"classifier": "a.csv: where", "regressor": "a.csv: price", "density": "a.csv"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a result, made when it is asked for."""
    folders = {}

    def of(kind):
        if kind not in folders:
            folders[kind] = KINDS[kind](tmp_path_factory.mktemp(kind))
        return folders[kind]

    return of


def told(out):
    return json.loads((out / "report.json").read_text())


def colors(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("kind", cases(list(KINDS), slow=KINDS.keys() - set(QUICK)))
@pytest.mark.slow
def test_a_picture(kind, made, monkeypatch, capsys):
    out, figures, save = made(kind), [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))[1])
    assert main(["plot", str(out)]) == 0
    shown = capsys.readouterr()
    assert str(out / "plot.png") in shown.out
    assert shown.err == ""
    picture = colors(out / "plot.png")
    assert picture.shape[0] > 700
    assert picture.shape[1] > 1000
    assert len(np.unique(picture @ (1, 256, 65536))) > 100
    assert 0.02 < ink(picture) < 0.9
    (figure,) = figures
    texts = [text.get_text() for text in figure.texts]
    if kind != "compound":  # of no file
        assert TITLES[kind] in texts
    captions = {ax.get_title(loc="left") or ax.get_title() for ax in figure.axes} | set(texts)
    assert captions & {"Fit", "Training"}  # history.csv was read


@pytest.mark.parametrize("kind", cases(list(KINDS), slow=KINDS.keys() - set(QUICK)))
def test_a_film(kind, made):
    out = made(kind)
    assert run("animate", out, "--moments", 3, "--seconds", 1, "--dpi", 40) == 0
    with Image.open(out / "animation.gif") as film:
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(film)]
    assert len(frames) >= 4  # three moments, and back
    change = [np.abs(a - b).max() for a, b in itertools.pairwise(frames)]
    assert min(change) > 50
    assert all(ink(frame) > 0.02 for frame in frames)


@pytest.mark.parametrize("kind", cases(list(KINDS), slow=KINDS.keys() - {"classifier"}))
def test_a_page(kind, made):
    out = made(kind)
    assert run("report", out) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"<title>{TITLES[kind]}</title>" in page
    assert len(page) < 8e6
    report = told(out)
    for name in ("energy", "seconds"):
        assert written(report[name]) in page, name
    if kind in TABLES:
        name = {"classifier": "accuracy", "regressor": "rmse", "density": "nll"}[kind]
        assert written(-report["holdout"][name] if kind == "density" else report["holdout"][name]) in page
    assert report["versions"]["torch"] in page
    assert str(out.parent) not in page  # a page that is sent tells nothing of the machine


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["curve", "density"])
def test_a_page_opens_in_a_browser(kind, made, tmp_path):
    assert run("report", made(kind), "-o", tmp_path / "r.html") == 0
    with opened(tmp_path / "r.html") as page:
        assert page.title() == TITLES[kind]
        assert ink(pixels(page, "main")) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".PNG"])
def test_pictures_of_other_formats_stand_where_they_are_asked_for(suffix, made, tmp_path):
    path = tmp_path / f"p{suffix}"
    before = sorted(made("points").iterdir())
    assert run("plot", made("points"), "-o", path) == 0
    head = {".pdf": b"%PDF", ".svg": b"<?xml", ".PNG": b"\x89PNG"}[suffix]
    assert path.read_bytes().startswith(head)
    assert path.stat().st_size < 3e6
    assert sorted(made("points").iterdir()) == before


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.slow
def test_films_for_slides(made, tmp_path):
    assert run("animate", made("points"), "-o", tmp_path / "f.mp4", "--moments", 3, "--dpi", 40) == 0
    assert (tmp_path / "f.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["points", "classifier"])
def test_the_map_or_the_model_stands_for_its_folder(kind, made, capsys):
    out = made(kind)
    file = next(out.glob("*.safetensors"))
    assert main(["plot", str(file), "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (out / "plot.png").exists()


@pytest.mark.parametrize(("kind", "file"), [("points", "b.csv"), ("classifier", "a.csv")])
def test_a_tree_moves_as_a_whole(kind, file, made, tmp_path):
    shutil.copytree(made(kind).parent, tmp_path / kind)
    diffeo.open_result(tmp_path / kind / "out")
    (tmp_path / kind / file).write_text("0.5,1\n1,2\n2,0\n")
    with pytest.raises(ValueError, match=str(tmp_path / kind / file)):  # it is this tree's that is read
        diffeo.open_result(tmp_path / kind / "out")


@pytest.mark.slow
def test_files_that_are_elsewhere_now_are_said_where(made, tmp_path):
    shutil.copytree(made("points"), tmp_path / "out")
    for name in ("a.csv", "b.csv"):
        shutil.copy(made("points").parent / name, tmp_path / f"moved-{name}")
    files = ("--source", tmp_path / "moved-a.csv", "--target", tmp_path / "moved-b.csv")
    assert run("plot", tmp_path / "out", *files, "-o", tmp_path / "p.png") == 0
    result = diffeo.open_result(tmp_path / "out", source=files[1], target=files[3])
    assert result.report["energy"] == told(made("points"))["energy"]


@pytest.mark.slow
def test_a_folder_of_an_older_version_is_drawn_without_its_course(made, tmp_path):
    for kind in ("points", "classifier"):
        out = shutil.copytree(made(kind), tmp_path / kind)
        (out / "history.csv").unlink()
        report = told(out)
        (out / "report.json").write_text(
            json.dumps({k: v for k, v in report.items() if k not in ("files", "made_from")})
        )
        where = made(kind).parent
        files = ("--table", where / "a.csv") if kind == "classifier" else ("--source", where / "a.csv")
        files += () if kind == "classifier" else ("--target", where / "b.csv")
        assert run("plot", out, *files, "-o", tmp_path / "p.png") == 0
        assert 0.02 < ink(colors(tmp_path / "p.png")) < 0.9


def test_a_network_without_its_table_still_predicts(made, tmp_path):
    out = shutil.copytree(made("classifier"), tmp_path / "deep" / "out")
    network = diffeo.open_result(out)
    assert not hasattr(network, "rows_")
    assert network.predict([[0.1, 0.8]]).tolist() == ["inner"]
    with pytest.raises(ValueError, match="expects rows"):
        network.plot()
    network = diffeo.open_result(out, table=made("classifier").parent / "a.csv")
    assert len(network.rows_[0]) == told(out)["training"]["rows"]


def test_no_training_row_is_written(made):
    out = made("classifier")
    held = {line.split(",")[0] for line in (out / "holdout.csv").read_text().splitlines()[1:]}
    rows = (out.parent / "a.csv").read_text().splitlines()[1:]
    contents = b"".join(path.read_bytes() for path in out.iterdir() if path.suffix in (".csv", ".json", ".safetensors"))
    for number, row in enumerate(rows, 2):
        x, y, _ = row.split(",")
        assert str(number) in held or f"{x},{y}".encode() not in contents


def test_fits_say_where_to_look(tmp_path, capsys):
    table = prices(tmp_path / "a b.csv")
    assert main(["train", str(table), "-t", "price", "-o", str(tmp_path / "o p"), *results.QUICK]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"diffeo report '{tmp_path / 'o p'}' makes a page of it"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_info_still_tells_of_the_folder(kind, made, capsys):
    assert main(["info", str(made(kind)), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    if kind in REGISTRATIONS:
        assert facts["energy"] == pytest.approx(told(made(kind))["energy"], rel=1e-5, abs=1e-12)
