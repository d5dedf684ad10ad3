"""``diffeo density``: files out, what is decided and checked, scores and samples by name, interruptions."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

from diffeo.cli.main import main
from diffeo.cli.progress import Progress
from diffeo.estimators.files import load_estimator
from diffeo.estimators.tabular_density import TableDensity
from diffeo.tables import read_records
from tests.cli.tables import QUICK_DENSITY, measured
from tests.cli.test_cli_main import one_sentence
from tests.cli.test_cli_register import interrupted_after, keyboard_interrupt

FILES = ["history.csv", "holdout.csv", "model.safetensors", "report.json", "report.png"]
BOUNDED = ("--bounds", "share=0:1,income=0:", "--periodic", "hour=24")


def run(*argv):
    return main(["density", *map(str, argv)])


def fitted(folder, *options):
    """A density of a table, quickly: its folder."""
    with redirect_stdout(io.StringIO()):
        assert run("fit", measured(folder / "a.csv"), "-o", folder / "out", *QUICK_DENSITY, *options) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A density of two columns: its folder, what was printed, the exit code."""
    folder = tmp_path_factory.mktemp("plain")
    options = ("--columns", "x,income", "--holdout", "0.2")
    with redirect_stdout(io.StringIO()) as text:
        code = run("fit", measured(folder / "a.csv"), "-o", folder / "new" / "out", *options, *QUICK_DENSITY)
    return folder / "new" / "out", text.getvalue(), code


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A density of four columns, three of them bounded or periodic, given a category."""
    return fitted(tmp_path_factory.mktemp("conditional"), "--context", "city", *BOUNDED)


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def printed(capsys, *argv):
    assert run(*argv) == 0, capsys.readouterr().err
    return capsys.readouterr()


# fit


def test_out_holds_the_model_the_report_a_picture_and_what_was_held_out(plain):
    out, _, code = plain
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    with Image.open(out / "report.png") as image:
        assert image.size[0] > 600


@pytest.mark.slow
def test_a_table_of_which_nothing_has_to_be_trained(tmp_path, capsys):
    values = np.random.default_rng(0).normal(size=100)
    (tmp_path / "one.csv").write_text("a\n" + "\n".join(map(str, values)))
    assert "nothing to train" in printed(capsys, "fit", tmp_path / "one.csv", "-o", tmp_path / "one").out


def test_the_report_is_that_of_the_model(plain):
    out = plain[0]
    report = json.loads((out / "report.json").read_text())
    model = TableDensity.load(out / "model.safetensors")
    records = read_records(out.parents[1] / "a.csv")
    held = read_records(out / "holdout.csv")
    places = list(records.places)
    chosen = np.array([places.index(place) for place in held["line"]])
    assert len(chosen) == report["holdout"]["rows"] == 12
    scores, _ = model.score(records.take(chosen))
    np.testing.assert_allclose(held["log_density"], scores, rtol=1e-6)
    assert report["holdout"]["nll"] == pytest.approx(-scores.mean(), rel=1e-6)
    assert report["holdout"]["standard_error"] == pytest.approx(scores.std(ddof=1) / len(scores) ** 0.5, rel=1e-6)
    rest = records.take(np.setdiff1d(np.arange(60), chosen))
    assert report["training"]["rows"] == 48
    assert report["training"]["nll"] == pytest.approx(-model.score(rest)[0].mean(), rel=1e-6)
    assert (report["kind"], report["columns"], report["context"]) == ("density", ["x", "income"], [])
    assert report["checks"]["held_out"]["mean"] == pytest.approx(-report["holdout"]["nll"])
    assert report["checks"]["held_out_name"] == "test"
    assert report["problems"] == []
    assert report["energy"] == model.estimator.energy_
    assert report["parameters"]["depth"] == 2
    assert len(report["history"]) == report["iterations"] + 1
    assert {"diffeo", "torch", "scikit-learn"} <= report["versions"].keys()


def test_the_flow_is_better_than_a_gaussian_where_the_data_is_not_one(plain):
    report = json.loads((plain[0] / "report.json").read_text())
    x = TableDensity.load(plain[0] / "model.safetensors").coordinates.rows(read_records(plain[0].parents[1] / "a.csv"))
    columns = np.log(x[:, 1]), x[:, 0]
    assert abs(np.corrcoef(*columns)[0, 1]) > 0.5  # what there is to learn
    assert report["training"]["nll"] < report["baseline"]


def test_the_summary_says_how_good_it_is_and_what_was_checked(plain):
    out, text, _ = plain
    for words in ("of x, income", "60 rows", "negative log-likelihood", "hold-out", "∫p", "a Gaussian", str(out)):
        assert words in text


@pytest.mark.slow
def test_the_same_command_gives_the_same_files_to_the_last_bit(plain, tmp_path, capsys):
    table = plain[0].parents[1] / "a.csv"
    options = ("--columns", "x,2", "--holdout", "0.2")
    out, err = printed(capsys, "fit", table, "-o", tmp_path / "out", *options, *QUICK_DENSITY, "--json")
    assert json.loads(out) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert err == ""
    for name in ("model.safetensors", "holdout.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (plain[0] / name).read_bytes()


@pytest.mark.slow
def test_every_option_reaches_the_estimator(tmp_path, capsys):
    options = (
        "--columns 1,income,share --components 2 --depth 3 --width 5 --scale 0.9 --weight 0.01 --validation 0.3 "
        "--holdout 0.25 --max-iter 2 --time-limit 60 --dtype float64 --seed 5 --bounds share=0:1,2=0: --json "
        "--certified"
    )
    table = measured(tmp_path / "a.csv")
    report = json.loads(printed(capsys, "fit", table, "-o", tmp_path / "out", *options.split())[0])
    expected = {
        "components": 2, "depth": 3, "width": 5, "scale": 0.9, "weight": 0.01, "validation_fraction": 0.3,
        "max_iter": 2, "time_limit": 60, "dtype": "float64", "random_state": 5, "certified": True,
    }  # fmt: skip
    assert expected.items() <= report["parameters"].items()
    assert report["holdout"]["rows"] == 15
    assert report["bounds"] == {"share": [0, 1], "income": [0, None]}
    found = load_estimator(tmp_path / "out" / "model.safetensors")
    assert found.bounds == {1: (0, np.inf), 2: (0, 1)}
    assert report["checks"]["certified"]
    assert "3 of 3 layers are invertible, everywhere" in report["in_words"]
    assert found.certificate().invertible


@pytest.mark.slow
def test_validation_may_be_another_table(tmp_path, capsys):
    a, b = measured(tmp_path / "a.csv"), measured(tmp_path / "b.csv", n=30, start=100)
    lines = [line.split(",") for line in b.read_text().split()]
    b.write_text("\n".join(",".join(line[::-1]) for line in lines) + "\n")  # columns in another order
    options = ("-o", tmp_path / "out", *QUICK_DENSITY, "--holdout", "0", "--context", "city", "--json")
    by_table = json.loads(printed(capsys, "fit", a, "--validation", b, *options)[0])
    assert by_table["training"]["rows"] == 60
    assert by_table["holdout"] is None
    by_part = json.loads(printed(capsys, "fit", a, "--validation", "0.3", *options)[0])
    assert by_table["validation"] != by_part["validation"]


@pytest.mark.slow
def test_what_was_decided_is_noted(tmp_path, capsys):
    table = tmp_path / "a.csv"
    table.write_text("n,x\n" + "".join(f"{k % 3},{(k * k) % 61 / 7}\n" for k in range(40)))
    report = json.loads(printed(capsys, "fit", table, "-o", tmp_path / "o", *QUICK_DENSITY, "--json")[0])
    assert len(report["notes"]) == 1
    assert report["notes"][0].startswith("Taken for real numbers: 'n', which has 3 different values in 40 rows")


@pytest.mark.slow
def test_few_rows_are_all_fitted_and_that_is_said(tmp_path, capsys):
    table = measured(tmp_path / "a.csv", n=8)
    options = ("--columns", "x,income", *QUICK_DENSITY, "--json")
    report = json.loads(printed(capsys, "fit", table, "-o", tmp_path / "o", *options)[0])
    assert report["holdout"] is None
    assert "Nothing is held out of 8 rows" in report["notes"][0]
    assert not (tmp_path / "o" / "holdout.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.tsv"])
def test_arrays_and_other_tables_are_read_too(name, tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(40, 2))
    if name == "a.npy":
        np.save(tmp_path / name, x)
    elif name == "a.npz":
        np.savez(tmp_path / name, u=x[:, 0], v=x[:, 1])
    else:
        np.savetxt(tmp_path / name, x, delimiter="\t")
    report = json.loads(printed(capsys, "fit", tmp_path / name, "-o", tmp_path / "o", *QUICK_DENSITY, "--json")[0])
    assert report["columns"] == (["u", "v"] if name == "a.npz" else ["col1", "col2"])


@pytest.mark.slow
def test_an_older_density_is_replaced_and_other_files_are_left(plain, tmp_path, capsys):
    out = fitted(tmp_path, "--columns", "x", "--holdout", "0.2")
    (out / "notes.txt").write_text("mine")
    assert (out / "holdout.csv").exists()
    table = plain[0].parents[1] / "a.csv"
    assert run("fit", table, "-o", out, "--columns", "income", "--holdout", "0", *QUICK_DENSITY, "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in out.iterdir()) == ["history.csv", "model.safetensors", "notes.txt", *FILES[3:]]
    assert TableDensity.load(out / "model.safetensors").coordinates.names == ["income"]


# score


def test_scores_are_printed_and_their_mean_is_said(plain, capsys):
    table = plain[0].parents[1] / "a.csv"
    out, err = printed(capsys, "score", plain[0], table)
    expected, _ = TableDensity.load(plain[0] / "model.safetensors").score(read_records(table))
    found = rows(out)
    assert found[0] == ["log_density"]
    np.testing.assert_allclose(np.array(found[1:], float)[:, 0], expected, rtol=1e-9)
    notes = err.splitlines()
    assert notes[0] == "diffeo: not used: 'share', 'hour', 'city'."
    assert f"negative log-likelihood {-expected.mean():,.4f}" in notes[1]
    assert all(map(one_sentence, notes))


def test_the_density_has_mass_one(plain, capsys, tmp_path):
    """In the units of the table, on a grid that covers what there is of it."""
    x = TableDensity.load(plain[0] / "model.safetensors").estimator.sample(2000, random_state=0)
    low, high = x.min(0) - 2 * x.std(0), x.max(0) + 2 * x.std(0)
    axes = [np.linspace(a, b, 200) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    np.savez(tmp_path / "grid.npz", x=grid[:, 0], income=grid[:, 1])
    printed(capsys, "score", plain[0], tmp_path / "grid.npz", "-o", tmp_path / "s.npy", "-q")
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert np.exp(np.load(tmp_path / "s.npy")).sum() * cell == pytest.approx(1, abs=0.02)


def test_the_order_of_columns_and_further_ones_change_nothing(plain, tmp_path, capsys):
    table = plain[0].parents[1] / "a.csv"
    records = read_records(table)
    columns = {"more": range(60), "income": records["income"], "x": records["x"]}
    with (tmp_path / "b.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([list(columns), *zip(*columns.values(), strict=True)])
    expected = printed(capsys, "score", plain[0], table, "-q")
    assert printed(capsys, "score", plain[0], tmp_path / "b.csv", "-q") == expected


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npz"])
def test_files_of_scores_hold_all_digits(suffix, plain, tmp_path, capsys):
    table, path = plain[0].parents[1] / "a.csv", tmp_path / "new" / f"s{suffix}"
    out, err = printed(capsys, "score", plain[0], table, "-o", path)
    assert "negative log-likelihood" in out
    assert err == ""
    expected, _ = TableDensity.load(plain[0] / "model.safetensors").score(read_records(table))
    np.testing.assert_allclose(read_records(path)["log_density"], expected, rtol=1e-9)


@pytest.mark.slow
def test_json_of_scores_says_everything(conditional, capsys):
    out, err = printed(capsys, "score", conditional, conditional.parent / "a.csv", "--json")
    facts = json.loads(out)
    assert err == ""
    assert len(facts["log_density"]) == facts["rows"] == 60
    assert facts["nll"] == pytest.approx(-np.mean(facts["log_density"]))
    assert facts["notes"] == []


def test_rows_beyond_the_bounds_have_density_0_and_are_counted(conditional, tmp_path, capsys):
    (tmp_path / "b.csv").write_text("x,income,share,hour,city\n0,1,0.5,3,Oslo\n0,1,1.5,3,Oslo\n0,-1,0.5,3,Rome\n")
    out, err = printed(capsys, "score", conditional, tmp_path / "b.csv")
    assert [row[0] for row in rows(out)[2:]] == ["-inf", "-inf"]
    assert np.isfinite(float(rows(out)[1][0]))
    assert "of density 0: 2 rows lie outside the bounds" in err
    facts = json.loads(printed(capsys, "score", conditional, tmp_path / "b.csv", "--json")[0])
    assert facts["log_density"][1:] == [None, None]
    assert facts["of_density_0"] == 2


def test_hours_go_round(conditional, tmp_path, capsys):
    (tmp_path / "b.csv").write_text("x,income,share,hour,city\n0,1,0.5,3,Oslo\n0,1,0.5,27,Oslo\n0,1,0.5,-21,Oslo\n")
    found = np.array(rows(printed(capsys, "score", conditional, tmp_path / "b.csv")[0])[1:], float)
    np.testing.assert_allclose(found, found[0, 0], rtol=1e-6)


def test_categories_that_were_never_seen_are_taken_for_unknown_on_request(conditional, tmp_path, capsys):
    (tmp_path / "b.csv").write_text("x,income,share,hour,city\n0,1,0.5,3,Kyiv\n")
    assert run("score", conditional, tmp_path / "b.csv") == 2
    err = capsys.readouterr().err
    assert "line 2, column 'city' is 'Kyiv'" in err
    assert one_sentence(err)
    out, err = printed(capsys, "score", conditional, tmp_path / "b.csv", "--allow-unseen")
    assert len(rows(out)) == 2
    assert "taken for unknown: line 2, column 'city' is 'Kyiv'" in err


# sample


def test_samples_are_those_of_the_model_under_the_names_of_the_columns(plain, capsys):
    out, err = printed(capsys, "sample", plain[0], "-n", "7", "--seed", "3")
    expected = TableDensity.load(plain[0] / "model.safetensors").estimator.sample(7, random_state=3)
    assert rows(out)[0] == ["x", "income"]
    np.testing.assert_allclose(np.array(rows(out)[1:], float), expected, rtol=1e-9)
    assert err == ""
    assert printed(capsys, "sample", plain[0], "-n", "7", "--seed", "4")[0] != out


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npz", ".npy"])
def test_samples_in_files_can_be_scored(suffix, plain, tmp_path, capsys):
    path = tmp_path / "new" / f"s{suffix}"
    out, _ = printed(capsys, "sample", plain[0], "-n", "50", "-o", path)
    assert "x, income" in out
    text = printed(capsys, "sample", plain[0], "-n", "50")[0]
    records = read_records(path)
    assert np.array_equal(np.stack(records.columns, 1), np.array(rows(text)[1:], float))
    if suffix != ".npy":  # which has no names, and not as many columns as the table
        facts = json.loads(printed(capsys, "score", plain[0], path, "--json")[0])
        assert facts["rows"] == 50
        assert facts["notes"] == []


def test_json_of_samples_says_everything(plain, capsys):
    facts = json.loads(printed(capsys, "sample", plain[0], "-n", "3", "--json")[0])
    assert list(facts["columns"]) == ["x", "income"]
    assert {len(column) for column in facts["columns"].values()} == {facts["rows"]} == {3}


@pytest.mark.parametrize("header", ["city\n", ""], ids=["named", "without a header"])
def test_conditional_samples_stand_beside_what_is_given(header, conditional, tmp_path, capsys):
    (tmp_path / "g.csv").write_text(f"{header}Rome\nOslo\n")
    options = ("--given", tmp_path / "g.csv", *(() if header else ("--no-header",)))
    out, err = printed(capsys, "sample", conditional, "-n", "40", *options)
    assert ("columns are matched by their order" in err) == (not header)
    found = rows(out)
    assert found[0] == ["city", "x", "income", "share", "hour"]
    assert [row[0] for row in found[1:]] == ["Rome"] * 40 + ["Oslo"] * 40
    x = np.array([row[1:] for row in found[1:]], float)
    assert (x[:, 1] > 0).all()
    assert ((x[:, 2] > 0) & (x[:, 2] < 1)).all()
    assert np.ptp(x[:, 3]) <= 24


def test_what_is_given_is_kept_in_every_format(conditional, tmp_path, capsys):
    (tmp_path / "g.csv").write_text("city\nRome\n")
    options = ("-n", "3", "--given", tmp_path / "g.csv", "-q", "-o")
    printed(capsys, "sample", conditional, *options, tmp_path / "s.npz")
    assert read_records(tmp_path / "s.npz")["city"].tolist() == ["Rome"] * 3
    assert run("sample", conditional, *options, tmp_path / "s.npy") == 2
    err = capsys.readouterr().err
    assert "'city' holds texts" in err
    assert one_sentence(err)


@pytest.mark.slow
def test_samples_of_tables_without_a_header_have_the_names_they_are_told_by(tmp_path, capsys):
    np.savetxt(tmp_path / "a.csv", np.random.default_rng(0).normal(size=(40, 3)), delimiter=",")
    printed(capsys, "fit", tmp_path / "a.csv", "-o", tmp_path / "o", "--columns", "3,1", *QUICK_DENSITY, "-q")
    printed(capsys, "sample", tmp_path / "o", "-n", "5", "-o", tmp_path / "s.csv", "-q")
    assert list(read_records(tmp_path / "s.csv").names) == ["col3", "col1"]
    out, err = printed(capsys, "score", tmp_path / "o", tmp_path / "s.csv")
    assert len(rows(out)) == 6
    assert "not used" not in err


# info


def test_info_says_what_a_density_is(conditional, capsys):
    assert main(["info", str(conditional), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["columns"]) == ("DensityFlow", ["x", "income", "share", "hour"])
    assert facts["context"] == ["city: Lima, Oslo, Rome"]
    assert set(facts["bounds"]) == {"income: 0  inf", "share: 0  1"}
    assert facts["periods"] == ["hour: 24"]
    assert facts["holdout"]["nll"] == json.loads((conditional / "report.json").read_text())["holdout"]["nll"]
    assert main(["info", str(conditional / "model.safetensors")]) == 0
    assert "city: Lima, Oslo, Rome" in capsys.readouterr().out


# interruption


@pytest.mark.slow
def test_an_interrupted_fit_says_how_to_resume_and_ends_the_same(plain, tmp_path, capsys, monkeypatch):
    options = ("--columns", "x,income", "--holdout", "0.2", *QUICK_DENSITY)
    command = ("fit", plain[0].parents[1] / "a.csv", "-o", tmp_path / "out", *options)
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(3, keyboard_interrupt))
        assert run(*command) == 130
    err = capsys.readouterr().err
    assert one_sentence(err)
    assert "--resume" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.safetensors"]
    assert run(*command, "--resume") == 0
    for name in ("model.safetensors", "holdout.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (plain[0] / name).read_bytes()
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_a_killed_fit_resumes_to_the_same_model(plain, tmp_path):
    script = (
        "import os, signal, sys, torch\nfrom diffeo.cli.main import main\nfrom diffeo.cli.progress import Progress\n"
        "torch.set_num_threads(1)\n"
        "def call(self, record):\n    if record.iteration == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Progress.__call__ = call\nsys.exit(main(sys.argv[1:]))"
    )
    table = str(plain[0].parents[1] / "a.csv")
    options = ("--columns", "x,income", "--holdout", "0.2", *QUICK_DENSITY)
    command = ["density", "fit", table, *options, "-q", "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", script, *command], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.safetensors"]
    assert main([*command, "--resume"]) == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (plain[0] / "model.safetensors").read_bytes()


def test_a_checkpoint_of_another_fit_is_refused(plain, tmp_path, capsys, monkeypatch):
    command = ("fit", plain[0].parents[1] / "a.csv", "-o", tmp_path / "out", "--columns", "x,income", *QUICK_DENSITY)
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(3, keyboard_interrupt))
        assert run(*command) == 130
    capsys.readouterr()
    kept = (tmp_path / "out" / "checkpoint.safetensors").read_bytes()
    assert run(*command, "--weight", "0.5", "--resume") == 2
    err = capsys.readouterr().err
    assert "belongs to another" in err
    assert one_sentence(err)
    assert (tmp_path / "out" / "checkpoint.safetensors").read_bytes() == kept
    assert os.listdir(tmp_path / "out") == ["checkpoint.safetensors"]
