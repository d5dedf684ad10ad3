"""``plot``, ``animate`` and ``report`` with what they cannot draw: one sentence, exit code 2, and no file touched."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from diffeo.cli.main import main
from tests.cli.files import octahedron, ring, transform
from tests.cli.results import classifier, photo, points
from tests.cli.tables import rings
from tests.cli.test_cli_density_bad import contents
from tests.cli.test_cli_main import one_sentence
from tests.marks import cases

VERBS = {"plot": "plot.png", "animate": "animation.gif", "report": "report.html"}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A folder with a result in ``out``, beside what it was made from, by kind, made when it is asked for."""
    found = {}

    def of(kind):
        if kind not in found:
            found[kind] = kind(tmp_path_factory.mktemp(kind.__name__)).parent
        return found[kind]

    return of


def check(argv, words, folder, capsys):
    """One sentence with these words, exit code 2, nothing on stdout, and every file as it was."""
    before = contents(folder)
    assert main([*map(str, argv)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert one_sentence(err), err
    assert contents(folder) == before


# what is wrong with a result, or with what it was made from: each case changes a copy of a tree


def with_report(**changes):
    def change(tree):
        report = json.loads((tree / "out" / "report.json").read_text()) | changes
        report = {name: value for name, value in report.items() if value is not None}
        (tree / "out" / "report.json").write_text(json.dumps(report))

    return change


def with_text(name, text):
    return lambda tree: (tree / name).write_text(text)


def without(*names):
    return lambda tree: [(tree / name).unlink() for name in names]


def truncated(name):
    return lambda tree: (tree / name).write_bytes((tree / name).read_bytes()[:-100])


def renamed(old, new):
    return lambda tree: (tree / old).rename(tree / new)


def changed_values(tree):
    table = tree / "a.csv"
    table.write_text(table.read_text().replace("0.8000", "0.8001"))


def gone(tree):
    shutil.rmtree(tree / "out")


def unreadable(tree):
    (tree / "a.csv").chmod(0)
    if os.access(tree / "a.csv", os.R_OK):
        pytest.skip("root may read everything")


OLD = {"files": None, "made_from": None}
BAD = {
    "no such folder": (points, gone, "there is no such folder"),
    "no map": (points, without("out/transform.safetensors"), "holds no result: transform.safetensors or"),
    "no model": (classifier, without("out/model.safetensors"), "holds no result"),
    "no report": (points, without("out/report.json"), "holds no report.json"),
    "a damaged report": (points, truncated("out/report.json"), "report.json: it is damaged"),
    "a report of nothing": (points, with_text("out/report.json", "[1]"), "not a report of diffeo"),
    "a report without figures": (points, with_report(energy=None), "it says nothing of 'energy'"),
    "another one's report": (points, with_report(seconds=0.5), "is not the report of"),
    "a report of another kind": (points, with_report(table="a.csv"), "but to another result"),
    "a truncated map": (points, truncated("out/transform.safetensors"), "truncated"),
    "a truncated model": (classifier, truncated("out/model.safetensors"), "truncated"),
    "another program's map": (points, with_text("out/transform.safetensors", "none"), "not a safetensors file"),
    "a model in the place of a map": (
        classifier,
        lambda tree: shutil.copy(tree / "out" / "model.safetensors", tree / "out" / "transform.safetensors")
        and with_report(table=None)(tree),
        "transform",
    ),
    "an unreadable course": (points, with_text("out/history.csv", "iteration,data\n1,much\n"), "history.csv: it is"),
    "an empty course": (points, with_text("out/history.csv", "a\n1\n"), "history.csv: it is not the course"),
    "no source": (points, without("a.csv"), "there is no such file; say with source (--source)"),
    "no target": (points, without("b.csv"), "say with target (--target)"),
    "no mask": (photo, without("mask.png"), "cannot read the mask"),
    "another mask": (photo, renamed("b.png", "mask.png"), "b.png"),
    "a source without permission": (points, unreadable, "permission"),
    "a source of more points": (points, lambda t: ring(t / "a.csv", 21), "points: 21 instead of 20"),
    "a source that was moved": (points, lambda t: ring(t / "a.csv", shift=0.1), "it holds other numbers"),
    "a source in space": (points, lambda t: ring(t / "a.csv", d=3), "dimension: 3 instead of 2"),
    "an empty source": (points, with_text("a.csv", ""), "it is empty"),
    "nobody knows the source": (points, with_report(**OLD), "does not say where the source is"),
    "no table": (classifier, without("a.csv"), "there is no such file; say with table (--table)"),
    "nobody knows the table": (classifier, with_report(**OLD), "does not say where the table is"),
    "a table of more rows": (classifier, lambda t: rings(t / "a.csv", 42), "it has 42 rows instead of 40"),
    "a table of other values": (classifier, changed_values, "it has other values"),
    "a table without a column": (classifier, lambda t: rings(t / "a.csv", header="u,v,where"), "lacks 2 columns"),
    "a table without a target": (classifier, lambda t: rings(t / "a.csv", header="x,y,who"), "lacks the target"),
}  # fmt: skip


@pytest.mark.parametrize("case", cases(list(BAD), slow=["no mask", "another mask"]))
def test_what_cannot_be_drawn(case, trees, tmp_path, capsys):
    kind, change, words = BAD[case]
    tree = shutil.copytree(trees(kind), tmp_path / "tree")
    change(tree)
    verb = list(VERBS)[len(case) % 3]
    check([verb, tree / "out"], words, tmp_path, capsys)


# what is wrong with the command

COMMANDS = {
    "a file that is no result": (points, lambda t: [t / "a.csv"], "the folder of a result is expected"),
    "a folder of something else": (points, lambda t: [t], "holds no result"),
    "a table of a registration": (points, lambda t: [t / "out", "--table", t / "a.csv"], "made from no table"),
    "a source of a network": (classifier, lambda t: [t / "out", "--source", t / "a.csv"], "made from no source"),
    "a mask of points": (points, lambda t: [t / "out", "--mask", t / "a.csv"], "--mask is for images"),
    "a source that is not there": (points, lambda t: [t / "out", "--source", t / "c.csv"], "c.csv: there is no such"),
    "a source that is a folder": (points, lambda t: [t / "out", "--source", t], "there is no such file"),
    "a source of another kind": (
        points, lambda t: [t / "out", "--source", octahedron(t / "c.off")], "kind: Mesh instead of Points",
    ),
    "a map for a source": (
        points, lambda t: [t / "out", "--source", transform(t / "c.safetensors")], "c.safetensors holds no shape",
    ),
    "the target for the source": (points, lambda t: [t / "out", "--source", t / "b.csv"], "b.csv is not the source"),
    "a table that is not there": (classifier, lambda t: [t / "out", "--table", t / "c.csv"], "c.csv: there is no such"),
    "an output of another kind": (points, lambda t: [t / "out", "-o", t / "a.txt"], "--out expects a file that ends"),
    "an output without a kind": (points, lambda t: [t / "out", "-o", t / "a"], "--out expects a file that ends with"),
    "no output": (points, lambda t: [t / "out", "-o"], "--out"),
    "no result": (points, lambda t: [], "RESULT is missing"),
    "two results": (points, lambda t: [t / "out", t / "out"], "unexpected argument"),
    "an unknown option": (points, lambda t: [t / "out", "--colour", "red"], "--colour"),
}  # fmt: skip


@pytest.mark.parametrize("case", COMMANDS)
@pytest.mark.parametrize("verb", VERBS)
def test_commands_that_make_no_sense(case, verb, trees, tmp_path, capsys):
    kind, argv, words = COMMANDS[case]
    tree = shutil.copytree(trees(kind), tmp_path / "tree")
    check([verb, *argv(tree)], words, tmp_path, capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_outputs_that_cannot_be_written(verb, trees, tmp_path, capsys):
    tree = shutil.copytree(trees(points), tmp_path / "tree")
    name = VERBS[verb]
    check([verb, tree / "out", "-o", tree / "none" / name], "there is no folder", tmp_path, capsys)
    (tree / "out" / name).mkdir()
    check([verb, tree / "out"], "it is a folder, and a file is expected", tmp_path, capsys)


FILMS = {
    "one moment": (("--moments", "1"), "--moments expects a whole number of at least 2, and got 1"),
    "half a moment": (("--moments", "2.5"), "a whole number is expected"),
    "no time": (("--seconds", "0"), "--seconds expects a positive, finite number"),
    "all time": (("--seconds", "inf"), "--seconds"),
    "no resolution": (("--dpi", "-80"), "--dpi expects a positive"),
    "a huge resolution": (("--dpi", "6000"), "--dpi expects 600 at most"),
}


@pytest.mark.parametrize("case", FILMS)
def test_films_that_make_no_sense(case, trees, tmp_path, capsys):
    options, words = FILMS[case]
    check(["animate", trees(points) / "out", *options], words, trees(points), capsys)


def test_a_film_that_needs_another_program(trees, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    argv = ["animate", trees(points) / "out", "-o", tmp_path / "f.mp4"]
    check(argv, "f.mp4 needs ffmpeg, which is not on this system", tmp_path, capsys)


@pytest.mark.slow
def test_what_a_result_was_made_from_is_not_overwritten(trees, tmp_path, capsys):
    tree = shutil.copytree(trees(photo), tmp_path / "tree")
    for name in ("a.png", "b.png", "mask.png"):
        check(["plot", tree / "out", "-o", tree / name], "from which the result was made", tmp_path, capsys)


@pytest.mark.parametrize("name", ["history.csv", "report.png", "moved.png", "warp.nii.gz"])
def test_files_are_not_registered_over_themselves(name, tmp_path, capsys):
    ring(tmp_path / "b.csv")
    (tmp_path / name).write_text("mine")
    argv = ["register", tmp_path / name, tmp_path / "b.csv", "-o", tmp_path]
    check(argv, f"{name} would be overwritten by the result", tmp_path, capsys)


def test_a_table_is_not_trained_over_itself(tmp_path, capsys):
    rings(tmp_path / "history.csv")
    for verb in (["train", "-t", "where"], ["density", "fit", "--drop", "where"]):
        argv = [*verb[:1], *(verb[1:2] if verb[0] == "density" else []), tmp_path / "history.csv", "-o", tmp_path]
        check([*argv, *verb[-2:]], "history.csv would be overwritten by the result", tmp_path, capsys)
