"""What a registration of images gives back: honest figures, complete files, and the same result after interruptions."""

import dataclasses
import itertools
import json
import math

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import diffeo
from diffeo import Compose, Descent, Flow, MILoss, SSDLoss
from diffeo.core import Inverse
from diffeo.diagnostics import corner_determinants
from diffeo.flows import Affine
from diffeo.io import read_warp
from diffeo.registration import files, image_report
from tests.oracles import distance
from tests.registration.scenes import F64, cube, grid, pair, picture, places, square
from tests.registration.shapes import rotation

TURNED = grid(
    (22, 20, 18), (1.8, 2.0, 2.2), rotation(3, 0.3) @ torch.diag(torch.tensor([-1.0, 1, 1])).double(), (3, -2, 1)
)
NUMBERS = (
    "energy data_before data_after error_before error_after min_jacobian max_jacobian min_corner folds inverse_error "
    "inverse_error_max iterations seconds seed"
)


@pytest.fixture(scope="module")
def result():
    """A registration in space: grids that are not parallel."""
    return diffeo.register(*pair(cube(20), TURNED), seed=3)


@pytest.fixture(scope="module")
def saved(result, tmp_path_factory):
    """Its files."""
    return result.save(tmp_path_factory.mktemp("results") / "new" / "out")


# ---- figures


def test_figures_are_numbers_that_every_parser_reads(result):
    report = json.loads(json.dumps(result.report, allow_nan=False))
    for name in NUMBERS.split():
        assert isinstance(report[name], (int, float)), name
        assert math.isfinite(report[name]), name
    assert report["converged"] is True
    assert report["levels"] == [1]
    assert report["seed"] == report["parameters"]["seed"] == 3
    assert report["parameters"]["loss"] == "LNCCLoss(radius=2)"
    assert report["parameters"]["model"] == "GridDescent"
    assert {"python", "torch", "diffeo", "numba"} <= set(report["versions"])


def test_figures_are_those_of_the_map(result):
    """Computed once more, from the map alone."""
    report, phi, fixed = result.report, result.phi, result.target.grid
    moved = phi @ result.source.on(fixed)
    assert distance(result.moved.values, moved.values) < 1e-4
    assert report["data_after"] == pytest.approx(float(diffeo.LNCCLoss()(moved, result.target)), abs=1e-4)
    assert report["data_before"] == pytest.approx(
        float(diffeo.LNCCLoss()(result.source.resampled(fixed), result.target)), abs=1e-6
    )
    assert report["error_after"] == pytest.approx(float(SSDLoss()(moved, result.target)), rel=1e-3)
    determinants = corner_determinants(phi, fixed)
    assert report["min_corner"] == pytest.approx(float(determinants.min()), rel=1e-3)
    largest = every_corner_determinant(phi.pullback(fixed)).max()
    assert report["min_jacobian"] == pytest.approx(1 / float(largest), rel=1e-3)
    assert report["max_jacobian"] == pytest.approx(1 / report["min_corner"], rel=1e-6)
    assert report["energy"] == pytest.approx(float(phi.energy()), rel=1e-6)
    assert report["iterations"] == sum(r.iteration > 0 for r in result.history)


def every_corner_determinant(u):
    """det(I + Du) at every corner of every cell, one row per corner, by the edges that meet there."""
    rows = []
    for corner in itertools.product((0, 1), repeat=3):
        edges = []
        for axis in range(3):
            edge = u.double().diff(dim=axis + 1)
            for other in {0, 1, 2} - {axis}:
                edge = edge.narrow(other + 1, corner[other], u.shape[other + 1] - 1)
            edges.append(edge.flatten(1))
        rows.append(torch.linalg.det(torch.stack(edges, 1).permute(2, 0, 1) + torch.eye(3)))
    return torch.stack(rows)


def test_the_inverse_is_that_of_the_map(result):
    """Where the map is known on grids alone, to a part of a step; by itself, to rounding."""
    x = places(3).float()
    assert distance(result.phi.inverse(result.phi(x)), x) < 1e-4
    assert 0 < result.report["inverse_error"] < 0.1 * min(TURNED.spacing)
    assert result.report["inverse_error"] <= result.report["inverse_error_max"] < 2 * max(TURNED.spacing)


def test_a_map_that_leads_nowhere_is_reported_without_an_inverse():
    far = Affine(torch.eye(2), torch.tensor([1e3, 0.0]))
    assert image_report.inverse_errors(far, square(9), square(9)) == {"inverse_error": None, "inverse_error_max": None}


