"""``diffeo train``: files out, what is decided and said, interruptions, and forty kinds of bad input."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from PIL import Image

from diffeo.cli import choices
from diffeo.cli.main import main
from diffeo.cli.progress import Progress
from diffeo.estimators import ResNetRegressor, parts
from diffeo.estimators.files import load_estimator
from diffeo.estimators.tabular import TableModel
from diffeo.tables import read_records
from tests.cli.tables import QUICK, prices, rings
from tests.cli.test_cli_main import one_sentence
from tests.cli.test_cli_register import interrupted_after, keyboard_interrupt
from tests.marks import cases

FILES = ["history.csv", "holdout.csv", "model.safetensors", "report.json", "report.png"]


def run(*argv):
    return main(["train", *map(str, argv)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One complete run that many tests look at: its folder, what it printed, its exit code."""
    folder = tmp_path_factory.mktemp("whole")
    with redirect_stdout(io.StringIO()) as text:
        code = run(rings(folder / "a.csv"), "-t", "where", "-o", folder / "new" / "out", *QUICK)
    return folder / "new" / "out", text.getvalue(), code


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    """A regression: its folder and its report."""
    folder = tmp_path_factory.mktemp("regression")
    assert run(prices(folder / "a.csv"), "-t", "price", "-o", folder / "out", *QUICK, "-q") == 0
    return folder / "out", json.loads((folder / "out" / "report.json").read_text())


def test_out_holds_the_model_the_report_a_picture_and_what_was_held_out(whole):
    out, _, code = whole
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    with Image.open(out / "report.png") as image:
        assert image.size[0] > 1000


def test_the_report_is_that_of_the_model(whole):
    out = whole[0]
    report = json.loads((out / "report.json").read_text())
    model = TableModel.load(out / "model.safetensors")
    records = read_records(out.parents[1] / "a.csv")
    held = np.loadtxt(out / "holdout.csv", delimiter=",", dtype=str, skiprows=1)
    rows = [list(records.places).index(int(place)) for place in held[:, 0]]
    result = model.predict(records.take(np.array(rows)))
    assert len(rows) == 4 == report["holdout"]["rows"]
    assert result.values.tolist() == held[:, 2].tolist()
    assert result.truth.tolist() == held[:, 1].tolist()
    assert report["holdout"]["accuracy"] == (held[:, 1] == held[:, 2]).mean()
    rest = records.take(np.array([k for k in range(len(records)) if k not in rows]))
    assert report["training"] == {"rows": 36, **model.predict(rest).scores()}
    assert report["training"]["accuracy"] > 0.9
    assert report["baseline"]["accuracy"] == 0.5
    assert (report["task"], report["classes"], report["columns"]) == ("classification", ["inner", "outer"], ["x", "y"])
    assert report["energy"] == pytest.approx(float(model.estimator.phi_.energy()))
    assert report["parameters"]["depth"] == 3
    assert len(report["history"]) == report["iterations"] + 1


def test_the_summary_says_what_was_decided_and_how_good_it_is(whole):
    out, text, _ = whole
    for words in (
        "classification ('where' holds 2 different texts)",
        "40 rows, 2 columns",
        "hold-out",
        "accuracy",
        str(out),
    ):
        assert words in text
    assert "certificate" in text


def test_a_regression_with_categories(regression):
    out, report = regression
    assert report["task"] == "regression"
    assert (report["columns"], report["features"]) == (["size", "city", "floor"], 5)
    assert report["holdout"]["rmse"] < 0.5 * report["baseline"]["rmse"]
    assert report["holdout"]["r2"] > 0.5
    assert load_estimator(out / "model.safetensors").n_features_in_ == 5


