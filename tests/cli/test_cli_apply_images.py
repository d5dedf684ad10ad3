"""``diffeo apply`` for images: where they go, between voxels, on which grid, and back again."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from diffeo.cli.main import main
from diffeo.grid import Grid
from diffeo.io import read
from diffeo.io.grids import grids_in, with_grids
from diffeo.io.transform import load
from tests.cli.files import AFFINE, boxes, nifti, ring, scan, transform, warp
from tests.cli.test_cli_main import one_sentence

F64 = torch.float64
COARSE = np.diag([3.0, 2.0, 2.0, 1.0]) + np.outer([-17, -4, 3, 0], [0, 0, 0, 1])


def run(*argv):
    return main(["apply", *map(str, argv)])


def data(path):
    return np.asarray(nib.load(path).dataobj)


def grid_of(path):
    image = nib.load(path)
    return Grid(image.shape, torch.from_numpy(image.affine))


def interpolated(path, x):
    """Trilinear interpolation at positions in space, written once more with scipy; 0 outside."""
    from scipy.ndimage import map_coordinates

    index = grid_of(path).to_index(x).T.numpy()
    return map_coordinates(data(path).astype(float), index, order=1, mode="grid-constant")


def test_an_image_is_pulled_back_by_the_inverse_map(tmp_path):
    """The value at x is the image's at φ⁻¹(x)."""
    phi, image, out = warp(tmp_path / "t.safetensors"), scan(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz"
    assert run(phi, image, "-o", out) == 0
    x = grid_of(image).points(torch.empty((), dtype=F64))
    expected = interpolated(image, load(phi).inverse(x))
    assert np.allclose(nib.load(out).affine, AFFINE)
    assert data(out).dtype == np.float32
    assert np.abs(data(out).ravel() - expected).max() < 1e-4
    assert np.abs(data(out) - data(image)).max() > 10


def test_points_and_images_move_together(tmp_path):
    """The brightest point of a blob, carried as a point by φ, is the brightest of the blob that φ⁻¹ carries."""
    phi, out = warp(tmp_path / "t.safetensors"), tmp_path / "b.nii.gz"
    values = np.zeros((14, 12, 10), np.float32)
    values[4:7, 6:9, 3:6] = 0.5
    values[5, 7, 4] = 1
    center = (AFFINE @ [5, 7, 4, 1])[:3]
    np.savetxt(tmp_path / "p.txt", [center, center])
    fine = scan(tmp_path / "fine.nii", (60, 52, 44), AFFINE @ np.diag([0.22, 0.22, 0.22, 1]))
    assert run(phi, nifti(tmp_path / "a.nii", values, AFFINE), "-o", out, "--reference", fine) == 0
    assert run(phi, tmp_path / "p.txt", "-o", tmp_path / "q.txt") == 0
    brightest = grid_of(out).to_space(torch.tensor(np.unravel_index(data(out).argmax(), (60, 52, 44)))[None].double())
    moved = np.loadtxt(tmp_path / "q.txt")[0]
    assert np.linalg.norm(moved - center) > 1
    assert np.linalg.norm(brightest[0].numpy() - moved) < 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_labels_stay_labels(tmp_path, dtype):
    labels = boxes(tmp_path / "a.nii.gz", ((3, 3, 2), (7, 8, 6)), ((7, 3, 2), (11, 8, 8)), dtype=dtype)
    phi, out = warp(tmp_path / "t.safetensors"), tmp_path / "b.nii.gz"
    assert run(phi, labels, "-o", out, "--interpolation", "nearest") == 0
    assert data(out).dtype == dtype
    assert set(np.unique(data(out))) == {0, 1, 2}
    where = grid_of(labels)
    x = load(phi).inverse(where.points(torch.empty((), dtype=F64)))
    index = np.floor(where.to_index(x).numpy() + 0.5 - 1e-4).astype(int)
    inside = ((index >= 0) & (index < data(labels).shape)).all(1)
    expected = np.where(inside, data(labels)[tuple(index.clip(0, np.array(where.shape) - 1).T)], 0)
    assert (data(out).ravel() == expected).mean() > 0.999
    assert not np.array_equal(data(out), data(labels))


@pytest.mark.parametrize("largest", [2**24, 2**24 + 1, 2**31 - 1])
def test_large_labels_are_exact(tmp_path, largest):
    values = np.zeros((14, 12, 10), np.int32)
    values[3:9, 3:9, 2:7], values[9:12, 3:9, 2:7] = largest, 12175
    out = tmp_path / "b.nii.gz"
    assert run(warp(tmp_path / "t.safetensors"), nifti(tmp_path / "a.nii", values), "-o", out, "--reference",
               tmp_path / "a.nii", "--interpolation", "nearest") == 0  # fmt: skip
    assert data(out).dtype == np.int32
    assert set(np.unique(data(out))) <= {0, 12175, largest}
    assert largest in data(out)


def test_labels_end_where_their_grid_ends(tmp_path):
    """A label that touches the border on all sides is not continued beyond it; an intensity is."""
    full = nifti(tmp_path / "a.nii", np.full((8, 8, 8), 5, np.uint8) + (np.arange(8) % 2).astype(np.uint8))
    big = nifti(
        tmp_path / "big.nii", np.zeros((20, 20, 20), np.uint8), np.eye(4) - np.outer([6, 6, 6, 0], [0, 0, 0, 1])
    )
    phi = warp(tmp_path / "t.safetensors", shift=0.0)
    assert run(phi, full, "-o", tmp_path / "l.nii", "--reference", big, "--interpolation", "nearest") == 0
    assert data(tmp_path / "l.nii")[0, 0, 0] == 0
    assert run(phi, full, "-o", tmp_path / "i.nii", "--reference", big) == 0
    assert data(tmp_path / "i.nii")[0, 0, 0] in (5, 6)


def test_the_inverse_brings_an_image_back(tmp_path):
    phi, image = (
        warp(tmp_path / "t.safetensors"),
        scan(tmp_path / "a.nii.gz", (28, 24, 20), AFFINE @ np.diag([0.5] * 3 + [1])),
    )
    there, back = tmp_path / "there.nii.gz", tmp_path / "back.nii.gz"
    assert run(phi, image, "-o", there, "--interpolation", "cubic") == 0
    assert run(phi, there, "-o", back, "--inverse", "--interpolation", "cubic") == 0
    assert np.abs(data(there) - data(image)).max() > 10
    assert np.abs(data(back) - data(image))[3:-3, 3:-3, 3:-3].max() < 2
    x = grid_of(image).points(torch.empty((), dtype=F64))
    assert run(phi, image, "-o", back, "--inverse") == 0
    assert np.abs(data(back).ravel() - interpolated(image, load(phi)(x))).max() < 1e-4


def test_cubic_is_nearer_to_a_smooth_image_than_linear(tmp_path):
    fine = scan(tmp_path / "fine.nii", (27, 23, 19), AFFINE @ np.diag([0.5] * 3 + [1]))
    coarse = nifti(tmp_path / "coarse.nii", data(fine)[::2, ::2, ::2], AFFINE)
    phi, errors = warp(tmp_path / "t.safetensors"), {}
    assert run(phi, fine, "-o", tmp_path / "e.nii", "--reference", coarse, "--interpolation", "cubic") == 0
    for way in ("linear", "cubic", "nearest"):
        assert run(phi, coarse, "-o", tmp_path / "b.nii", "--interpolation", way) == 0
        errors[way] = np.abs(data(tmp_path / "b.nii") - data(tmp_path / "e.nii"))[3:-3, 3:-3, 3:-3].mean()
    assert errors["cubic"] < errors["linear"] / 3 < errors["nearest"] / 6


def test_whole_numbers_are_rounded_and_clipped(tmp_path):
    image = scan(tmp_path / "a.nii.gz", dtype=np.uint8)
    assert run(warp(tmp_path / "t.safetensors"), image, "-o", tmp_path / "b.nii.gz", "--interpolation", "cubic") == 0
    assert data(tmp_path / "b.nii.gz").dtype == np.uint8
    assert data(tmp_path / "b.nii.gz").max() < 200  # the overshoot below 0 has not become 255


def test_the_grid_of_the_result(tmp_path):
    """That of --reference; else the one the registration had; else the image's own."""
    image, other = scan(tmp_path / "a.nii.gz"), scan(tmp_path / "o.nii.gz", (7, 9, 8), COARSE)
    fixed, moving = (
        Grid((5, 6, 7), torch.eye(4)),
        Grid((4, 9, 6), 2 * torch.eye(4) - torch.diag(torch.tensor([0.0, 0, 0, 1]))),
    )
    plain = warp(tmp_path / "plain.safetensors")
    known = warp(tmp_path / "known.safetensors", metadata=with_grids({"seed": 3}, fixed=fixed, moving=moving))
    for phi, options, expected in (
        (plain, [], grid_of(image)),
        (plain, ["--reference", other], grid_of(other)),
        (known, [], fixed),
        (known, ["--inverse"], moving),
        (known, ["--inverse", "--reference", other], grid_of(other)),
    ):
        assert run(phi, image, "-o", tmp_path / "b.nii.gz", *options) == 0
        assert grid_of(tmp_path / "b.nii.gz").same(expected)


def test_grids_survive_in_metadata():
    grid = Grid((5, 6, 7), torch.from_numpy(AFFINE) / 3)
    found = grids_in(with_grids({"seed": 3}, fixed=grid))
    assert found["fixed"].shape == grid.shape
    assert torch.equal(found["fixed"].affine, grid.affine)
    assert grids_in({"seed": 3}) == {}
    with pytest.raises(ValueError, match="damaged"):
        grids_in({"grids": {"fixed": {"shape": [3, 3]}}})


def test_pictures_and_their_landmarks(tmp_path):
    """In the plane, positions are (column, row): a picture and a table of x, y move alike."""
    from skimage.io import imread, imsave

    from diffeo.flows import Affine
    from diffeo.io import save

    picture = np.zeros((30, 40), np.uint8)
    picture[10:13, 20:23] = 200
    imsave(tmp_path / "a.png", picture, check_contrast=False)
    (tmp_path / "a.csv").write_text(",X,Y\n7,21,11\n")
    save(tmp_path / "t.safetensors", Affine(torch.eye(2, dtype=F64), torch.tensor([5.0, -3.0], dtype=F64)))
    assert (
        run(tmp_path / "t.safetensors", tmp_path / "a.png", "-o", tmp_path / "b.png", "--interpolation", "nearest") == 0
    )
    assert run(tmp_path / "t.safetensors", tmp_path / "a.csv", "-o", tmp_path / "b.csv") == 0
    moved = imread(tmp_path / "b.png")
    assert (tmp_path / "b.csv").read_text() == ",X,Y\n7,26.0,8.0\n"
    assert moved[8, 26] == 200
    assert np.array_equal(moved[7:10, 25:28], picture[10:13, 20:23])
    assert moved.sum() == picture.sum()


def test_a_slice_lies_where_the_reference_lies(tmp_path):
    """In space: at its own height, as thick as it was, or as the slice that it is sampled like."""
    from diffeo.flows import Affine
    from diffeo.io import save

    save(tmp_path / "t.safetensors", Affine(torch.eye(2, dtype=F64), torch.tensor([1.0, 0.0], dtype=F64)))
    for name, thick, z in (("a.nii", 3.0, 12.0), ("b.nii", 5.0, 40.0)):
        affine = np.diag([1.0, 1, thick, 1])
        affine[2, 3] = z
        nifti(tmp_path / name, np.arange(30, dtype=np.float32).reshape(5, 6, 1), affine)
    for like, options in (("a.nii", []), ("b.nii", ["--reference", tmp_path / "b.nii"])):
        assert run(tmp_path / "t.safetensors", tmp_path / "a.nii", "-o", tmp_path / "c.nii", *options) == 0
        assert np.array_equal(nib.load(tmp_path / "c.nii").affine, nib.load(tmp_path / like).affine)
    assert main(["register", *(str(tmp_path / n) for n in ("a.nii", "b.nii")), "-o", str(tmp_path / "out"), "-q"]) == 0
    for name in ("moved.nii", "jacobian.nii.gz"):
        assert np.array_equal(nib.load(tmp_path / "out" / name).affine, nib.load(tmp_path / "b.nii").affine)


def test_labels_that_are_mixed_are_told(tmp_path, capsys):
    labels = boxes(tmp_path / "a.nii.gz", ((3, 3, 2), (7, 8, 6)))
    assert run(warp(tmp_path / "t.safetensors"), labels, "-o", tmp_path / "b.nii.gz") == 0
    err = capsys.readouterr().err
    assert "--interpolation nearest keeps them" in err
    assert one_sentence(err)
    assert (
        run(tmp_path / "t.safetensors", scan(tmp_path / "i.nii.gz", dtype=np.uint8), "-o", tmp_path / "b.nii.gz") == 0
    )
    assert capsys.readouterr().err == ""


def test_an_image_that_is_not_there_is_told(tmp_path, capsys):
    away = scan(tmp_path / "away.nii", affine=AFFINE + np.outer([900, 0, 0, 0], [0, 0, 0, 1]))
    phi = warp(tmp_path / "t.safetensors")
    assert run(phi, scan(tmp_path / "a.nii"), "-o", tmp_path / "b.nii", "--reference", away) == 0
    assert "nothing of SHAPE is seen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda d: (warp(d / "t.safetensors"), d / "none.nii", d / "b.nii"), "no such file"),
        (
            lambda d: (warp(d / "t.safetensors"), scan(d / "a.nii"), d / "b.nii", "--reference", d / "no.nii"),
            "no such file",
        ),
        (
            lambda d: (transform(d / "t.safetensors"), scan(d / "a.nii"), d / "b.nii"),
            "dimension 2, and the shape has dimension 3",
        ),
        (
            lambda d: (warp(d / "t.safetensors"), ring(d / "a.txt"), d / "b.txt"),
            "dimension 3, and the shape has dimension 2",
        ),
        (
            lambda d: (
                warp(d / "t.safetensors"),
                ring(d / "a.txt", d=3),
                d / "b.txt",
                "--reference",
                scan(d / "a.nii"),
            ),
            "--reference is for images, and SHAPE is Points",
        ),
        (
            lambda d: (warp(d / "t.safetensors"), ring(d / "a.txt", d=3), d / "b.txt", "--interpolation", "cubic"),
            "--interpolation is for images",
        ),
        (
            lambda d: (warp(d / "t.safetensors"), scan(d / "a.nii"), d / "b.nii", "--reference", ring(d / "a.txt")),
            "--reference expects an image",
        ),
        (lambda d: (warp(d / "t.safetensors"), nifti(d / "a.nii", np.zeros((4, 4, 4, 5))), d / "b.nii"), "5"),
        (lambda d: (warp(d / "t.safetensors"), nifti(d / "a.nii", np.full((4, 4, 4), np.nan)), d / "b.nii"), "NaN"),
        (lambda d: (warp(d / "t.safetensors"), scan(d / "a.nii"), d / "b.csv"), "b.csv"),
        (lambda d: (warp(d / "t.safetensors"), ring(d / "a.txt", d=3), d / "b.nii.gz"), "b.nii.gz"),
        (lambda d: (scan(d / "t.nii"), scan(d / "a.nii"), d / "b.nii"), "t.nii"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(prepare, words, tmp_path, capsys):
    phi, shape, out, *options = prepare(tmp_path)
    assert run(phi, shape, "-o", out, *options) == 2
    err = capsys.readouterr().err
    assert words in err
    assert one_sentence(err)
    assert not out.exists()


def test_the_help_says_which_way_things_go(capsys):
    assert main(["apply", "--help"]) == 0
    assert "points go with φ, images with φ⁻¹" in " ".join(capsys.readouterr().out.split())


def test_a_picture_of_a_scan_is_read_as_it_was_written(tmp_path):
    """What apply writes is an image that diffeo reads, on the grid asked for."""
    assert run(warp(tmp_path / "t.safetensors"), scan(tmp_path / "a.nii.gz"), "-o", tmp_path / "b.nii.gz") == 0
    assert read(tmp_path / "b.nii.gz").grid.same(read(tmp_path / "a.nii.gz").grid)