def test_progress_is_told_from_coarse_to_fine():
    """Stage after stage; in each, iterations from 1 on, and the best of a stage is no worse than its start."""
    told = []
    result = diffeo.register(*pair(square(80)), levels=[4, 2, 1], callbacks=[told.append])
    assert [r for r in result.history if r.iteration] == told
    assert [stage for stage, _ in itertools.groupby(r.stage for r in told)] == [0, 1, 2]
    for stage in range(3):
        records = [r for r in result.history if r.stage == stage]
        assert [r.iteration for r in records] == list(range(len(records)))
        assert all(r.stages == 3 and 0 < len(records) - 1 <= r.max_iterations for r in records)
        assert min(r.data for r in records) < records[0].data
    assert result.report["iterations"] == len(told)


# ---- files

NAMES = ["history.csv", "inverse_warp.nii.gz", "jacobian.nii.gz", "moved.nii.gz"]
NAMES += ["report.json", "report.png", "source.safetensors", "target.safetensors", "transform.safetensors"]
NAMES += ["warp.nii.gz"]


@pytest.mark.slow
def test_all_files_are_there(saved, result):
    assert sorted(path.name for path in saved.iterdir()) == NAMES
    assert result.report.items() <= json.loads((saved / "report.json").read_text()).items()
    with Pillow.open(saved / "report.png") as image:
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 500
    assert pixels.std() > 20
    assert len(np.unique(pixels)) > 50


def test_the_transform_is_the_map(saved, result):
    phi, x = diffeo.load(saved / "transform.safetensors"), places(3).float()
    assert torch.equal(phi(x), result.phi(x))
    assert torch.equal(phi.pullback(TURNED), result.phi.pullback(TURNED))
    numbers = sum(t.numel() * t.element_size() for t in phi.state_dict().values())
    assert (saved / "transform.safetensors").stat().st_size < numbers + 10_000


def test_the_moved_image_is_on_the_grid_of_the_fixed_one(saved, result):
    moved = diffeo.read(saved / "moved.nii.gz")
    assert moved.grid.same(TURNED)
    assert distance(moved.values, result.moved.values) < 1e-5


def test_the_warps_are_the_map_and_its_inverse(saved, result):
    """In other files they are known at grid points only: equal there, and nearly so between them."""
    warp, back = read_warp(saved / "warp.nii.gz"), Inverse(read_warp(saved / "inverse_warp.nii.gz"))
    assert distance(warp.pullback(TURNED), result.phi.pullback(TURNED)) < 1e-3
    assert distance(back.deformation(cube(20)), result.phi.deformation(cube(20))) < 1e-3
    x, y = places(3).float(), result.phi(places(3).float())
    for phi in (warp, back):
        assert (phi(x) - y).norm(dim=1).mean() < 0.1 * min(TURNED.spacing)
    carried = warp @ result.source.on(TURNED)
    assert distance(carried.values, result.moved.values) < 1e-3


def test_the_jacobian_is_that_of_the_inverse_map(saved, result):
    """By central differences, written once more with numpy, a point at a time."""
    found = nibabel.load(saved / "jacobian.nii.gz")
    assert np.allclose(found.affine, TURNED.affine.numpy(), atol=1e-5)
    u = result.phi.pullback(TURNED).double().numpy()
    for i in ((10, 9, 8), (4, 12, 7), (21, 0, 9)):
        slopes = []
        for axis in range(3):
            ends = [
                [min(max(k + (sign if a == axis else 0), 0), TURNED.shape[a] - 1) for a, k in enumerate(i)]
                for sign in (1, -1)
            ]
            slopes.append((u[:, *ends[0]] - u[:, *ends[1]]) / (ends[0][axis] - ends[1][axis]))
        expected = np.linalg.det(np.eye(3) + np.stack(slopes, 1))
        assert found.dataobj[i] == pytest.approx(expected, rel=1e-4)


def test_the_jacobian_of_slabs_is_that_of_the_whole(result, monkeypatch):
    whole = files.jacobian(result.phi, result.target).values
    monkeypatch.setattr(files, "CHUNK", 1)
    assert torch.equal(files.jacobian(result.phi, result.target).values, whole)


