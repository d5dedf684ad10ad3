"""``diffeo density`` with what it cannot work with: one sentence, exit code 2, and no file touched."""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import redirect_stdout

import numpy as np
import pytest

from diffeo.cli.main import main
from tests.cli.files import transform
from tests.cli.tables import QUICK, QUICK_DENSITY, measured, rings
from tests.cli.test_cli_main import one_sentence
from tests.marks import cases


def run(*argv):
    return main(["density", *map(str, argv)])


def contents(folder):
    return {
        path: path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None for path in folder.rglob("*")
    }


def check(argv, words, folder, capsys):
    """One sentence with these words, exit code 2, nothing on stdout, and every file as it was."""
    before = contents(folder)
    assert run(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert one_sentence(err), err
    assert contents(folder) == before


# fit: each case prepares (table, out, options) in a folder


def with_table(content, *options, name="a.csv"):
    def prepare(folder):
        path = folder / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        return path, folder / "out", options

    return prepare


def with_options(*options):
    return lambda folder: (measured(folder / "a.csv"), folder / "out", ("--drop", "city", *options))


def with_array(array, name="a.npy"):
    def prepare(folder):
        np.save(folder / name, array)
        return folder / name, folder / "out", ()

    return prepare


def with_file(name, content=b"mine", *options):
    """A folder for the result that holds something already."""

    def prepare(folder):
        (folder / "out").mkdir()
        (folder / "out" / name).write_bytes(content)
        return measured(folder / "a.csv"), folder / "out", ("--columns", "x", *options)

    return prepare


def network(folder):
    with redirect_stdout(io.StringIO()):
        assert main(["train", str(rings(folder / "r.csv")), "-t", "where", "-o", str(folder / "out"), *QUICK]) == 0
    return measured(folder / "a.csv"), folder / "out", ("--columns", "x")


def unreadable(folder):
    table = measured(folder / "a.csv")
    table.chmod(0)
    if os.access(table, os.R_OK):
        pytest.skip("root may read everything")
    return table, folder / "out", ()


def read_only(folder):
    (folder / "out").mkdir(mode=0o500)
    if os.access(folder / "out", os.W_OK):
        pytest.skip("root may write everywhere")
    return measured(folder / "a.csv"), folder / "out", ("--columns", "x")


def folder_for_a_file(folder):
    (folder / "out" / "report.json").mkdir(parents=True)
    return measured(folder / "a.csv"), folder / "out", ("--columns", "x")


def validated_by(content):
    def prepare(folder):
        (folder / "b.csv").write_text(content)
        options = ("--columns", "x,income", "--bounds", "income=0:", "--validation", folder / "b.csv")
        return measured(folder / "a.csv"), folder / "out", options

    return prepare


GOOD = "a,b\n" + "".join(f"{k * 0.37 % 1},{k * 0.71 % 1}\n" for k in range(20))
COPIES = "a,b,c\n" + "".join(f"{k * 0.37 % 1},{k * 0.71 % 1},{2 * (k * 0.37 % 1) + 1}\n" for k in range(20))
SUMS = "a,b,c\n" + "".join(f"{k * 0.37 % 1},{k * 0.71 % 1},{k * 0.37 % 1 - k * 0.71 % 1}\n" for k in range(20))
FIT = {
    "no such file": (lambda d: (d / "none.csv", d / "out", ()), "no such file"),
    "a folder": (lambda d: (d, d / "out", ()), "it is a folder"),
    "no permission": (unreadable, "permission"),
    "an empty file": (with_table(""), "it is empty"),
    "blank lines": (with_table("\n\n"), "no rows"),
    "a header alone": (with_table("a,b\n"), "a header and no rows"),
    "one row": (with_table("a,b\n1,2\n"), "has one row, and several are needed"),
    "two rows": (with_table("a\n1\n2\n"), "has 2 rows, and at least 3 are needed for a density of 1 number each"),
    "fewer rows than columns": (with_table("1,2,3,4\n2,3,1,5\n1,3,2,7\n"), "at least 6 are needed"),
    "an unknown extension": (with_table(GOOD, name="a.xlsx"), "rename or convert"),
    "a picture": (with_table(b"\x89PNG\0\0"), "binary data"),
    "a truncated array": (with_table(b"\x93NUMPY\x01\0\x76\0{", name="a.npy"), "a.npy"),
    "an empty array": (with_array(np.zeros((0, 2))), "it has no rows"),
    "an array of points": (with_array(np.zeros((4, 2, 2))), "a table of shape (n, p) is expected"),
    "rows of different lengths": (with_table("a,b\n1,2\n4\n"), "line 3 has 1 entry, and the header has 2"),
    "a name twice": (with_table("a,a\n1,2\n4,5\n"), "more than one column 'a'"),
    "a missing value": (with_table("a,b\n1,\n4,5\n"), "a value is missing in line 2, column 'b'"),
    "NaN": (with_table("a,b\n1,NaN\nnan,5\n4,6\n"), "2 values are missing, the first is in line 2, column 'b'"),
    "an infinite value": (with_table("a,b\n1,inf\n4,5\n"), "line 2, column 'b' is inf"),
    "a number too large": (with_table("a,b\n1,1e400\n4,5\n"), "too large for a number"),
    "a text among numbers": (with_table("a,b\n1,2\n4,x\n7,8\n"), "line 3, column 'b' is 'x'"),
    "texts": (with_table("a,b\n1,u\n4,v\n7,u\n"), "column 'b' holds texts, such as 'u', and only numbers"),
    "decimal commas": (with_table("a\tb\n1,5\t2\n2,5\t3\n"), "a decimal point"),
    "a constant column": (with_table("a,b\n1,2\n1,3\n1,5\n"), "column 'a' is 1 in all 3 rows"),
    "columns that are the same": (with_table(COPIES), "columns 'a' and 'c' say the same"),
    "a column that follows": (with_table(SUMS), "a linear relation between columns 'a', 'b', 'c'"),
    "a column that is not there": (with_options("--columns", "x,z"), "no column 'z'"),
    "a column nearly right": (with_options("--columns", "x,incom"), "did you mean 'income'"),
    "a column out of range": (with_options("--columns", "9"), "its 5 columns are counted from 1"),
    "a column twice": (with_options("--columns", "x,1"), "--columns names 'x' twice"),
    "a dropped one that is not there": (with_options("--drop", "z"), "no column 'z'"),
    "a context that is not there": (with_options("--context", "z"), "no column 'z'"),
    "given and dropped": (with_options("--context", "city"), "--context and --drop both name 'city'"),
    "used and given": (with_options("--columns", "x", "--context", "x"), "--columns and --context both name 'x'"),
    "used and dropped": (with_options("--columns", "city"), "--columns and --drop both name 'city'"),
    "nothing left": (with_options("--drop", "x,income,share,hour"), "no column is left"),
    "a constant context": (with_table("a,b\n1,2\n3,2\n4,2\n", "--context", "b"), "left out: 'b' is 2 in all rows"),
    "a category that is none": (with_options("--categorical", "x"), "only columns of the --context may be categorical"),
    "bounds of nothing": (with_options("--bounds", "share"), "--bounds expects a column"),
    "bounds the wrong way": (with_options("--bounds", "share=1:0"), "two numbers in order"),
    "bounds that are texts": (with_options("--bounds", "share=low:high"), "--bounds expects"),
    "bounds without ends": (with_options("--bounds", "share=:"), "--bounds expects"),
    "bounds twice": (with_options("--bounds", "share=0:1,share=0:2"), "once for each column"),
    "bounds of no column": (with_options("--bounds", "z=0:1"), "no column 'z'"),
    "bounds of another column": (with_options("--bounds", "city=0:1"), "--bounds names 'city'"),
    "values out of bounds": (with_options("--bounds", "income=1:"), "column 'income' is 0."),
    "values on bounds": (with_table(GOOD, "--bounds", "a=0:1"), "line 2, column 'a' is 0, and a number above 0"),
    "a period that is none": (with_options("--periodic", "hour=0"), "--periodic expects a column"),
    "a period that is a text": (with_options("--periodic", "hour=day"), "--periodic expects a column"),
    "a period of no column": (with_options("--periodic", "z=24"), "no column 'z'"),
    "bounded and periodic": (with_options("--bounds", "hour=0:25", "--periodic", "4=24"), "both name 'hour'"),
    "all held out": (with_options("--holdout", "1"), "--holdout expects a part"),
    "less than nothing held out": (with_options("--holdout", "-0.1"), "--holdout expects a part"),
    "all to validate on": (with_options("--validation", "1"), "--validation expects a part"),
    "no such table to validate on": (with_options("--validation", "none.csv"), "cannot read --validation none.csv"),
    "a table without the columns": (validated_by("x,y\n1,2\n"), "lacks the column 'income'"),
    "an empty one": (validated_by(""), "it is empty"),
    "one with gaps": (validated_by("x,income\n1,2\n,3\n"), "line 3, column 'x'"),
    "one beyond the bounds": (validated_by("x,income\n1,2\n1,-3\n"), "b.csv: line 3, column 'income' is -3"),
    "no layers": (with_options("--depth", "0"), "--depth"),
    "no width": (with_options("--width", "0"), "--width"),
    "no components": (with_options("--components", "0"), "--components"),
    "no iterations": (with_options("--max-iter", "0"), "--max-iter"),
    "half an iteration": (with_options("--max-iter", "0.5"), "--max-iter: a whole number"),
    "no time": (with_options("--time-limit", "0"), "--time-limit"),
    "a negative weight": (with_options("--weight", "-1"), "--weight"),
    "an infinite scale": (with_options("--scale", "inf"), "--scale"),
    "a negative seed": (with_options("--seed", "-1"), "--seed"),
    "an unknown precision": (with_options("--dtype", "float16"), "--dtype; choose from"),
    "an output that is a file": (lambda d: (measured(d / "a.csv"), d / "a.csv", ()), "is a file"),
    "an output without permission": (read_only, "does not allow it"),
    "an output that is the table": (lambda d: (measured(d / "holdout.csv"), d, ()), "would be overwritten"),
    "a folder where a file is to be": (folder_for_a_file, "it is a folder"),
    "a network in its place": (network, "model.safetensors is not a density, and would be overwritten"),
    "a transform in its place": (with_file("model.safetensors"), "is not a density"),
    "another report in its place": (with_file("report.json", b'{"kind": "task"}'), "is not the report of a density"),
    "a picture in its place": (with_file("report.png"), "report.png would be overwritten"),
    "another table in its place": (with_file("holdout.csv"), "holdout.csv would be overwritten"),
    "a damaged checkpoint": (with_file("checkpoint.safetensors", b"\0\1", "--resume"), "checkpoint.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", cases(list(FIT), slow=["a network in its place"]))
def test_what_cannot_be_fitted(case, tmp_path, capsys):
    prepare, words = FIT[case]
    table, out, options = prepare(tmp_path)
    check(["fit", table, "-o", out, *QUICK_DENSITY[:6], *options], words, tmp_path, capsys)


# odd tables that are fine


def spread(rows, columns):
    """Numbers of which no two are the same, in rows that follow no rule."""
    return "".join(
        ",".join(f"{k * j * 0.37 % 1:.6f}" for j in range(1, columns + 1)) + "\n" for k in range(1, rows + 1)
    )


ODD = {
    "huge values": "a,b\n" + "".join(f"{(k * 37 % 101)}e30,{(k * 71 % 101)}e-30\n" for k in range(40)),
    "whole numbers": "a,b\n" + "".join(f"{k * 37 % 101},{k * k % 7}\n" for k in range(40)),
    "few rows": spread(6, 2),
    "one column": spread(40, 1),
    "the same rows again and again": "a,b\n" + 20 * "1,2\n3,1\n0,5\n",
    "semicolons and strange names": '"a, b=c";$y$\n' + "".join(f"{k * 37 % 101},5;{k * k % 19}\n" for k in range(40)),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the same rows: nobody is told
@pytest.mark.slow
@pytest.mark.parametrize("case", ODD)
def test_odd_tables_are_fitted(case, tmp_path, capsys):
    table = tmp_path / "a.csv"
    table.write_text(ODD[case])
    options = ("--bounds", "$y$=-1:400") if "$y$" in ODD[case] else ()
    code = run("fit", table, "-o", tmp_path / "out", *QUICK_DENSITY[:4], *QUICK_DENSITY[6:], *options, "--json")
    out, err = capsys.readouterr()
    assert code == 0, err
    report = json.loads(out)
    assert np.isfinite(report["training"]["nll"])
    assert report["training"]["of_density_0"] == 0
    assert run("sample", tmp_path / "out", "-n", "10", "-o", tmp_path / "s.csv", "-q") == 0
    assert run("score", tmp_path / "out", tmp_path / "s.csv", "--json") == 0
    assert np.isfinite(json.loads(capsys.readouterr().out)["nll"])


# score and sample: each case prepares the model, and a table, in a folder


@pytest.fixture(scope="module")
def density(tmp_path_factory):
    """Of two columns."""
    folder = tmp_path_factory.mktemp("density")
    with redirect_stdout(io.StringIO()):
        table = measured(folder / "a.csv")
        assert run("fit", table, "-o", folder / "out", "--columns", "x,income", *QUICK_DENSITY) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """Of one column, given a category and a number."""
    folder = tmp_path_factory.mktemp("conditional")
    with redirect_stdout(io.StringIO()):
        table, options = measured(folder / "a.csv"), ("--columns", "x", "--context", "city,hour")
        assert run("fit", table, "-o", folder / "out", *options, *QUICK_DENSITY) == 0
    return folder / "out"


def junk(folder, model):
    shutil.copy(model / "report.json", folder / "model.safetensors")
    return folder


def truncated(folder, model):
    (folder / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-100])
    return folder


def damaged(folder, model):
    content = (model / "model.safetensors").read_bytes().replace(b"Transported", b"Transmogrif")
    (folder / "model.safetensors").write_bytes(content)
    return folder


def residual_network(folder, model):
    return network(folder)[1]


MODELS = {
    "no such model": (lambda d, m: d / "none", "no such file"),
    "a folder without a model": (lambda d, m: d, "there is no model.safetensors in it, as density fit writes it"),
    "something else": (junk, "not a safetensors file"),
    "a truncated model": (truncated, "truncated"),
    "a model of something": (damaged, "does not describe an estimator that this version knows"),
    "a transform": (lambda d, m: transform(d / "t.safetensors"), "not a trained estimator"),
    "a residual network": (residual_network, "holds a ResNetClassifier, which is no density: diffeo predict takes it"),
}


@pytest.mark.parametrize("case", cases(list(MODELS), slow=["a residual network"]))
@pytest.mark.parametrize("verb", ["score", "sample"])
def test_what_is_no_density(case, verb, density, tmp_path, capsys):
    prepare, words = MODELS[case]
    model = prepare(tmp_path, density)
    capsys.readouterr()
    table = measured(tmp_path / "b.csv")
    argv = ["score", model, table] if verb == "score" else ["sample", model, "-n", "3"]
    check(argv, words, tmp_path, capsys)


def test_predict_refuses_a_density(density, capsys):
    assert main(["predict", str(density), str(density.parent / "a.csv")]) == 2
    err = capsys.readouterr().err
    assert "holds a DensityFlow, which predicts no column" in err
    assert one_sentence(err)


X = "x,income\n1,2\n"
SCORE = {
    "no such table": (None, (), "no such file"),
    "an empty table": ("", (), "it is empty"),
    "a header alone": ("x,income\n", (), "a header and no rows"),
    "a missing column": ("x,z\n1,2\n", (), "lacks the column 'income'"),
    "missing columns": ("a,b\n1,2\n", (), "lacks 2 columns, 'x', 'income'"),
    "a wrong width": ("1,2,3\n5,6,7\n", (), "has 3 columns, and 5 are expected as in the training table."),
    "a missing value": ("x,income\n1,\n2,3\n", (), "a value is missing in line 2, column 'income'"),
    "an infinite value": ("x,income\n1,2\n2,-inf\n", (), "line 3, column 'income' is -inf"),
    "a text": ("x,income\n1,2\n2,far\n", (), "line 3, column 'income' is 'far', and a number is expected"),
    "ragged rows": ("x,income\n1,2\n2\n", (), "line 3 has 1 entry"),
    "an output of another kind": (X, ("-o", "p.parquet"), "ends with .csv, .tsv, .npy or .npz"),
    "an unknown option": (X, ("--probability",), "--probability"),
}  # fmt: skip


@pytest.mark.parametrize("case", SCORE)
def test_what_cannot_be_scored(case, density, tmp_path, capsys):
    content, options, words = SCORE[case]
    if content is not None:
        (tmp_path / "b.csv").write_text(content)
    check(["score", density, tmp_path / "b.csv", *options], words, tmp_path, capsys)


SAMPLE = {
    "none": (None, ("-n", "0"), "--number expects a whole number of at least 1"),
    "less than none": (None, ("-n", "-5"), "--number"),
    "half a row": (None, ("-n", "1.5"), "a whole number is expected"),
    "no number": (None, (), "--number or -n is missing"),
    "a negative seed": (None, ("-n", "1", "--seed", "-1"), "--seed"),
    "an output of another kind": (None, ("-n", "1", "-o", "p.xlsx"), "ends with .csv, .tsv, .npy or .npz"),
    "something given for nothing": ("city\nOslo\n", ("-n", "1"), "is conditioned on nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", SAMPLE)
def test_what_cannot_be_sampled(case, density, tmp_path, capsys):
    content, options, words = SAMPLE[case]
    if content is not None:
        (tmp_path / "g.csv").write_text(content)
        options = (*options, "--given", tmp_path / "g.csv")
    check(["sample", density, *options], words, tmp_path, capsys)


GIVEN = {
    "nothing": (None, "is one given 'city', 'hour': a table of these columns is expected"),
    "no such table": ("none", "cannot read --given"),
    "a missing column": ("city\nOslo\n", "lacks the column 'hour'"),
    "a wrong width": ("Oslo,3,4\nRome,4,5\n", "has 3 columns, and 2 are expected"),
    "a missing value": ("city,hour\nOslo,\n", "a value is missing in line 2, column 'hour'"),
    "an unseen category": ("city,hour\nKyiv,3\n", "line 2, column 'city' is 'Kyiv'"),
    "a text for a number": ("city,hour\nOslo,late\n", "column 'hour' is 'late', and a number is expected"),
}


@pytest.mark.parametrize("case", GIVEN)
def test_what_cannot_be_given(case, conditional, tmp_path, capsys):
    content, words = GIVEN[case]
    options = () if content is None else ("--given", tmp_path / "g.csv")
    if content not in (None, "none"):
        (tmp_path / "g.csv").write_text(content)
    check(["sample", conditional, "-n", "2", *options], words, tmp_path, capsys)


def test_nothing_given_is_overwritten(density, tmp_path, capsys):
    table = measured(tmp_path / "b.csv")
    check(["score", density, table, "-o", table], "would be overwritten", tmp_path, capsys)
    (tmp_path / "folder.csv").mkdir()
    for argv in (["score", density, table], ["sample", density, "-n", "2"]):
        check([*argv, "-o", tmp_path / "folder.csv"], "it is a folder", tmp_path, capsys)
