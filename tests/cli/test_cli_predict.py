"""``diffeo predict``: columns by name, scores where the truth is known, and what cannot be predicted for."""

from __future__ import annotations

import csv
import io
import json
import shutil
from contextlib import redirect_stdout

import numpy as np
import pytest

from diffeo.cli.main import main
from diffeo.estimators.tabular import TableModel
from diffeo.io import save
from diffeo.tables import read_records
from tests.cli.files import transform
from tests.cli.tables import QUICK, prices, rings
from tests.cli.test_cli_main import one_sentence


def run(*argv):
    return main(["predict", *map(str, argv)])


def trained(folder, table, target):
    with redirect_stdout(io.StringIO()):
        assert main(["train", str(table), "-t", target, "-o", str(folder / "out"), *QUICK]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A classifier of rings."""
    folder = tmp_path_factory.mktemp("classes")
    return trained(folder, rings(folder / "a.csv"), "where")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A regression of prices."""
    folder = tmp_path_factory.mktemp("numbers")
    return trained(folder, prices(folder / "a.csv"), "price")


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def test_predictions_are_printed_and_the_score_is_said(classes, capsys):
    assert run(classes, classes.parent / "a.csv") == 0
    out, err = capsys.readouterr()
    table = rows(out)
    assert table[0] == ["where"]
    truth = read_records(classes.parent / "a.csv")["where"].tolist()
    accuracy = np.mean([row == [label] for row, label in zip(table[1:], truth, strict=True)])
    assert accuracy > 0.9
    assert f"accuracy {accuracy:.4g}" in err
    assert one_sentence(err)


def test_probabilities_are_those_of_the_model(classes, capsys):
    table = classes.parent / "a.csv"
    assert run(classes / "model.safetensors", table, "--proba") == 0
    found = rows(capsys.readouterr().out)
    assert found[0] == ["where", "p(inner)", "p(outer)"]
    expected = TableModel.load(classes / "model.safetensors").predict(read_records(table)).probabilities
    assert np.array_equal(np.array([row[1:] for row in found[1:]], float), expected)
    assert np.allclose(expected.sum(1), 1)


def test_json_says_everything(numbers, capsys):
    assert run(numbers, numbers.parent / "a.csv", "--json") == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert err == ""
    assert facts["task"] == "regression"
    assert len(facts["predictions"]) == facts["rows"] == 40
    truth = read_records(numbers.parent / "a.csv")["price"]
    assert facts["score"]["rmse"] == pytest.approx(np.sqrt(np.mean((truth - facts["predictions"]) ** 2)))


def test_a_file_holds_all_digits_and_the_summary_is_printed(numbers, tmp_path, capsys):
    table = numbers.parent / "a.csv"
    assert run(numbers, table, "-o", tmp_path / "new" / "p.tsv") == 0
    out, err = capsys.readouterr()
    assert "rows" in out
    assert "root mean squared error" in out
    assert err == ""
    written = read_records(tmp_path / "new" / "p.tsv")
    expected = TableModel.load(numbers / "model.safetensors").predict(read_records(table)).values
    assert np.array_equal(written["price"], expected)
    assert run(numbers, table, "-o", tmp_path / "p.csv", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_the_order_of_columns_and_further_ones_change_nothing(numbers, tmp_path, capsys):
    assert run(numbers, prices(tmp_path / "b.csv", target=False)) == 0
    plain, err = capsys.readouterr()
    assert err == ""
    records = read_records(tmp_path / "b.csv")
    columns = {"extra": range(40), "floor": records["floor"], "city": records["city"], "size": records["size"]}
    with (tmp_path / "c.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([list(columns), *zip(*columns.values(), strict=True)])
    assert run(numbers, tmp_path / "c.csv") == 0
    out, err = capsys.readouterr()
    assert out == plain
    assert err == "diffeo: not used: 'extra'.\n"


def test_one_row_and_rows_in_parts_are_predicted_as_all_of_them(numbers, tmp_path):
    model = TableModel.load(numbers / "model.safetensors")
    records = read_records(numbers.parent / "a.csv")
    whole = model.predict(records).values
    parts = [model.predict(records.take(np.array([k]))).values[0] for k in range(4)]
    assert np.allclose(parts, whole[:4], rtol=1e-5)


@pytest.mark.parametrize("target", [0, 2])
@pytest.mark.slow
def test_without_a_header_columns_are_told_by_their_place(target, tmp_path, capsys):
    lines = [line.split(",") for line in rings(tmp_path / "r.csv", header=None).read_text().split()]
    table = [[line[2], *line[:2]] if target == 0 else line for line in lines]
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, table)))
    (tmp_path / "b.csv").write_text("\n".join(",".join(line[:2]) for line in lines))
    out = trained(tmp_path, tmp_path / "a.csv", str(target + 1))
    capsys.readouterr()
    assert run(out, tmp_path / "a.csv") == 0
    with_target, err = capsys.readouterr()
    assert "accuracy" in err
    assert run(out, tmp_path / "b.csv") == 0
    assert capsys.readouterr() == (with_target, "")


def test_unseen_categories_are_taken_for_unknown_on_request(numbers, tmp_path, capsys):
    (tmp_path / "b.csv").write_text("size,city,floor\n50,Lima,2\n50,Kyiv,2\n")
    assert run(numbers, tmp_path / "b.csv") == 2
    err = capsys.readouterr().err
    assert "line 3, column 'city' is 'Kyiv'" in err
    assert one_sentence(err)
    assert run(numbers, tmp_path / "b.csv", "--allow-unseen") == 0
    out, err = capsys.readouterr()
    assert len(rows(out)) == 3
    assert "taken for unknown: line 3, column 'city' is 'Kyiv'" in err