def test_the_same_command_gives_the_same_model_to_the_last_bit(whole, tmp_path, capsys):
    table = whole[0].parents[1] / "a.csv"
    assert run(table, "-t", "where", "-o", tmp_path / "out", *QUICK, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert err == ""
    for name in ("model.safetensors", "holdout.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes()


def test_every_option_reaches_the_network(tmp_path, capsys):
    options = (
        "--features x,2 --field features --head ridge --train gradient --depth 2 --width 6 --scale 0.7 --weight 0.01 "
        "--penalty 0.2 --solver midpoint --extra-dims 1 --holdout 0.25 --max-iter 3 --tol 0.1 --time-limit 60 "
        "--dtype float64 --seed 5 --task classification --json"
    )
    assert run(rings(tmp_path / "a.csv"), "-t", "-1", "-o", tmp_path / "out", *options.split()) == 0
    report = json.loads(capsys.readouterr().out)
    expected = {
        "field": "features", "head": "ridge", "train": "gradient", "depth": 2, "width": 6, "scale": 0.7, "weight": 0.01,
        "penalty": 0.2, "solver": "midpoint", "extra_dims": 1, "max_iter": 3, "tol": 0.1, "time_limit": 60,
        "dtype": "float64", "random_state": 5,
    }  # fmt: skip
    assert expected.items() <= report["parameters"].items()
    assert report["holdout"]["rows"] == 10
    assert report["why"].startswith("as asked")


def test_every_name_on_the_command_line_is_one_of_the_estimators():
    for table, names in (
        (choices.Velocity, parts.FIELDS),
        (choices.ReadOut, parts.HEADS),
        (choices.Way, parts.WAYS),
        (choices.Layers, parts.SOLVERS),
    ):
        assert {choice.value for choice in table} == set(names)
        assert all(choice.value == choice.name.replace("_", "-") for choice in table)


def test_what_was_decided_is_noted(tmp_path, capsys):
    rows = "\n".join(f"{k},{k % 5},{k % 2},1,{(k % 5) * 2.5}" for k in range(12))
    (tmp_path / "a.csv").write_text(f"id,n,zip,c,y\n{rows}\n")
    options = ("--holdout", "0", "--drop", "id", "--categorical", "zip", "--json")
    assert run(tmp_path / "a.csv", "-t", "y", "-o", tmp_path / "out", *QUICK, *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["columns"] == ["n", "zip"]
    assert report["notes"] == ["Left out: 'c' is 1 in all rows."]
    assert report["holdout"] is None
    assert "holdout.csv" not in {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.slow
def test_arrays_are_tables_too(tmp_path, capsys):
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", X=draw.normal(size=(30, 2)), y=draw.normal(size=30))
    assert run(tmp_path / "a.npz", "-t", "y", "-o", tmp_path / "out", *QUICK, "--json") == 0
    assert json.loads(capsys.readouterr().out)["columns"] == ["X1", "X2"]


def test_few_rows_are_all_trained_on(tmp_path, capsys):
    assert run(rings(tmp_path / "a.csv", n=8), "-t", "where", "-o", tmp_path / "out", *QUICK, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["holdout"] is None
    assert "Nothing is held out of 8 rows" in report["notes"][0]


def test_an_older_result_is_replaced_and_other_files_are_left(whole, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    for name in (*FILES, "notes.txt"):
        (out / name).write_text("old")
    table = whole[0].parents[1] / "a.csv"
    assert run(table, "-t", "where", "-o", out, *QUICK, "--holdout", "0", "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "model.safetensors", "notes.txt", *FILES[3:]]
    assert not (out / "holdout.csv").exists()
    assert (out / "notes.txt").read_text() == "old"
    assert TableModel.load(out / "model.safetensors").target.name == "where"


# interruption


def test_an_interrupted_training_says_how_to_resume_and_ends_the_same(whole, tmp_path, capsys, monkeypatch):
    command = (whole[0].parents[1] / "a.csv", "-t", "where", "-o", tmp_path / "out", *QUICK)
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(4, keyboard_interrupt))
        assert run(*command) == 130
    err = capsys.readouterr().err
    assert one_sentence(err)
    assert "--resume" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.safetensors"]
    assert run(*command, "--resume") == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (whole[0] / "model.safetensors").read_bytes()
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", [way.value for way in choices.Way])
def test_every_way_of_training_resumes_to_the_same_model(method, tmp_path, monkeypatch):
    options = ("-t", "where", *QUICK[2:], "--depth", "5", "--train", method, "-q", "-o")
    table = rings(tmp_path / "a.csv")
    assert run(table, *options, tmp_path / "whole") == 0
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(4, keyboard_interrupt))
        assert run(table, *options, tmp_path / "out") == 130
    assert run(table, *options, tmp_path / "out", "--resume") == 0
    model, whole = (tmp_path / name / "model.safetensors" for name in ("out", "whole"))
    assert model.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_model(whole, tmp_path):
    script = (
        "import os, signal, sys, torch\nfrom diffeo.cli.main import main\nfrom diffeo.cli.progress import Progress\n"
        "torch.set_num_threads(1)\n"
        "def call(self, record):\n    if record.iteration == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Progress.__call__ = call\nsys.exit(main(sys.argv[1:]))"
    )
    table = str(whole[0].parents[1] / "a.csv")
    command = ["train", table, "-t", "where", *QUICK, "-q", "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", script, *command], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.safetensors"]
    assert main([*command, "--resume"]) == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (whole[0] / "model.safetensors").read_bytes()


def test_a_checkpoint_of_another_training_is_refused(whole, tmp_path, capsys, monkeypatch):
    table = whole[0].parents[1] / "a.csv"
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(3, keyboard_interrupt))
        assert run(table, "-t", "where", "-o", tmp_path / "out", *QUICK) == 130
    capsys.readouterr()
    kept = (tmp_path / "out" / "checkpoint.safetensors").read_bytes()
    assert run(table, "-t", "where", "-o", tmp_path / "out", *QUICK, "--weight", "0.5", "--resume") == 2
    err = capsys.readouterr().err
    assert "belongs to another training" in err
    assert one_sentence(err)
    assert (tmp_path / "out" / "checkpoint.safetensors").read_bytes() == kept


# bad input: each case prepares (table, target, out, options) in a folder


def with_table(content, target="y", name="a.csv", options=()):
    def prepare(folder):
        path = folder / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        return path, target, folder / "out", options

    return prepare


def with_options(*options, target="where"):
    return lambda folder: (rings(folder / "a.csv"), target, folder / "out", options)


def unreadable(folder):
    table = rings(folder / "a.csv")
    table.chmod(0)
    if os.access(table, os.R_OK):
        pytest.skip("root may read everything")
    return table, "where", folder / "out", ()


def read_only(folder):
    (folder / "out").mkdir(mode=0o500)
    if os.access(folder / "out", os.W_OK):
        pytest.skip("root may write everywhere")
    return rings(folder / "a.csv"), "where", folder / "out", ()


def damaged_checkpoint(folder):
    (folder / "checkpoint.safetensors").write_bytes(b"\0\1\2")
    return rings(folder / "a.csv"), "where", folder, ("--resume",)


def folder_for_a_file(folder):
    (folder / "out" / "report.json").mkdir(parents=True)
    return rings(folder / "a.csv"), "where", folder / "out", ()


GOOD = "a,b,y\n1,2,0.5\n2,3,1.5\n4,1,2.5\n"
BAD = {
    "no such file": (lambda d: (d / "none.csv", "y", d / "out", ()), "no such file"),
    "a folder": (lambda d: (d, "y", d / "out", ()), "it is a folder"),
    "no permission": (unreadable, "permission"),
    "an empty file": (with_table(""), "it is empty"),
    "blank lines": (with_table("\n\n"), "no rows"),
    "a header alone": (with_table("a,b,y\n"), "a header and no rows"),
    "an unknown extension": (with_table(GOOD, name="a.xlsx"), "rename or convert"),
    "a picture": (with_table(b"\x89PNG\0\0"), "binary data"),
    "rows of different lengths": (with_table("a,b,y\n1,2,3\n4,5\n"), "line 3 has 2 entries, and the header has 3"),
    "an open quote": (with_table('a,b,y\n1,"2,3\n4,5,6\n'), "a quote is not closed"),
    "a name twice": (with_table("a,a,y\n1,2,3\n4,5,6\n"), "more than one column 'a'"),
    "a target that is not there": (with_table(GOOD, "z"), "no target 'z': its columns are a, b, y"),
    "a target nearly right": (with_options(target="wheer"), "did you mean 'where'"),
    "a target out of range": (with_table(GOOD, "4"), "no target 4: its 3 columns are counted from 1"),
    "target zero": (with_table(GOOD, "0"), "counted from 1"),
    "a name without a header": (with_table("1,2\n3,4\n5,7\n"), "no header, so that columns are numbers"),
    "a missing value": (with_table("a,b,y\n1,,3\n4,5,6\n"), "a value is missing in line 2, column 'b'"),
    "missing values": (with_table("a,b,y\n1,NA,3\n4,nan,6\n7,8,9\n"), "2 values are missing, the first is in line 2"),
    "a missing target": (with_table("a,b,y\n1,2,3\n4,5,\n"), "a value is missing in line 3, column 'y'"),
    "an infinite value": (with_table("a,b,y\n1,inf,3\n4,5,6\n"), "line 2, column 'b' is inf"),
    "a number too large": (with_table("a,b,y\n1,1e400,3\n4,5,6\n"), "too large for a number"),
    "a text among numbers": (with_table("a,b,y\n1,2,3\n4,x,6\n7,8,10\n"), "line 3, column 'b' is 'x'"),
    "decimal commas": (with_table("a\tb\ty\n1,5\t2\t3\n2,5\t3\t4\n"), "a decimal point"),
    "nothing to learn from": (with_table("y\n1\n2\n"), "nothing is left to learn from"),
    "constant columns": (with_table("a,b,y\n1,2,3\n1,2,4\n"), "nothing is left to learn from"),
    "a constant target": (with_table("a,b,y\n1,2,3\n2,5,3\n"), "is 3 in all 2 rows: there is nothing to learn"),
    "one class": (with_table("a,y\n1,u\n2,u\n"), "is 'u' in all 2 rows"),
    "one row": (with_table("a,y\n1,2\n"), "one row, and several are needed"),
    "as many classes as rows": (with_table("a,y\n1,q\n2,r\n3,s\n4,t\n5,u\n"), "too many for classes"),
    "a regression of texts": (with_options("--task", "regression"), "regression needs numbers"),
    "a classification of numbers": (with_table(GOOD, options=("--task", "classification")), "too many for classes"),
    "the target as a column": (with_options("--features", "x,where"), "which is the target"),
    "the target dropped": (with_options("--drop", "where"), "which is the target"),
    "a column that is not there": (with_options("--features", "x,z"), "no column 'z'"),
    "a dropped one that is not there": (with_options("--drop", "z"), "no column 'z'"),
    "a category that is not there": (with_options("--categorical", "z"), "no column 'z'"),
    "used and dropped": (with_options("--features", "x,y", "--drop", "y"), "both name 'y'"),
    "all dropped": (with_options("--drop", "x,y"), "nothing is left to learn from"),
    "all held out": (with_options("--holdout", "1"), "--holdout expects a part"),
    "less than nothing held out": (with_options("--holdout", "-0.1"), "--holdout expects a part"),
    "no layers": (with_options("--depth", "0"), "--depth"),
    "no width": (with_options("--width", "1"), "--width"),
    "no iterations": (with_options("--max-iter", "0"), "--max-iter"),
    "no time": (with_options("--time-limit", "0"), "--time-limit"),
    "a negative weight": (with_options("--weight", "-1"), "--weight"),
    "an infinite scale": (with_options("--scale", "inf"), "--scale"),
    "a negative seed": (with_options("--seed", "-1"), "--seed"),
    "an output that is a file": (lambda d: (rings(d / "a.csv"), "where", d / "a.csv", ()), "is a file"),
    "an output without permission": (read_only, "does not allow it"),
    "an output that is the table": (lambda d: (rings(d / "holdout.csv"), "where", d, ()), "would be overwritten"),
    "a folder where a file is to be": (folder_for_a_file, "it is a folder"),
    "a damaged checkpoint": (damaged_checkpoint, "checkpoint.safetensors"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_2(case, tmp_path, capsys):
    prepare, words = BAD[case]
    table, target, out, options = prepare(tmp_path)
    before = {
        path: path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None for path in tmp_path.rglob("*")
    }
    assert run(table, "-t", target, "-o", out, *QUICK[:6], *options) == 2
    text, err = capsys.readouterr()
    assert text == ""
    assert words in err
    assert one_sentence(err), err
    after = {
        path: path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None for path in tmp_path.rglob("*")
    }
    assert after == before


# odd input that is fine


def grid(rows, columns):
    """Numbers that follow no rule that is easy to see."""
    return "".join(",".join(str(i * (j + 3) ** 2 % 97) for j in range(columns)) + "\n" for i in range(rows))


ODD = {
    "no header": "".join(f"{k % 7},{k % 3},{'uv'[k % 2]}\n" for k in range(20)),
    "semicolons": "a;y\n" + "".join(f"{k},5;{k % 2}\n" for k in range(20)),
    "huge values": "a,b,y\n" + "".join(f"{k}e300,{k}e-300,{k * k}e290\n" for k in range(1, 20)),
    "the same rows again and again": "a,y\n" + 10 * "1,u\n2,v\n",
    "two rows": "a,y\n1,u\n2,v\n",
    "a class of one": "a,y\n" + 10 * "1,u\n2,v\n" + "3,w\n",
    "strange names": '"a, b",$y$\n' + 10 * '1,"u\nu"\n2,"$v$"\n',
    "more columns than rows": grid(12, 60),
}


@pytest.mark.parametrize("case", cases(list(ODD), slow=[c for c in ODD if c not in ("huge values", "two rows")]))
@pytest.mark.slow
def test_odd_tables_are_learned(case, tmp_path, capsys):
    table = tmp_path / "a.csv"
    table.write_text(ODD[case])
    assert run(table, "-t", "-1", "-o", tmp_path / "out", *QUICK, "--json") == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["data"] <= report["history"][0][3]
    assert main(["predict", str(tmp_path / "out"), str(table), "-o", str(tmp_path / "p.csv"), "-q"]) == 0


def test_scales_are_in_the_units_that_help_tells(capsys):
    """Kernels live where standardized columns are divided by √p."""
    x = np.random.default_rng(0).normal(size=(200, 9))
    z = ResNetRegressor(field="kernel", depth=1, width=4, max_iter=0).fit(x, x[:, 0]).encode(x).double()
    assert float(torch.pdist(z).square().mean().sqrt()) == pytest.approx(1.4, abs=0.05)
    main(["train", "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--scale FLOAT width of the kernels, in units in which two rows are about 1.4 from each other." in told
