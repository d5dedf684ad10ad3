"""``diffeo register`` for images: files out, exit codes, interruptions, and what is wrong in one sentence."""

from __future__ import annotations

import gzip
import io
import json
import signal
import struct
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import diffeo
from diffeo.cli.main import main
from diffeo.cli.progress import Progress
from tests.cli.files import octahedron, ring
from tests.cli.test_cli_main import one_sentence
from tests.cli.test_cli_register import interrupted_after, keyboard_interrupt
from tests.registration.scenes import bend, cube, error, grid, picture, square
from tests.registration.shapes import rotation

NAMES = ["history.csv", "inverse_warp.nii.gz", "jacobian.nii.gz", "moved.nii.gz"]
NAMES += ["report.json", "report.png", "transform.safetensors", "warp.nii.gz"]
OTHER = grid(
    (20, 22, 18), (2.0, 1.9, 2.2), rotation(3, 0.2) @ torch.diag(torch.tensor([-1.0, 1, 1])).double(), (1, 2, 0)
)


def run(*argv):
    return main(["register", *map(str, argv)])


def scan(path: Path, before=None, where=None, dtype=np.uint8) -> Path:
    """The scene as a scanner writes it: whole numbers in a NIfTI file."""
    image = picture(where or cube(20), before)
    values = (200 * image.values[0]).round().numpy().astype(dtype)
    nibabel.save(nibabel.Nifti1Image(values, image.grid.affine.numpy()), path)
    return path


