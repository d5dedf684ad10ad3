"""``diffeo register``: files out, exit codes, and twenty kinds of bad input."""

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

import diffeo
from diffeo.cli import choices
from diffeo.cli.main import main
from diffeo.cli.progress import Progress
from diffeo.io import read
from diffeo.io.transform import load
from tests.cli.files import FACES, OCTAHEDRON, octahedron, ring
from tests.cli.test_cli_main import one_sentence
from tests.marks import cases

QUICK = ("--controls", "8", "--align", "none", "--steps", "3")


def run(*argv):
    return main(["register", *map(str, argv)])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny problems on several threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rings(tmp_path):
    return ring(tmp_path / "a.txt"), ring(tmp_path / "b.txt", radius=1.3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One complete run that many tests look at: its folder, what it printed, its exit code."""
    folder = tmp_path_factory.mktemp("whole")
    files = ring(folder / "a.txt"), ring(folder / "b.txt", radius=1.3)
    with redirect_stdout(io.StringIO()) as text:
        code = run(*files, "-o", folder / "new" / "out", *QUICK)
    return folder / "new" / "out", text.getvalue(), code


def test_out_holds_the_moved_shape_the_map_the_report_and_a_picture(whole):
    out, _, code = whole
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "history.csv",
        "moved.txt",
        "report.json",
        "report.png",
        "transform.safetensors",
    ]
    report = json.loads((out / "report.json").read_text())
    assert report["distance_after"] < 0.2 * report["distance_before"]
    source = read(out.parents[1] / "a.txt").x
    moved = load(out / "transform.safetensors")(source).detach().numpy()
    assert np.loadtxt(out / "moved.txt") == pytest.approx(moved, abs=1e-6)
    with Image.open(out / "report.png") as image:
        assert image.size[0] > 1000


def test_the_summary_says_how_good_it_is_and_where_the_files_are(whole):
    out, text, _ = whole
    for words in ("done", "distance", "→", "smallest Jacobian", "inverse error", "step error", "seconds", str(out)):
        assert words in text


@pytest.mark.slow
def test_json_prints_the_report_and_nothing_else(rings, tmp_path, capsys):
    assert run(*rings, "-o", tmp_path / "out", *QUICK, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert err == ""


@pytest.mark.slow
def test_quiet_prints_nothing(rings, tmp_path, capsys):
    assert run(*rings, "-o", tmp_path / "out", *QUICK, "-q") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_every_option_reaches_the_registration(rings, tmp_path, capsys):
    options = (
        "--loss mmd --scale 1.5 0.8 --weight 0.1 --steps 4 --solver heun --model geodesic --align none --controls 9 "
        "--max-iterations 7 --tolerance 0.5 --device cpu --dtype float64 --backend dense --seed 5 --json"
    )
    assert run(*rings, "-o", tmp_path / "out", *options.split()) in (0, 3)
    report = json.loads(capsys.readouterr().out)
    found = report["parameters"]
    assert "MMDLoss" in found["loss"]
    assert found["scale"] == pytest.approx([1.5, 0.8])
    assert (found["weight"], found["steps"], found["controls"], found["seed"]) == (0.1, 4, 9, 5)
    assert (found["max_iterations"], found["tolerance"], found["model"]) == (7, 0.5, "Geodesic")
    assert "Heun" in found["solver"]
    assert "NoAlignment" in found["align"]
    assert "float64" in found["dtype"]
    assert "Dense" in found["backend"]


@pytest.mark.parametrize("model", ["flow", "descent"])
@pytest.mark.slow
def test_other_models(model, rings, tmp_path, capsys):
    assert run(*rings, "-o", tmp_path / "out", *QUICK, "--model", model, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["distance_after"] < 0.5 * report["distance_before"]


@pytest.mark.parametrize("loss", cases(["current", "varifold", "sinkhorn"], slow=["current", "sinkhorn"]))
@pytest.mark.slow
def test_surfaces(loss, tmp_path, capsys):
    source, target = octahedron(tmp_path / "a.off"), octahedron(tmp_path / "b.off", stretch=1.2)
    assert run(source, target, "-o", tmp_path / "out", *QUICK, "--loss", loss, "--json") in (0, 3)
    assert json.loads(capsys.readouterr().out)["flipped"] == 0
    assert len(read(tmp_path / "out" / "moved.off").faces) == 8


@pytest.mark.parametrize(
    "table", [choices.Loss, choices.Model, choices.Align, choices.Solver, choices.Backend], ids=lambda t: t.__name__
)
def test_every_name_on_the_command_line_is_an_object_of_the_library(table):
    for choice in table:
        assert isinstance(getattr(diffeo, choice.value), type), choice


@pytest.mark.slow
def test_not_converged_is_3(rings, tmp_path, capsys):
    assert run(*rings, "-o", tmp_path / "out", *QUICK, "--max-iterations", 1, "--tolerance", 1e-9) == 3
    assert "not converged" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.json").exists()


@pytest.mark.parametrize(
    "found", cases([{"min_jacobian": -0.1}, {"min_jacobian": float("nan")}, {"flipped": 2}], slow=[{"flipped": 2}])
)
@pytest.mark.slow
def test_folded_is_3(found, rings, tmp_path, capsys, monkeypatch):
    def folding(*arguments, **options):
        result = register(*arguments, **options)
        result.report.update(found)
        return result

    register = diffeo.register
    monkeypatch.setattr(diffeo, "register", folding)
    assert run(*rings, "-o", tmp_path / "out", *QUICK, "--max-iterations", 2) == 3
    assert "folds" in capsys.readouterr().out


# interruption


def interrupted_after(n, signal_self):
    def call(self, record):
        call.count += 1
        if call.count == n:
            signal_self()

    call.count = 0
    return call


def keyboard_interrupt():
    raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_resume_and_ends_the_same(whole, rings, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(4, keyboard_interrupt))
        assert run(*rings, "-o", tmp_path / "out", *QUICK) == 130
    err = capsys.readouterr().err
    assert one_sentence(err)
    assert "--resume" in err
    assert run(*rings, "-o", tmp_path / "out", *QUICK, "--resume") == 0
    assert (tmp_path / "out" / "moved.txt").read_text() == (whole[0] / "moved.txt").read_text()


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_result(whole, rings, tmp_path):
    script = (
        "import os, signal, sys, torch\nfrom diffeo.cli.main import main\nfrom diffeo.cli.progress import Progress\n"
        "from tests.cli.test_cli_register import interrupted_after\n"
        "torch.set_num_threads(1)\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Progress.__call__ = interrupted_after(4, kill)\nsys.exit(main(sys.argv[1:]))"
    )
    command = ["register", *map(str, rings), *QUICK, "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", script, *command], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert main([*command, "--resume"]) == 0
    assert (tmp_path / "out" / "moved.txt").read_text() == (whole[0] / "moved.txt").read_text()


# bad input: each case prepares (source, target, out, options) in a folder


def pair(folder):
    return ring(folder / "a.txt"), ring(folder / "b.txt", radius=1.3)


def with_source(name, content):
    def prepare(folder):
        _, target = pair(folder)
        path = folder / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        return path, target, folder / "out", ()

    return prepare


def with_options(*options):
    return lambda folder: (*pair(folder), folder / "out", options)


def unreadable(folder):
    source, target = pair(folder)
    source.chmod(0)
    if os.access(source, os.R_OK):
        pytest.skip("root may read everything")
    return source, target, folder / "out", ()


def read_only(folder):
    (folder / "out").mkdir(mode=0o500)
    if os.access(folder / "out", os.W_OK):
        pytest.skip("root may write everywhere")
    return *pair(folder), folder / "out", ()


def truncated_ply(folder):
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nproperty float y\n"
    header += "property float z\nend_header\n"
    return with_source("a.ply", header.encode() + b"\0" * 30)(folder)


def truncated_safetensors(folder):
    (folder / "checkpoint.safetensors").write_bytes(b"\0\1\2")
    return *pair(folder), folder, ("--resume",)


BAD = {
    "no such file": (lambda d: (d / "none.ply", ring(d / "b.txt"), d / "out", ()), "no such file"),
    "a folder": (lambda d: (d, ring(d / "b.txt"), d / "out", ()), "it is a folder"),
    "no permission": (unreadable, "permission"),
    "an empty file": (with_source("a.txt", ""), "empty"),
    "a truncated binary file": (truncated_ply, "a.ply"),
    "a file that is something else": (with_source("a.off", "hello\n"), "a.off"),
    "letters among numbers": (with_source("a.csv", "1,2\n3,x\n"), "a.csv"),
    "rows of different lengths": (with_source("a.txt", "1 2\n3 4 5\n"), "a.txt"),
    "NaN": (with_source("a.txt", "1 2\nnan 4\n5 6\n"), "NaN"),
    "infinity": (with_source("a.txt", "1 2\ninf 4\n5 6\n"), "infinite"),
    "an unknown extension": (with_source("a.doc", "1 2\n"), ".doc"),
    "faces that refer to no vertex": (
        lambda d: (octahedron(d / "a.off", faces=[(0, 1, 9)]), octahedron(d / "b.off"), d / "out", ()),
        "a.off",
    ),
    "one point": (with_source("a.txt", "1 2\n"), "one point"),
    "points that all coincide": (with_source("a.txt", "1 2\n1 2\n1 2\n"), "coincide"),
    "different dimensions": (lambda d: (ring(d / "a.txt"), ring(d / "b.txt", d=3), d / "out", ()), "dimension"),
    "an output that is a file": (lambda d: (*pair(d), d / "a.txt", ()), "is a file"),
    "an output below a file": (lambda d: (*pair(d), d / "a.txt" / "out", ()), "is a file"),
    "an output without permission": (read_only, "does not allow it"),
    "an output that is the source": (
        lambda d: (ring(d / "moved.txt"), ring(d / "b.txt"), d, ()),
        "would be overwritten",
    ),
    "a zero scale": (with_options("--scale", "0"), "--scale"),
    "a negative scale": (with_options("--scale", "2", "-1"), "--scale"),
    "a scale that is no number": (with_options("--scale", "nan"), "--scale"),
    "no scale": (with_options("--scale"), "--scale"),
    "a negative weight": (with_options("--weight", "-1"), "--weight"),
    "no steps": (with_options("--steps", "0"), "--steps"),
    "half a step": (with_options("--steps", "2.5"), "--steps"),
    "no controls": (with_options("--controls", "0"), "--controls"),
    "no iterations": (with_options("--max-iterations", "0"), "--max-iterations"),
    "an infinite tolerance": (with_options("--tolerance", "inf"), "--tolerance"),
    "an unknown loss": (with_options("--loss", "nearest"), "--loss"),
    "an unknown device": (with_options("--device", "abacus"), "--device"),
    "a device that is not there": (with_options("--device", "cuda:99"), "--device"),
    "landmarks that are no pairs": (
        lambda d: (ring(d / "a.txt"), ring(d / "b.txt", n=21), d / "out", ("--loss", "landmarks")),
        "LandmarkLoss",
    ),
    "varifolds of points": (with_options("--loss", "varifold"), "Loss"),
    "a checkpoint that is damaged": (truncated_safetensors, "checkpoint.safetensors"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_2(case, tmp_path, capsys):
    prepare, words = BAD[case]
    source, target, out, options = prepare(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run(source, target, "-o", out, *options) == 2
    text, err = capsys.readouterr()
    assert text == ""
    assert words in err
    assert one_sentence(err), err
    assert sorted(tmp_path.iterdir()) in (before, sorted([*before, tmp_path / "out"]))


def test_a_backend_that_cannot_work_here(rings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(diffeo.KeOpsBackend, "unavailable", lambda self: "KeOps needs a C++ compiler: install g++.")
    assert run(*rings, "-o", tmp_path / "out", "--backend", "keops") == 2
    assert "install g++" in capsys.readouterr().err


def test_a_format_whose_extra_is_missing(rings, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("vtk", "vtkmodules")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "vtk", None)
    monkeypatch.setitem(sys.modules, "vtkmodules", None)
    (tmp_path / "a.vtp").write_text('<VTKFile type="PolyData"></VTKFile>\n')
    assert run(tmp_path / "a.vtp", rings[1], "-o", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert "diffeo[vtk]" in err
    assert one_sentence(err)


# odd input that is fine: a shape may be what it wants


ODD = {
    "identical shapes": lambda d: (ring(d / "a.txt"), ring(d / "b.txt")),
    "duplicated points": lambda d: (
        octahedron(d / "a.off", vertices=(*OCTAHEDRON, OCTAHEDRON[0])),
        octahedron(d / "b.off", stretch=1.2),
    ),
    "degenerate faces": lambda d: (
        octahedron(d / "a.off", faces=(*FACES, (0, 0, 1), (2, 2, 2))),
        octahedron(d / "b.off", stretch=1.2, faces=(*FACES, (1, 1, 1))),
    ),
    "far from the origin": lambda d: (ring(d / "a.txt", shift=1e5), ring(d / "b.txt", radius=1.3, shift=1e5)),
    "different kinds": lambda d: (octahedron(d / "a.off"), ring(d / "b.txt", d=3)),
    "tiny units": lambda d: (
        octahedron(d / "a.off", vertices=[[1e-6 * c for c in x] for x in OCTAHEDRON]),
        octahedron(d / "b.off", vertices=[[1.2e-6 * c for c in x] for x in OCTAHEDRON]),
    ),
}


@pytest.mark.parametrize("case", cases(list(ODD), slow=["degenerate faces", "duplicated points", "tiny units"]))
@pytest.mark.slow
def test_odd_input_is_registered(case, tmp_path, capsys):
    source, target = ODD[case](tmp_path)
    assert run(source, target, "-o", tmp_path / "out", *QUICK, "--json") == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["data_after"] <= report["data_before"] + 1e-9
    assert report["min_jacobian"] > 0