@pytest.mark.slow
def test_a_picture_stays_a_picture(tmp_path):
    """In its own format and its own numbers; its warps in pixels."""
    values = (255 * picture(square(40)).values[0]).round()
    for name, shift in (("a.png", 0), ("b.png", 2)):
        Pillow.fromarray(values.roll(shift, 1).byte().numpy()).save(tmp_path / name)
    source, target = diffeo.read(tmp_path / "a.png"), diffeo.read(tmp_path / "b.png")
    result = diffeo.register(source, target)
    folder = result.save(tmp_path / "out", like=tmp_path / "a.png")
    assert (folder / "moved.png").exists()
    moved = np.asarray(Pillow.open(folder / "moved.png"))
    assert moved.dtype == np.uint8
    assert np.abs(moved - result.moved.values[0].numpy()).max() <= 0.5 + 1e-3
    warp = read_warp(folder / "warp.nii.gz")
    center = torch.tensor([[20.0, 15.0]])
    assert distance(warp(center) - center, torch.tensor([[2.0, 0.0]])) < 0.6


def test_a_picture_that_was_moved_onto_a_scan_is_a_scan(tmp_path):
    """Pictures have no place for millimeters: what cannot be a picture becomes NIfTI, on the grid of the target."""
    values = (255 * picture(square(20)).values[0]).round().byte().numpy()
    Pillow.fromarray(values).save(tmp_path / "a.png")
    affine = np.diag([1.5, 1.5, 1, 1])
    nibabel.save(nibabel.Nifti1Image(values.T[..., None], affine), tmp_path / "b.nii.gz")
    source, target = diffeo.read(tmp_path / "a.png"), diffeo.read(tmp_path / "b.nii.gz")
    moved = source.on(target.grid).carried(Affine(1.5 * torch.eye(2), torch.zeros(2)))
    files.write_moved(tmp_path, moved, target, [tmp_path / "a.png"])
    assert not (tmp_path / "moved.png").exists()
    found = nibabel.load(tmp_path / "moved.nii.gz")
    assert np.array_equal(found.affine, affine)
    assert np.abs(found.get_fdata() - values.T).max() < 1e-3


@pytest.mark.slow
def test_what_was_there_is_replaced_and_other_files_are_left(result, saved, tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    result.save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "transform.safetensors").read_bytes() == (saved / "transform.safetensors").read_bytes()
    assert diffeo.read(tmp_path / "moved.nii.gz").grid.same(TURNED)


@pytest.mark.parametrize("fails", ["write_moved", "write_warps", "jacobian", "plot"])
def test_nothing_is_left_half_written(result, tmp_path, monkeypatch, fails):
    """What is there after a failure is complete, old or new."""

    def fail(*arguments, **options):
        raise RuntimeError("no")

    for name in NAMES:
        (tmp_path / name).write_text("old")
    owner = {"plot": type(result), "jacobian": files}.get(fails, diffeo.registration.result)
    monkeypatch.setattr(owner, fails, fail)
    with pytest.raises(RuntimeError):
        result.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES
    assert (tmp_path / "report.png").read_text() == "old"
    if (tmp_path / "transform.safetensors").read_bytes() != b"old":
        diffeo.load(tmp_path / "transform.safetensors")


@pytest.mark.parametrize(
    ("place", "words"), [("file", "cannot make the folder"), ("file/below", "cannot make the folder")], ids=str
)
def test_a_folder_that_cannot_be(result, tmp_path, place, words):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=words) as caught:
        result.save(tmp_path / place)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


# ---- interruptions


class Interrupt(Exception):
    pass


def interrupted(pair_, checkpoint, after: int, **options) -> None:
    """A registration that ends after so many iterations."""
    calls = []

    def stop(record):
        calls.append(record)
        if len(calls) == after:
            raise Interrupt

    with pytest.raises(Interrupt):
        diffeo.register(*pair_, **options, checkpoint=checkpoint, callbacks=[stop])


def same(a, b) -> None:
    """To the last bit."""
    assert torch.equal(a.moved.values, b.moved.values)
    assert all(torch.equal(x, y) for x, y in zip(a.phi.state_dict().values(), b.phi.state_dict().values(), strict=True))
    ignored = {"seconds"}
    assert {k: v for k, v in a.report.items() if k not in ignored} == {
        k: v for k, v in b.report.items() if k not in ignored
    }


RUNS = {
    "three levels": {"levels": [4, 2, 1], "max_iterations": 12},
    "mutual information": {"loss": MILoss(), "levels": [2, 1], "max_iterations": 9},
    "a flow": {"model": Flow, "levels": [2, 1], "max_iterations": 5},
}