def test_labels_that_were_never_seen_count_as_wrong(classes, tmp_path, capsys):
    rings(tmp_path / "b.csv", labels=("inner", "far"))
    assert run(classes, tmp_path / "b.csv", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert 0.4 < facts["score"]["accuracy"] <= 0.5
    assert facts["notes"] == ["Never seen in training, and so never predicted: far."]


def test_a_target_with_gaps_gives_no_score(classes, tmp_path, capsys):
    (tmp_path / "b.csv").write_text("x,y,where\n1,0,inner\n2,0,\n")
    assert run(classes, tmp_path / "b.csv", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["score"] is None
    assert "has gaps" in facts["notes"][0]


def test_whole_numbers_are_predicted_as_they_were(tmp_path, capsys):
    out = trained(tmp_path, rings(tmp_path / "a.csv", labels=(3, 7)), "where")
    capsys.readouterr()
    assert run(out, tmp_path / "a.csv", "-q") == 0
    assert {row[0] for row in rows(capsys.readouterr().out)[1:]} == {"3", "7"}


def test_info_says_what_a_model_is(numbers, capsys):
    assert main(["info", str(numbers / "model.safetensors"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["target"], facts["classes"]) == ("ResNetRegressor", "price", None)
    assert facts["columns"] == ["size", "city: Lima, Oslo, Rome", "floor"]
    assert facts["parameters"]["depth"] == 3
    assert facts["map"]["kind"]
    assert main(["info", str(numbers / "model.safetensors")]) == 0
    assert "city: Lima, Oslo, Rome" in capsys.readouterr().out


def other_model(folder, model):
    shutil.copy(model / "report.json", folder / "model.safetensors")
    return folder


def truncated(folder, model):
    (folder / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-100])
    return folder


def damaged_header(folder, model):
    content = (model / "model.safetensors").read_bytes().replace(b"ResNetClassifier", b"ResNetMagicifier")
    (folder / "model.safetensors").write_bytes(content)
    return folder


X = "x,y\n1,0\n"
BAD = {
    "no such model": (lambda d, m: d / "none", X, (), "no such file"),
    "a folder without a model": (lambda d, m: d, X, (), "there is no model.safetensors in it"),
    "something else": (other_model, X, (), "not a safetensors file"),
    "a truncated model": (truncated, X, (), "truncated"),
    "a model of something": (damaged_header, X, (), "does not describe an estimator that this version knows"),
    "a transform": (lambda d, m: transform(d / "t.safetensors"), X, (), "not a trained estimator"),
    "no such table": (lambda d, m: m, None, (), "no such file"),
    "an empty table": (lambda d, m: m, "", (), "it is empty"),
    "a header alone": (lambda d, m: m, "x,y\n", (), "a header and no rows"),
    "a missing column": (lambda d, m: m, "x,z\n1,2\n", (), "lacks the column 'y'"),
    "missing columns": (lambda d, m: m, "a,b\n1,2\n", (), "lacks 2 columns, 'x', 'y'"),
    "a wrong width": (lambda d, m: m, "1,2,3,4\n5,6,7,8\n", (), "has 4 columns, and 3 are expected"),
    "a missing value": (lambda d, m: m, "x,y\n1,\n2,3\n", (), "a value is missing in line 2, column 'y'"),
    "an infinite value": (lambda d, m: m, "x,y\n1,2\n2,-inf\n", (), "line 3, column 'y' is -inf"),
    "a text": (lambda d, m: m, "x,y\n1,2\n2,far\n", (), "line 3, column 'y' is 'far', and a number is expected"),
    "ragged rows": (lambda d, m: m, "x,y\n1,2\n2\n", (), "line 3 has 1 entry"),
    "an output of another kind": (lambda d, m: m, X, ("-o", "p.parquet"), "ends with .csv or .tsv"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_2(case, classes, tmp_path, capsys):
    prepare, content, options, words = BAD[case]
    model = prepare(tmp_path, classes)
    if content is not None:
        (tmp_path / "b.csv").write_text(content)
    before = sorted(tmp_path.rglob("*"))
    assert run(model, tmp_path / "b.csv", *options) == 2
    text, err = capsys.readouterr()
    assert text == ""
    assert words in err
    assert one_sentence(err), err
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_given_is_overwritten(classes, tmp_path, capsys):
    table = rings(tmp_path / "b.csv")
    content = table.read_bytes()
    assert run(classes, table, "-o", table) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert table.read_bytes() == content
    (tmp_path / "folder.csv").mkdir()
    assert run(classes, table, "-o", tmp_path / "folder.csv") == 2
    assert "it is a folder" in capsys.readouterr().err


def test_probabilities_of_numbers_are_refused(numbers, capsys):
    assert run(numbers, numbers.parent / "a.csv", "--proba") == 2
    assert one_sentence(capsys.readouterr().err)


def test_a_map_alone_is_no_model(numbers, tmp_path, capsys):
    save(tmp_path / "phi.safetensors", TableModel.load(numbers / "model.safetensors").estimator.phi_)
    assert run(tmp_path / "phi.safetensors", numbers.parent / "a.csv") == 2
    assert "not a trained estimator" in capsys.readouterr().err