def photo(path: Path, before=None, n: int = 32, color: bool = False) -> Path:
    """The scene in the plane as a camera writes it."""
    values = (200 * picture(square(n), before).values[0]).round().byte().numpy().T
    Pillow.fromarray(np.stack([values, values // 2, 255 - values], -1) if color else values).save(path)
    return path


def scans(folder: Path) -> tuple[Path, Path]:
    return scan(folder / "moving.nii.gz", bend), scan(folder / "fixed.nii.gz", where=OTHER)


def photos(folder: Path) -> tuple[Path, Path]:
    return photo(folder / "moving.png", bend), photo(folder / "fixed.png")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One complete run that many tests look at: its folder, what it printed, its exit code."""
    folder = tmp_path_factory.mktemp("whole")
    files = scans(folder)
    with redirect_stdout(io.StringIO()) as text:
        code = run(*files, "-o", folder / "new" / "out")
    return folder / "new" / "out", text.getvalue(), code


def test_out_holds_everything(whole):
    out, _, code = whole
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == NAMES
    report = json.loads((out / "report.json").read_text())
    assert report["data_after"] < 0.2 * report["data_before"]
    assert report["min_corner"] >= 0.05
    moved = nibabel.load(out / "moved.nii.gz")
    assert np.allclose(moved.affine, OTHER.affine.numpy(), atol=1e-4)
    assert moved.get_data_dtype() == np.uint8
    with Pillow.open(out / "report.png") as image:
        assert np.asarray(image.convert("L")).std() > 20
    assert error(diffeo.load(out / "transform.safetensors"), 3).mean() < 1.3


def test_the_summary_says_how_good_it_is_and_where_the_files_are(whole):
    out, text, _ = whole
    for words in ("done", "relative error", "→", "smallest corner", "inverse error", "seconds", str(out), *NAMES):
        assert words in text
    assert "nan" not in text


@pytest.mark.slow
def test_json_prints_the_report_and_nothing_else(tmp_path, capsys):
    assert run(*photos(tmp_path), "-o", tmp_path / "out", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert err == ""
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([*NAMES[:3], "moved.png", *NAMES[4:]])


@pytest.mark.slow
def test_quiet_prints_nothing(tmp_path, capsys):
    assert run(*photos(tmp_path), "-o", tmp_path / "out", "-q", "--max-iterations", "2") == 0
    assert capsys.readouterr() == ("", "")


def test_apply_does_what_register_did(whole, tmp_path):
    """Without a reference too: the transform knows the grid of the fixed image."""
    out = whole[0]
    moving = out.parents[1] / "moving.nii.gz"
    assert main(["apply", str(out / "transform.safetensors"), str(moving), "-o", str(tmp_path / "m.nii.gz")]) == 0
    first, again = (nibabel.load(path) for path in (out / "moved.nii.gz", tmp_path / "m.nii.gz"))
    assert np.array_equal(np.asarray(first.dataobj), np.asarray(again.dataobj))
    assert np.array_equal(first.affine, again.affine)


def test_apply_reads_warps_as_other_programs_do(whole, tmp_path):
    """On the grid of the warp without a reference; points go the other way, and back by --inverse."""
    out = whole[0]
    moving = scan(tmp_path / "moving.nii.gz", bend)
    moved = np.asarray(nibabel.load(out / "moved.nii.gz").dataobj, float)
    assert main(["apply", str(out / "warp.nii.gz"), str(moving), "-o", str(tmp_path / "m.nii.gz")]) == 0
    found = nibabel.load(tmp_path / "m.nii.gz")
    assert np.array_equal(found.affine, nibabel.load(out / "moved.nii.gz").affine)
    assert np.abs(np.asarray(found.dataobj, float) - moved).max() < 2  # of 200; one is the rounding of whole numbers
    np.savetxt(tmp_path / "p.txt", [[0.0, 1.0, 2.0], [3.0, -2.0, 1.0]])
    for transform in ("transform.safetensors", "warp.nii.gz"):
        assert (
            main(["apply", str(out / transform), str(tmp_path / "p.txt"), "-o", str(tmp_path / f"{transform}.txt")])
            == 0
        )
    a, b = (np.loadtxt(tmp_path / f"{name}.txt") for name in ("transform.safetensors", "warp.nii.gz"))
    assert np.abs(a - np.loadtxt(tmp_path / "p.txt")).max() > 0.3
    assert np.abs(a - b).max() < 0.05
    argv = [
        "apply",
        str(out / "warp.nii.gz"),
        str(tmp_path / "warp.nii.gz.txt"),
        "--inverse",
        "-o",
        str(tmp_path / "q.txt"),
    ]
    assert main(argv) == 0
    assert np.abs(np.loadtxt(tmp_path / "q.txt") - np.loadtxt(tmp_path / "p.txt")).max() < 1e-3


def test_evaluate_and_info_read_what_register_wrote(whole, capsys):
    out = whole[0]
    fixed = out.parents[1] / "fixed.nii.gz"
    assert main(["evaluate", str(fixed), str(out / "moved.nii.gz"), "--kind", "intensity", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["correlation"] > 0.97
    for name in ("transform.safetensors", "moved.nii.gz", "jacobian.nii.gz", "warp.nii.gz"):
        assert main(["info", str(out / name)]) == 0
    assert "LNCCLoss" in capsys.readouterr().out


@pytest.mark.slow
def test_every_option_of_images_reaches_the_registration(tmp_path, capsys):
    options = (
        "--loss mi --scale 1.5 --weight 0.5 --model descent --align rigid --levels 2,1 --max-iterations 3 "
        "--tolerance 0.01 --device cpu --dtype float64 --seed 5 --json"
    )
    mask = photo(tmp_path / "mask.png")
    assert run(*photos(tmp_path), "-o", tmp_path / "out", *options.split(), "--mask", mask) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["parameters"]
    assert "MILoss" in found["loss"]
    assert (found["scale"], found["levels"], found["weight"], found["seed"]) == ([1.5], [2, 1], 0.5, 5)
    assert (found["max_iterations"], found["tolerance"], found["model"]) == (3, 0.01, "GridDescent")
    assert "Rigid" in found["align"]
    assert "float64" in found["dtype"]
    assert report["iterations"] <= 6


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["ssd", "lncc", "mi"])
def test_losses(loss, tmp_path, capsys):
    assert run(*photos(tmp_path), "-o", tmp_path / "out", "--loss", loss, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["data_after"] < 0.3 * report["data_before"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["flow", "geodesic"])
def test_other_models(model, tmp_path, capsys):
    assert run(*photos(tmp_path), "-o", tmp_path / "out", "--model", model, "--json") in (0, 3)
    report = json.loads(capsys.readouterr().out)
    assert report["data_after"] < 0.3 * report["data_before"]
    assert report["folds"] == 0


@pytest.mark.slow
def test_color_and_gray_go_together(tmp_path, capsys):
    source = photo(tmp_path / "moving.png", bend, color=True)
    assert run(source, photo(tmp_path / "fixed.png"), "-o", tmp_path / "out", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["data_after"] < 0.3 * report["data_before"]
    with Pillow.open(tmp_path / "out" / "moved.png") as image:
        assert image.mode == "RGB"


@pytest.mark.slow
def test_not_enough_iterations_of_an_optimizer_is_3(tmp_path, capsys):
    options = ("--model", "flow", "--max-iterations", "1", "--steps", "2", "--levels", "1", "--tolerance", "1e-9")
    assert run(*photos(tmp_path), "-o", tmp_path / "out", *options) == 3
    assert "not converged" in capsys.readouterr().out


@pytest.mark.parametrize("found", [{"min_corner": -0.1}, pytest.param({"min_corner": 0.0}, marks=pytest.mark.slow)])
def test_folded_is_3(found, tmp_path, capsys, monkeypatch):
    def folding(*arguments, **options):
        result = register(*arguments, **options)
        result.report.update(found)
        return result

    register = diffeo.register
    monkeypatch.setattr(diffeo, "register", folding)
    assert run(*photos(tmp_path), "-o", tmp_path / "out", "--max-iterations", "2") == 3
    assert "folds" in capsys.readouterr().out


# interruption


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_resume_and_ends_the_same(tmp_path, capsys, monkeypatch):
    files, options = photos(tmp_path), ("--levels", "2,1", "--max-iterations", "8", "-q")
    assert run(*files, "-o", tmp_path / "whole", *options) == 0
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(10, keyboard_interrupt))
        assert run(*files, "-o", tmp_path / "out", *options) == 130
    err = capsys.readouterr().err
    assert one_sentence(err)
    assert "--resume" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint.safetensors"]
    assert run(*files, "-o", tmp_path / "out", *options, "--resume") == 0
    for name in ("moved.png", "warp.nii.gz", "transform.safetensors"):
        if name.endswith(".gz"):  # the time is in there
            first, second = (gzip.decompress((tmp_path / k / name).read_bytes()) for k in ("out", "whole"))
            assert first == second
    assert (tmp_path / "out" / "moved.png").read_bytes() == (tmp_path / "whole" / "moved.png").read_bytes()
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 13, "saving"])
def test_a_killed_run_resumes_to_the_same_bytes(tmp_path, moment):
    """Killed after some iterations, and while the results are being written: nothing is half there."""
    files, options = scans(tmp_path), ("--levels", "2,1", "--max-iterations", "8", "-q")
    script = (
        "import os, signal, sys, torch\nimport diffeo.registration.result as result\n"
        "from diffeo.cli.main import main\nfrom diffeo.cli.progress import Progress\n"
        "from tests.cli.test_cli_register import interrupted_after\n"
        "torch.set_num_threads(1)\n"
        "kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"if {moment!r} == 'saving':\n    result.write_warps = kill\n"
        f"else:\n    Progress.__call__ = interrupted_after({moment!r}, kill)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = ["register", *map(str, files), *options]
    done = subprocess.run([sys.executable, "-c", script, *command, "-o", str(tmp_path / "out")], timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert left <= {"checkpoint.safetensors", "moved.nii.gz", "transform.safetensors"}
    assert "checkpoint.safetensors" in left or moment == 1  # it is written after the first iteration was told
    assert main([*command, "-o", str(tmp_path / "out"), "--resume"]) == 0
    assert main([*command, "-o", str(tmp_path / "whole")]) == 0
    for name in ("moved.nii.gz", "warp.nii.gz", "jacobian.nii.gz"):
        first, second = (gzip.decompress((tmp_path / k / name).read_bytes()) for k in ("out", "whole"))
        assert first == second, name
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == NAMES


def test_the_checkpoint_of_another_run_is_refused(tmp_path, capsys, monkeypatch):
    files = photos(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", interrupted_after(2, keyboard_interrupt))
        assert run(*files, "-o", tmp_path / "out") == 130
    capsys.readouterr()
    assert run(*files, "-o", tmp_path / "out", "--loss", "ssd", "--resume") == 2
    err = capsys.readouterr().err
    assert one_sentence(err)
    assert "belongs to another registration" in err


# bad input: each case prepares (source, target, out, options) in a folder


def with_options(*options):
    return lambda d: (*photos(d), d / "out", options)


def with_source(make, *options):
    """The first file is made by a function of its path, .nii.gz; the second is a scan."""

    def prepare(d):
        path = d / "a.nii.gz"
        return make(path) or path, scan(d / "b.nii.gz"), d / "out", options

    return prepare


def values(array, affine=None):
    def make(path):
        nibabel.save(nibabel.Nifti1Image(np.asarray(array), np.eye(4) if affine is None else affine), path)

    return make


def spoiled(number):
    def make(path):
        array = picture(cube(12)).values[0].numpy()
        array[3, 4, 5] = number
        values(array)(path)

    return make


def without_affine(path):
    image = nibabel.Nifti1Image(NOISE[..., 0], None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    image.to_filename(path)


def with_sform(row, numbers):
    """A file whose sform has one row overwritten: bytes 280, 296 and 312 of the header."""

    def make(path):
        scan(path)
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[280 + 16 * row : 296 + 16 * row] = struct.pack("<4f", *numbers)
        path.write_bytes(gzip.compress(bytes(content)))

    return make


def cut(path):
    scan(path)
    path.write_bytes(path.read_bytes()[:-200])


def uncompressed(d):
    scan(d / "full.nii")
    (d / "a.nii").write_bytes((d / "full.nii").read_bytes()[:3000])
    return d / "a.nii", scan(d / "b.nii.gz"), d / "out", ()


def broken_picture(d):
    source, target = photos(d)
    source.write_bytes(source.read_bytes()[:70])
    return source, target, d / "out", ()


def masked(make):
    """A pair of scans, and a mask made in the folder."""
    return lambda d: (*scans(d), d / "out", ("--mask", make(d)))


def mask(array, affine=None):
    def make(d):
        values(np.asarray(array), OTHER.affine.numpy() if affine is None else affine)(d / "mask.nii.gz")
        return d / "mask.nii.gz"

    return make


FAR = np.eye(4) + np.outer([1e4, 0, 0, 0], [0, 0, 0, 1])
NOISE = np.random.default_rng(0).random((9, 9, 9, 4), np.float32)
BLOB = (200 * picture(cube(20)).values[0]).round().byte().numpy()
BAD = {
    "no affine": (with_source(without_affine), "it has no affine"),
    "a singular affine": (with_source(with_sform(0, (0, 0, 0, 0))), "a.nii.gz"),
    "an affine that is not a number": (with_source(with_sform(1, (0, float("nan"), 0, 0))), "a.nii.gz"),
    "no voxels": (with_source(values(np.zeros((0, 9, 9), np.float32))), "no voxels"),
    "an axis of no voxels": (with_source(values(np.zeros((9, 0, 9), np.float32))), "no voxels"),
    "NaN": (with_source(spoiled(np.nan)), "1 of its 1,728 voxels"),
    "infinity": (with_source(spoiled(np.inf)), "1 of its 1,728 voxels"),
    "a time series": (with_source(values(NOISE)), "series of 4 volumes"),
    "a constant image": (with_source(values(np.full((9, 9, 9), 7.0))), "same value everywhere, 7"),
    "few voxels": (with_source(values(NOISE[:2, :2, :2, 0])), "8 points"),
    "a truncated file": (with_source(cut), "truncated or damaged"),
    "a truncated file without compression": (uncompressed, "truncated or damaged"),
    "something else": (with_source(lambda path: path.write_text("hello") and None), "not a NIfTI file"),
    "a truncated picture": (broken_picture, "truncated"),
    "a plane and space": (lambda d: (photo(d / "a.png"), scan(d / "b.nii"), d / "out", ()), "slices with slices"),
    "an image and a mesh": (lambda d: (scan(d / "a.nii"), octahedron(d / "b.off"), d / "out", ()), "target is Mesh"),
    "a mesh and an image": (lambda d: (octahedron(d / "a.off"), scan(d / "b.nii"), d / "out", ()), "source is Mesh"),
    "a picture and points": (lambda d: (photo(d / "a.png"), ring(d / "b.txt"), d / "out", ()), "target is Points"),
    "no overlap": (with_source(values(BLOB, FAR), "--align", "none"), "do not overlap in space"),
    "positions too large": (
        with_source(values(BLOB, np.eye(4) + np.outer([1e8, 0, 0, 0], [0, 0, 0, 1]))),
        "hardly be told apart",
    ),
    "a mask of another dimension": (masked(lambda d: photo(d / "m.png")), "3 axes"),
    "a mask that is no image": (masked(lambda d: octahedron(d / "m.off")), "it has Mesh"),
    "a mask that is not there": (masked(lambda d: d / "m.nii"), "no such file"),
    "a mask of zeros": (masked(mask(np.zeros(OTHER.shape, np.uint8))), "0 everywhere"),
    "a negative mask": (masked(mask(-np.ones(OTHER.shape, np.int16))), "between 0 and 1"),
    "a mask above 1": (masked(mask(np.full(OTHER.shape, 1.5, np.float32))), "between 0 and 1"),
    "a mask that lies elsewhere": (masked(mask(np.ones((9, 9, 9), np.uint8), FAR)), "elsewhere in space"),
    "a mask of meshes": (
        lambda d: (octahedron(d / "a.off"), octahedron(d / "b.off"), d / "out", ("--mask", scan(d / "m.nii"))),
        "--mask is for images",
    ),
    "levels upward": (with_options("--levels", "1,2,4"), "coarse to fine"),
    "equal levels": (with_options("--levels", "2,2,1"), "coarse to fine"),
    "a level of 0": (with_options("--levels", "2,0"), "coarse to fine"),
    "half a level": (with_options("--levels", "1.5"), "whole numbers"),
    "levels that are words": (with_options("--levels", "fine"), "whole numbers"),
    "levels of meshes": (
        lambda d: (octahedron(d / "a.off"), octahedron(d / "b.off"), d / "out", ("--levels", "2,1")),
        "levels for images only",
    ),
    "controls": (with_options("--controls", "9"), "controls for points"),
    "a backend": (with_options("--backend", "dense"), "backend for points"),
    "steps of a descent": (with_options("--steps", "4"), "knows no time"),
    "a zero scale": (with_options("--scale", "0"), "--scale"),
    "a negative scale": (with_options("--scale", "-2"), "--scale"),
    "a scale below a pixel": (with_options("--scale", "0.01", "--model", "flow"), "scale of 0.01 is finer"),
    "a negative weight": (with_options("--weight", "-1"), "--weight"),
    **{
        f"{name} of images": (with_options("--loss", name), "compares points")
        for name in ("varifold", "current", "mmd", "sinkhorn", "landmarks")
    },
    **{
        f"{name} of meshes": (
            lambda d, name=name: (octahedron(d / "a.off"), octahedron(d / "b.off"), d / "out", ("--loss", name)),
            "compares images",
        )
        for name in ("lncc", "ssd", "mi", "dice")
    },
    "an output that is a file": (lambda d: (*photos(d), d / "fixed.png", ()), "is a file"),
    "an output that is the source": (
        lambda d: (photo(d / "moved.png", bend), photo(d / "b.png"), d, ()),
        "would be overwritten",
    ),
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
    assert sorted(tmp_path.iterdir()) == before  # not even an empty folder


def test_out_of_memory_is_told(tmp_path, capsys, monkeypatch):
    def large(*arguments, **options):
        torch.empty(2**60)

    monkeypatch.setattr(diffeo, "register", large)
    assert run(*photos(tmp_path), "-o", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert "out of memory" in err
    assert one_sentence(err)


# odd input that is fine


def one_bright_voxel(d):
    array = np.zeros((16, 16, 16), np.float32)
    array[8, 8, 8] = 1
    values(array, cube(16).affine.numpy())(d / "a.nii.gz")
    return d / "a.nii.gz", scan(d / "b.nii.gz", where=cube(16))


def apart(d):
    values(BLOB, FAR)(d / "a.nii.gz")
    return d / "a.nii.gz", scan(d / "b.nii.gz")


def sized(step):
    def make(d):
        for name, image in (("a", picture(cube(20), bend)), ("b", picture(cube(20)))):
            values(image.values[0].numpy(), np.diag([step, step, step, 1]))(d / f"{name}.nii.gz")
        return d / "a.nii.gz", d / "b.nii.gz"

    return make


def one_volume_of_a_series(d):
    values(BLOB[..., None], cube(20).affine.numpy())(d / "a.nii.gz")
    return d / "a.nii.gz", scan(d / "b.nii.gz")


ODD = {
    "identical": lambda d: (photo(d / "a.png"), photo(d / "b.png")),
    "one bright voxel": one_bright_voxel,
    "images that lie apart": apart,
    "voxels of 1e-6": sized(1e-6),
    "voxels of 1e6": sized(1e6),
    "a series of one volume": one_volume_of_a_series,
    "whole numbers of 16 bits": lambda d: (scan(d / "a.nii", bend, dtype=np.int16), scan(d / "b.nii", dtype=np.uint16)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ODD)
def test_odd_input_is_registered(case, tmp_path, capsys):
    source, target = ODD[case](tmp_path)
    assert run(source, target, "-o", tmp_path / "out", "--json") == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["data_after"] <= report["data_before"] + 1e-9
    assert report["min_corner"] > 0  # small where one voxel is enlarged to a blob


@pytest.mark.slow
def test_label_maps_stay_label_maps(tmp_path, capsys):
    """As `evaluate` says, as the report says, and as what is opened again says."""
    names, files = np.array([0, 30, 2, 7], np.uint8), []
    for name, before in (("moving", bend), ("fixed", None)):
        values = names[(3 * picture(cube(20), before).values[0]).round().long().clamp(max=3).numpy()]
        files.append(tmp_path / f"{name}_labels.nii.gz")
        nibabel.save(nibabel.Nifti1Image(values, cube(20).affine.numpy()), files[-1])
    out = tmp_path / "out"
    assert run(*files, "-o", out, "--loss", "dice", "-q") == 0
    moved = nibabel.load(out / "moved.nii.gz")
    assert set(np.unique(np.asarray(moved.dataobj))) == set(names.tolist())
    assert main(["evaluate", str(files[1]), str(out / "moved.nii.gz"), "--json"]) == 0
    found, report = json.loads(capsys.readouterr().out), json.loads((out / "report.json").read_text())
    assert found["kind"] == "labels"
    assert report["labels"] == [row["label"] for row in found["labels"]] == [2, 7, 30]
    assert report["data_after"] == pytest.approx(1 - found["mean_dice"], abs=1e-6)
    assert report["data_after"] < 0.5 * report["data_before"]
    assert np.array_equal(diffeo.open_result(out).moved.values[0].numpy(), np.asarray(moved.dataobj))