@pytest.mark.parametrize(
    ("run", "after"),
    [
        ("three levels", 1),
        ("three levels", 14),
        ("three levels", 20),
        pytest.param("three levels", 12, marks=pytest.mark.slow),
        pytest.param("mutual information", 12, marks=pytest.mark.slow),
        pytest.param("a flow", 3, marks=pytest.mark.slow),
        pytest.param("a flow", 7, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_an_interrupted_registration_goes_on_to_the_same_result(tmp_path, run, after):
    images, options = pair(square(40)), RUNS[run]
    checkpoint = tmp_path / "folder" / "checkpoint.safetensors"
    interrupted(images, checkpoint, after, **options)
    resumed = diffeo.register(*images, **options, checkpoint=checkpoint, resume=True)
    same(resumed, diffeo.register(*images, **options))


def test_a_finished_registration_is_taken_up_at_its_end(tmp_path):
    images, checkpoint = pair(square(40)), tmp_path / "checkpoint.safetensors"
    first = diffeo.register(*images, max_iterations=4, checkpoint=checkpoint)
    told = []
    again = diffeo.register(*images, max_iterations=4, checkpoint=checkpoint, resume=True, callbacks=[told.append])
    assert len(told) <= 3  # what came after the last checkpoint, if that was not written at the end
    same(first, again)


OTHERS = {
    "other options": lambda a, b: ((a, b), {"weight": 0.5}),
    "another source": lambda a, b: ((dataclasses.replace(a, values=a.values * 1.01), b), {}),
    "another header": lambda a, b: (
        (a, dataclasses.replace(b, grid=b.grid.moved(torch.eye(2).double(), torch.ones(2)))),
        {},
    ),
    "another mask": lambda a, b: ((a, dataclasses.replace(b, mask=torch.ones_like(b.values[0]))), {}),
    "another model": lambda a, b: ((a, b), {"model": Flow}),
}


@pytest.mark.parametrize("other", OTHERS)
def test_the_checkpoint_of_another_registration_is_refused(tmp_path, other):
    images, checkpoint = pair(square(24)), tmp_path / "checkpoint.safetensors"
    interrupted(images, checkpoint, 2)
    kept = checkpoint.read_bytes()
    images, options = OTHERS[other](*images)
    with pytest.raises(ValueError, match="belongs to another registration"):
        diffeo.register(*images, **options, checkpoint=checkpoint, resume=True)
    assert checkpoint.read_bytes() == kept


def test_without_resume_it_starts_again(tmp_path):
    images, checkpoint = pair(square(24)), tmp_path / "checkpoint.safetensors"
    interrupted(images, checkpoint, 2)
    told = []
    diffeo.register(*images, checkpoint=checkpoint, callbacks=[told.append])
    assert told[0].iteration == 1


def test_ctrl_c_reaches_the_caller(tmp_path):
    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diffeo.register(*pair(square(24)), callbacks=[stop], checkpoint=tmp_path / "checkpoint.safetensors")


def test_runs_are_equal_to_the_last_bit():
    same(*(diffeo.register(*pair(square(32)), model=Descent) for _ in range(2)))


def test_given_images_are_not_changed():
    source, target = pair(square(32), dtype=F64)
    kept = source.values.clone(), target.values.clone()
    result = diffeo.register(source, target)
    assert torch.equal(source.values, kept[0])
    assert torch.equal(target.values, kept[1])
    assert result.source is source
    assert result.target is target
    assert result.moved.values.dtype == F64  # as given, though the map was found in single precision
    assert isinstance(result.phi, Compose)
    assert not any(p.requires_grad for p in result.phi.parameters())


@pytest.mark.slow
def test_threads_do_not_change_the_result():
    """Sums over slabs are added in one order, whoever computed them."""
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(diffeo.register(*pair(square(64)), max_iterations=5))
    finally:
        torch.set_num_threads(threads)
    assert distance(results[0].moved.values, results[1].moved.values) < 1e-3


@pytest.mark.slow
def test_a_map_that_folds_is_saved_without_an_inverse_and_no_older_one_is_left(tmp_path):
    source, target = pair(square(24))
    result = diffeo.register(source, target, max_iterations=2)
    result.save(tmp_path)
    assert (tmp_path / "inverse_warp.nii.gz").exists()
    u = torch.zeros(2, 24, 24)
    u[0, 8:16, 8:16] = -2.5 * torch.arange(8.0)[:, None]  # runs backward there
    folding = dataclasses.replace(result, phi=diffeo.Warp(target.grid, u))
    folding.save(tmp_path)
    assert not (tmp_path / "inverse_warp.nii.gz").exists()
    assert {"warp.nii.gz", "jacobian.nii.gz", "report.json", "report.png"} <= {p.name for p in tmp_path.iterdir()}
