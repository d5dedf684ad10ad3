"""The command line as a whole: help, exit codes, and failures in one sentence each."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import warnings

import pytest

from diffeo.cli import info as info_verb
from diffeo.cli.main import main
from tests.cli.files import ring

VERBS = [
    *("register", "apply", "evaluate", "train", "predict", "info", "doctor"),
    *("density fit", "density score", "density sample"),
]


def one_sentence(text):
    """Whether a text is one line that starts as ours do and has one sentence's full stop, at its end."""
    line = text.strip()
    return (
        line.startswith("diffeo: ")
        and "\n" not in line
        and line.endswith(".")
        and not re.search(r"[.!?] [A-Z]", line)
        and "Traceback" not in line
    )


def test_help_in_a_new_process_needs_no_heavy_package():
    script = (
        "import sys\nfrom diffeo.cli.main import main\ncode = main(['--help'])\n"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'numba', 'pykeops', 'trimesh'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(verb.split()[0] in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_every_option_is_explained(verb, capsys):
    assert main([*verb.split(), "--help"]) == 0
    text = capsys.readouterr().out
    options = re.findall(r"^│[ *]+((?:--|[A-Z]{4})\S*(?: -\w)?(?: [A-Z.]+)?)  +(.*?) *│$", text, flags=re.M)
    assert len(options) >= 2
    assert not [name for name, meaning in options if len(meaning) < 8 or meaning.startswith("[")]


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["frobnicate"], "unknown command"),
        (["--frobnicate"], "unknown option --frobnicate"),
        (["register"], "SOURCE is missing"),
        (["register", "a.ply"], "TARGET is missing"),
        (["register", "a.ply", "b.ply"], "--out or -o is missing"),
        (["register", "a.ply", "b.ply", "-o"], "--out or -o expects a value"),
        (["register", "a.ply", "b.ply", "c.ply", "-o", "out"], "unexpected argument c.ply"),
        (["register", "a.ply", "b.ply", "-o", "out", "--lss", "mmd"], "did you mean --loss"),
        (["register", "a.ply", "b.ply", "-o", "out", "--loss", "best"], "--loss; choose from"),
        (["register", "a.ply", "b.ply", "-o", "out", "--steps", "1.5"], "--steps: a whole number"),
        (["register", "a.ply", "b.ply", "-o", "out", "--weight", "heavy"], "--weight"),
        (["register", "a.ply", "b.ply", "-o", "out", "--scale", "1", "big"], "--scale: lengths are expected"),
        (["register", "--scale", "1", "a.ply", "b.ply", "-o", "out"], "give the shapes before --scale"),
        (["register", "a.ply", "b.ply", "-o", "out", "--seed", "1", "--seed", "2"], "--seed"),
        (["apply", "a.safetensors"], "SHAPE is missing"),
        (["apply", "a.safetensors", "a.nii", "-o", "b.nii", "--interpolation", "best"], "choose from"),
        (["evaluate", "a.nii"], "MOVED is missing"),
        (["evaluate", "a.nii", "b.nii", "--labels", "1-x"], "--labels: labels are expected, such as 1-32"),
        (["evaluate", "a.nii", "b.nii", "--labels", "9-1"], "--labels: a range of labels goes upward"),
        (["evaluate", "a.nii", "b.nii", "--kind", "scans"], "--kind; choose from"),
        (["train"], "TABLE is missing"),
        (["train", "-t", "y", "-o", "out", "--scale", "1"], "TABLE is missing (see"),
        (["train", "a.csv", "-o", "out"], "--target or -t is missing"),
        (["train", "a.csv", "-t", "y"], "--out or -o is missing"),
        (["train", "a.csv", "-t"], "--target or -t expects a value"),
        (["train", "a.csv", "b.csv", "-t", "y", "-o", "out"], "unexpected argument b.csv"),
        (["train", "a.csv", "-t", "y", "-o", "out", "--task", "ranking"], "--task; choose from"),
        (["train", "a.csv", "-t", "y", "-o", "out", "--field", "magic"], "--field; choose from"),
        (["train", "a.csv", "-t", "y", "-o", "out", "--train", "slowly"], "--train; choose from"),
        (["train", "a.csv", "-t", "y", "-o", "out", "--depth", "2.5"], "--depth: a whole number"),
        (["train", "a.csv", "-t", "y", "-o", "out", "--holdout", "some"], "--holdout"),
        (["train", "a.csv", "-t", "y", "-o", "out", "--max-iters", "9"], "did you mean --max-iter"),
        (["predict", "out"], "TABLE is missing"),
        (["predict", "out", "a.csv", "b.csv"], "unexpected argument b.csv"),
        (["density", "fit"], "TABLE is missing (see diffeo density fit --help)"),
        (["density", "fit", "a.csv"], "--out or -o is missing"),
        (["density", "fit", "a.csv", "-o", "out", "--bound", "x=0:1"], "did you mean --bounds"),
        (["density", "fit", "a.csv", "-o", "out", "--bounds"], "--bounds expects a value"),
        (["density", "score", "out"], "TABLE is missing"),
        (["density", "sample"], "MODEL is missing"),
        (["density", "sample", "out"], "--number or -n is missing"),
        (["density", "samples", "out"], "did you mean"),
        (["density", "--frobnicate"], "unknown option --frobnicate (see diffeo density --help)"),
        (["info"], "FILE is missing"),
        (["info", "a", "b"], "unexpected argument b"),
        (["doctor", "now"], "unexpected argument now"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage_is_one_sentence_and_exit_2(argv, words, capsys):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert one_sentence(err)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("the input is wrong"), 2, "the input is wrong."),
        (RuntimeError("the fit\nfailed"), 1, "the fit failed."),
        (OSError(28, "No space left on device"), 1, "No space left on device."),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
        (AssertionError(), 1, "AssertionError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
@pytest.mark.parametrize("debug", [False, True])
def test_failures_have_their_exit_codes(error, code, words, debug, tmp_path, capsys, monkeypatch):
    def fail(file):
        raise error

    monkeypatch.setattr(info_verb, "_shape", fail)
    file = ring(tmp_path / "a.txt")
    assert main(["info", str(file), *(["--debug"] if debug else [])]) == code
    err = capsys.readouterr().err
    assert words in err
    assert one_sentence(err) or debug
    assert ("Traceback" in err) == debug


def test_the_environment_asks_for_tracebacks_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DIFFEO_DEBUG", "1")
    assert main(["info", str(tmp_path / "nothing.ply")]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_failure_to_talk_about(tmp_path):
    file = ring(tmp_path / "a.txt")
    command = f"'{sys.executable}' -m diffeo.cli.main info '{file}' | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_main_runs_in_a_thread_that_is_not_the_main_one(tmp_path):
    codes = []
    file = ring(tmp_path / "a.txt")
    thread = threading.Thread(target=lambda: codes.append(main(["info", str(file), "--json"])))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize("ours", [True, False])
def test_our_warnings_are_told_and_those_of_others_are_not(ours, tmp_path, capsys, monkeypatch):
    def warn(file):
        warnings.warn_explicit("All is not\nwell. Look", UserWarning, info_verb.__file__ if ours else "torch.py", 1)
        return {}

    monkeypatch.setattr(info_verb, "_shape", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["info", str(ring(tmp_path / "a.txt"))]) == 0
    assert capsys.readouterr().err == ("diffeo: warning: All is not well; look\n" if ours else "")
