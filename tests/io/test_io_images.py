"""Images come back from files where they were, with the values and the numbers they had."""

from __future__ import annotations

import dataclasses
import gc
import gzip
import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import skimage.io
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from diffeo.grid import Grid
from diffeo.io import read, write
from diffeo.io.images import in_pixels
from diffeo.shapes import Image, Points
from tests.io.images import bumps, grid, nifti, picture
from tests.oracles import distance, relative, rotation

VOLUMES = (".nii", ".nii.gz", ".mha", ".nrrd")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
INTEGERS = ("uint8", "int16", "uint16", "int32", "uint32", "int64")


@pytest.fixture(autouse=True, scope="module")
def _only_new_garbage():
    """Reading what is damaged collects garbage; what earlier tests have left need not be looked at each time."""
    gc.freeze()
    yield
    gc.unfreeze()


def image(on, channels=1, dtype=torch.float32, **options):
    return Image(bumps(on, channels=channels).to(dtype), on, **options)


def labels(on, top=3):
    return Image((bumps(on) * top).round().float(), on)


# where voxels are


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 6)])
def test_images_of_space_and_plane_come_back(tmp_path, suffix, flip, shape):
    before = image(grid(shape, seed=3, flip=flip))
    write(tmp_path / f"a{suffix}", before)
    after = read(tmp_path / f"a{suffix}")
    assert isinstance(after, Image)
    assert torch.equal(after.values, before.values)
    assert distance(after.grid.affine, before.grid.affine) < 1e-5
    assert after.attributes["space"] == "RAS+ millimeters"


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 6)])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_come_back(tmp_path, suffix, shape, channels):
    before = image(grid(shape), channels=channels)
    write(tmp_path / f"a{suffix}", before)
    after = read(tmp_path / f"a{suffix}")
    assert torch.equal(after.values, before.values)
    assert distance(after.grid.affine, before.grid.affine) < 1e-5


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 6)])
def test_nibabel_and_itk_see_the_same_image(tmp_path, shape):
    """The position of every voxel by three readers, RAS and LPS."""
    on, d = grid(shape, seed=4, flip=True), len(shape)
    before = image(on)
    write(tmp_path / "a.nii.gz", before)
    by_nibabel = nibabel.load(tmp_path / "a.nii.gz")
    assert np.abs(by_nibabel.get_fdata() - before.values[0].numpy()).max() < 1e-6
    index = [2, 4, 3][:d]
    there = on.to_space(torch.tensor([index], dtype=torch.float64))[0].numpy()
    padded = np.array([*index, *[0] * (3 - d), 1.0])
    assert np.abs((by_nibabel.affine @ padded)[:d] - there).max() < 1e-5
    assert by_nibabel.header["sform_code"] > 0
    assert by_nibabel.header["qform_code"] > 0
    assert np.abs(by_nibabel.get_qform() - by_nibabel.get_sform()).max() < 1e-5
    for suffix in VOLUMES:
        write(tmp_path / f"b{suffix}", before)
        by_itk = sitk.ReadImage(str(tmp_path / f"b{suffix}"))
        position = np.array(by_itk.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1][:d]
        assert np.abs(position - there).max() < 1e-5
        assert by_itk[index] == pytest.approx(float(before.values[0][tuple(index)]), abs=1e-6)


def test_the_sform_counts_then_the_qform(tmp_path):
    on = grid((4, 5, 6))
    file = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), None)
    file.set_sform(np.eye(4), 0)
    file.set_qform(on.affine.numpy(), 1)
    file.to_filename(tmp_path / "q.nii")
    assert distance(read(tmp_path / "q.nii").grid.affine, on.affine) < 1e-5
    file.set_sform(np.diag([2.0, 3, 4, 1]), 2)
    file.to_filename(tmp_path / "s.nii")
    assert torch.equal(read(tmp_path / "s.nii").grid.affine, torch.diag(torch.tensor([2.0, 3, 4, 1])).double())


def test_a_shear_stays_in_the_sform_and_is_refused_where_itk_would_lose_it(tmp_path):
    affine = torch.eye(4, dtype=torch.float64)
    affine[0, 1] = 0.3
    before = image(Grid((4, 5, 6), affine))
    write(tmp_path / "a.nii", before)
    assert distance(read(tmp_path / "a.nii").grid.affine, affine) < 1e-6
    assert nibabel.load(tmp_path / "a.nii").header["qform_code"] == 0
    with pytest.raises(ValueError, match="axes of the grid are not perpendicular"):
        write(tmp_path / "a.mha", before)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_units_become_millimeters_as_in_itk(tmp_path, code, factor):
    path = nifti(tmp_path / "a.nii", np.zeros((4, 5, 6), np.float32), np.diag([2.0, 2, 2, 1]), xyzt_units=code)
    assert read(path).grid.spacing == pytest.approx((2 * factor,) * 3)
    assert read(path).grid.spacing == pytest.approx(sitk.ReadImage(str(path)).GetSpacing())


@pytest.mark.parametrize("shape", [(5, 6, 7, 1), (5, 6, 7, 1, 1), (5, 6, 7)])
def test_trailing_axes_of_one_point_are_dropped(tmp_path, shape):
    values = np.arange(210, dtype=np.float32).reshape(shape)
    found = read(nifti(tmp_path / "a.nii", values, np.eye(4)))
    assert np.array_equal(found.values[0], values.reshape(5, 6, 7))


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 1, 1)])
def test_a_slice_is_an_image_of_the_plane(tmp_path, shape):
    affine = np.eye(4)
    affine[:2, :2], affine[:3, 3] = [[0, -2], [3, 0]], [10, 20, 30]
    found = read(nifti(tmp_path / "a.nii", np.arange(30, dtype=np.float32).reshape(shape), affine))
    assert found.values.shape == (1, 5, 6)
    assert found.grid.affine.tolist() == [[0, -2, 10], [3, 0, 20], [0, 0, 1]]


def test_a_slice_stays_where_it_was_in_space(tmp_path):
    """Its height, and the step to the next one, come back, whatever is made of it in the plane."""
    affine = np.array([[0, -2, 0.5, 10], [3, 0, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1.0]])
    found = read(nifti(tmp_path / "a.nii", np.zeros((5, 6, 1), np.float32), affine))
    write(tmp_path / "b.nii", dataclasses.replace(found, values=found.values + 1))
    assert np.array_equal(nibabel.load(tmp_path / "b.nii").affine, affine)
    turned = dataclasses.replace(found, grid=Grid((5, 6), torch.eye(3).double()))
    write(tmp_path / "c.nii", turned, like=tmp_path / "a.nii")
    assert nibabel.load(tmp_path / "c.nii").affine.tolist() == [
        [1, 0, 0.5, 0],
        [0, 1, 0, 0],
        [0, 0, 4, 30],
        [0, 0, 0, 1],
    ]
    write(tmp_path / "d.nii", dataclasses.replace(found, attributes={"slice": "no numbers"}))
    assert nibabel.load(tmp_path / "d.nii").affine[2].tolist() == [0, 0, 1, 0]


def test_an_upright_slice_is_no_image_of_the_plane(tmp_path):
    affine = np.eye(4)[[0, 2, 1, 3]]
    path = nifti(tmp_path / "a.nii", np.zeros((5, 6, 1), np.float32), affine)
    with pytest.raises(ValueError, match=r"a\.nii: it is a single slice that does not lie in a plane z = const"):
        read(path)


# values


def test_values_are_scaled_as_the_header_says(tmp_path):
    raw = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    path = nifti(tmp_path / "a.nii", raw, np.eye(4))
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -3], np.float32).tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    found = read(path)
    assert np.array_equal(found.values[0], raw * 0.5 - 3)
    write(tmp_path / "c.nii", found)
    assert torch.equal(read(tmp_path / "c.nii").values, found.values)
    write(tmp_path / "b.nii", found, like=tmp_path / "a.nii")
    assert nibabel.load(tmp_path / "b.nii").get_data_dtype() == np.float32


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_byte_orders_and_versions(tmp_path, order, version):
    header = version.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    values = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    version(values, np.eye(4), header).to_filename(tmp_path / "a.nii.gz")
    found = read(tmp_path / "a.nii.gz")
    assert np.array_equal(found.values[0], values)
    write(tmp_path / "b.nii.gz", found, like=tmp_path / "a.nii.gz")
    written = nibabel.load(tmp_path / "b.nii.gz")
    assert isinstance(written, version)
    assert np.array_equal(np.asanyarray(written.dataobj), values)


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_label_maps_keep_their_integers(tmp_path, suffix, dtype):
    on = grid((5, 6, 7))
    values = (bumps(on)[0].numpy() * 100).astype(dtype)
    nifti_image = nibabel.Nifti1Image(values, on.affine.numpy(), dtype=dtype)
    nifti_image.to_filename(tmp_path / "a.nii")
    found = read(tmp_path / "a.nii")
    assert found.values.dtype == torch.float32
    assert found.attributes["dtype"] == dtype
    write(tmp_path / f"b{suffix}", found)
    again = read(tmp_path / f"b{suffix}")
    assert again.attributes["dtype"] == dtype
    assert np.array_equal(again.values[0], values)


def test_nothing_is_rounded_unasked(tmp_path):
    on = grid((5, 6, 7))
    write(tmp_path / "a.nii", labels(on), like=nifti(tmp_path / "l.nii", np.zeros((2, 2, 2), np.uint8), np.eye(4)))
    found = read(tmp_path / "a.nii")
    between = Image(found.values + 0.25, on, attributes=found.attributes)
    write(tmp_path / "b.nii", between)
    assert torch.equal(read(tmp_path / "b.nii").values, between.values)
    outside = Image(found.values - 1, on, attributes=found.attributes)
    write(tmp_path / "c.nii", outside)
    assert torch.equal(read(tmp_path / "c.nii").values, outside.values)


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("like", [".nii", ".mha", ".png"])
def test_like_rounds_and_clips(tmp_path, suffix, like):
    if like == ".png":
        skimage.io.imsave(tmp_path / "like.png", np.zeros((4, 4), np.uint8), check_contrast=False)
    elif like == ".nii":
        nifti(tmp_path / "like.nii", np.zeros((4, 4, 4), np.uint8), np.eye(4))
    else:
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), str(tmp_path / "like.mha"))
    values = torch.full((1, 3, 4, 5), 7.6)
    values[0, 0, 0], values[0, 1, 0] = -3.2, 300.0
    write(tmp_path / f"a{suffix}", Image(values, grid((3, 4, 5))), like=tmp_path / f"like{like}")
    found = read(tmp_path / f"a{suffix}")
    assert found.attributes["dtype"] == "uint8"
    assert torch.equal(found.values, values.round().clamp(0, 255))


def test_like_gives_the_header_and_the_image_the_positions(tmp_path):
    source = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([2.0, 2, 2, 1]))
    source.header["descrip"], source.header["intent_code"] = b"a scan", 1002
    source.header["cal_max"] = 99
    source.set_sform(source.affine, 4)
    source.set_qform(source.affine, 4)
    source.to_filename(tmp_path / "like.nii.gz")
    moved = labels(grid((6, 5, 4), seed=7))
    write(tmp_path / "a.nii.gz", moved, like=tmp_path / "like.nii.gz")
    file = nibabel.load(tmp_path / "a.nii.gz")
    assert file.header["descrip"].item() == b"a scan"
    assert (int(file.header["intent_code"]), float(file.header["cal_max"])) == (1002, 99)
    assert file.get_data_dtype() == np.int16
    assert np.abs(file.affine - moved.grid.affine.numpy()).max() < 1e-5
    assert int(file.header["sform_code"]) == 2  # no longer the standard space that the file was in
    write(
        tmp_path / "b.nii.gz", labels(Grid((4, 5, 6), torch.from_numpy(source.affine))), like=tmp_path / "like.nii.gz"
    )
    assert int(nibabel.load(tmp_path / "b.nii.gz").header["sform_code"]) == 4


def test_the_affine_is_told_even_if_like_does_not(tmp_path):
    source = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None)
    source.to_filename(tmp_path / "like.nii")
    moved = labels(Grid((4, 5, 6), torch.from_numpy(source.header.get_best_affine())))
    write(tmp_path / "a.nii", moved, like=tmp_path / "like.nii")
    assert distance(read(tmp_path / "a.nii").grid.affine, moved.grid.affine) < 1e-6


def test_a_vector_header_is_not_left_on_one_channel(tmp_path):
    write(tmp_path / "like.nii", image(grid((4, 5, 6)), channels=3))
    assert int(nibabel.load(tmp_path / "like.nii").header["intent_code"]) == 1007
    write(tmp_path / "a.nii", image(grid((4, 5, 6))), like=tmp_path / "like.nii")
    assert int(nibabel.load(tmp_path / "a.nii").header["intent_code"]) == 0


def test_precision_follows_the_wish_and_the_need(tmp_path):
    path = nifti(tmp_path / "a.nii", np.full((4, 5, 6), 2**24 + 1, np.int32), np.eye(4))
    assert read(path).values.dtype == torch.float64
    assert float(read(path).values.max()) == 2**24 + 1
    assert read(path, dtype=torch.float32).values.dtype == torch.float32
    path = nifti(tmp_path / "d.nii", np.full((4, 5, 6), 1e300), np.eye(4))
    assert float(read(path).values.max()) == 1e300
    assert "Image expects finite values" in refusal(path, torch.float32)
    path = nifti(tmp_path / "b.nii", np.full((4, 5, 6), 0.1), np.eye(4))
    assert read(path).values.dtype == torch.float32
    assert float(read(path, dtype=torch.float64).values[0, 0, 0, 0]) == pytest.approx(0.1, abs=1e-8)
    write(tmp_path / "c.nii", Image(torch.rand(1, 4, 5, 6, dtype=torch.float64), grid((4, 5, 6))))
    assert read(tmp_path / "c.nii").attributes["dtype"] == "float64"
    (tmp_path / "p.txt").write_text("1 2\n3 4\n")
    assert read(tmp_path / "p.txt").x.dtype == torch.float64
    assert read(tmp_path / "p.txt", dtype=torch.float32).x.dtype == torch.float32


def test_colors_of_nifti(tmp_path):
    colors = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for k, name in enumerate("RGB", 1):
        colors[name] = k
    nibabel.Nifti1Image(colors, np.eye(4)).to_filename(tmp_path / "a.nii")
    found = read(tmp_path / "a.nii")
    assert found.values.shape == (3, 4, 5, 6)
    assert found.values.flatten(1).unique(dim=1).tolist() == [[1], [2], [3]]


def test_attributes_can_be_put_in_a_report(tmp_path):
    for suffix in (*VOLUMES, ".png"):
        path = tmp_path / f"a{suffix}"
        write(path, image(picture(5, 7) if suffix == ".png" else grid((5, 6, 7))))
        assert json.loads(json.dumps(read(path).attributes)) == read(path).attributes


# pictures


@pytest.mark.parametrize("suffix", PICTURES)
def test_pictures_have_rows_and_columns(tmp_path, suffix):
    """One bright pixel in row 2, column 6: it is at x = 6, y = 2."""
    array = np.zeros((5, 9), np.uint8)
    array[2, 6] = 255
    skimage.io.imsave(tmp_path / f"a{suffix}", array, check_contrast=False)
    found = read(tmp_path / f"a{suffix}")
    assert found.values.shape == (1, 5, 9)
    index = (found.values[0] == found.values.max()).nonzero().double()
    assert found.grid.to_space(index).tolist() == [[6, 2]]
    assert found.attributes == {"dtype": "uint8", "space": "pixels (x = column, y = row)"}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_come_back(tmp_path, suffix, channels):
    before = Image((255 * bumps(picture(6, 9), channels=channels)).round().float(), picture(6, 9))
    write(tmp_path / f"a{suffix}", before)
    after = read(tmp_path / f"a{suffix}")
    assert torch.equal(after.values, before.values)
    assert torch.equal(after.grid.affine, before.grid.affine)


def test_jpeg_comes_back_nearly(tmp_path):
    before = Image(200 * bumps(picture(40, 60)).float(), picture(40, 60))
    write(tmp_path / "a.jpg", before)
    assert distance(read(tmp_path / "a.jpg").values, before.values) < 8


def test_floating_point_tiff_is_exact(tmp_path):
    before = Image(torch.randn(1, 6, 9), picture(6, 9))
    write(tmp_path / "a.tif", before)
    assert torch.equal(read(tmp_path / "a.tif").values, before.values)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pictures_keep_their_bits(tmp_path, dtype):
    array = (bumps(picture(6, 9))[0].numpy() * 200).astype(dtype)
    skimage.io.imsave(tmp_path / "a.png", array, check_contrast=False)
    found = read(tmp_path / "a.png")
    softer = Image(found.values * 0.99, found.grid, attributes=found.attributes)
    write(tmp_path / "b.png", softer, like=tmp_path / "a.png")
    write(tmp_path / "c.png", softer)
    for name in ("b.png", "c.png"):
        again = skimage.io.imread(tmp_path / name)
        assert again.dtype == dtype
        assert np.array_equal(again, np.rint(softer.values[0].numpy()))


def test_fractions_fill_the_range_of_a_picture(tmp_path):
    before = image(picture(6, 9))
    write(tmp_path / "a.png", before)
    assert distance(read(tmp_path / "a.png").values / 255, before.values) < 0.5 / 255 + 1e-6
    write(tmp_path / "b.png", Image(before.values * 60000, before.grid))
    assert distance(read(tmp_path / "b.png").values, before.values * 60000) <= 0.51
    assert read(tmp_path / "b.png").attributes["dtype"] == "uint16"


@pytest.mark.parametrize(("suffix", "top"), [(".png", 65535), (".jpg", 255), (".bmp", 255)])
def test_what_a_picture_cannot_hold_is_refused(tmp_path, suffix, top):
    for extreme, most in ((-1.0, 255), (70000.0, top)):
        values = torch.zeros(1, 4, 5)
        values[0, 1, 1] = extreme
        with pytest.raises(ValueError, match=rf"{suffix} holds whole numbers from 0 to {most}: bring them to"):
            write(tmp_path / f"a{suffix}", Image(values, picture(4, 5)))
    with pytest.raises(ValueError, match="pictures have two axes and 1 or 3 channels, and the image has 3 axes and 1"):
        write(tmp_path / f"a{suffix}", image(grid((4, 5, 6))))
    with pytest.raises(ValueError, match=r"pictures have two axes .* 2 axes and 2 channels"):
        write(tmp_path / f"a{suffix}", image(picture(4, 5), channels=2))
    with pytest.raises(ValueError, match="pictures have no place for an affine map"):
        write(tmp_path / f"a{suffix}", image(grid((4, 5))))
    assert not list(tmp_path.iterdir())


def test_transparent_pictures(tmp_path):
    colors = np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8)
    opaque = np.dstack([colors, np.full((5, 6), 255, np.uint8)])
    skimage.io.imsave(tmp_path / "a.png", opaque, check_contrast=False)
    assert np.array_equal(read(tmp_path / "a.png").values, np.moveaxis(colors, -1, 0))
    opaque[0, 0, 3], opaque[1, 1, 3] = 0, 51
    skimage.io.imsave(tmp_path / "b.png", opaque, check_contrast=False)
    found = read(tmp_path / "b.png").values
    assert found[:, 0, 0].tolist() == [255, 255, 255]
    assert found[:, 1, 1].tolist() == pytest.approx((0.2 * colors[1, 1] + 0.8 * 255).tolist(), abs=1e-3)
    assert np.array_equal(found[:, 2:], np.moveaxis(colors, -1, 0)[:, 2:])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_black_and_white_are_0_and_255(tmp_path, suffix):
    """Pictures of one bit per pixel; written again they have eight."""
    array = np.zeros((5, 9), bool)
    array[2, 6] = True
    Pillow.fromarray(array).save(tmp_path / f"a{suffix}")
    found = read(tmp_path / f"a{suffix}")
    assert found.values.unique().tolist() == [0, 255]
    write(tmp_path / f"b{suffix}", found, like=tmp_path / f"a{suffix}")
    assert torch.equal(read(tmp_path / f"b{suffix}").values, found.values)


@pytest.mark.parametrize("suffix", VOLUMES)
def test_a_picture_in_a_medical_format_is_where_itk_has_the_picture(tmp_path, suffix):
    before = Image((255 * bumps(picture(6, 9))).round().float(), picture(6, 9))
    write(tmp_path / "a.png", before)
    write(tmp_path / f"a{suffix}", before)
    after = read(tmp_path / f"a{suffix}")
    assert torch.equal(after.values, before.values)
    assert distance(after.grid.affine, before.grid.affine) < 1e-6
    assert after.attributes["space"].startswith("pixels")
    png, file = sitk.ReadImage(str(tmp_path / "a.png")), sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    assert file.GetSize() == png.GetSize()
    for a, b in ((file.GetOrigin(), png.GetOrigin()), (file.GetDirection(), png.GetDirection())):
        assert a == pytest.approx(b, abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(file), sitk.GetArrayFromImage(png))


def test_a_scan_that_looks_like_a_picture_is_none(tmp_path):
    """Axes forward and right, in millimeters; also with the header of a picture."""
    path = nifti(tmp_path / "a.nii", np.arange(30, dtype=np.float32).reshape(5, 6), np.eye(4)[[1, 0, 2, 3]])
    scan = read(path)
    assert not in_pixels(scan)
    write(tmp_path / "like.nii", image(picture(5, 6)))
    for like in (None, tmp_path / "like.nii"):
        write(tmp_path / "b.nii", scan, like=like)
        assert np.array_equal(nibabel.load(tmp_path / "b.nii").affine, np.eye(4)[[1, 0, 2, 3]])
        assert torch.equal(read(tmp_path / "b.nii").grid.affine, scan.grid.affine)


def test_a_picture_that_was_turned_is_still_in_pixels(tmp_path):
    skimage.io.imsave(tmp_path / "a.png", np.arange(30, dtype=np.uint8).reshape(5, 6), check_contrast=False)
    turned = read(tmp_path / "a.png").moved(rotation(2), torch.tensor([1.0, 2]).double())
    assert in_pixels(turned)
    for suffix in VOLUMES:
        write(tmp_path / f"b{suffix}", turned)
        found = read(tmp_path / f"b{suffix}")
        assert torch.equal(found.values, turned.values)
        assert distance(found.grid.affine, turned.grid.affine) < 1e-6
        by_itk = sitk.ReadImage(str(tmp_path / f"b{suffix}"))
        assert by_itk.TransformIndexToPhysicalPoint((4, 3)) == pytest.approx(
            turned.grid.to_space(torch.tensor([[3.0, 4]]).double())[0].tolist(), abs=1e-5
        )


# bad files


def refusal(path, dtype=None):
    with pytest.raises(ValueError, match=r"^cannot read ") as error:
        read(path, dtype)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_every_truncation_is_noticed(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (5, 6, 7), np.uint8)
    nifti(tmp_path / "a.nii", values, np.eye(4))
    write(tmp_path / "a.nii.gz", read(tmp_path / "a.nii"))
    for name, step in (("a.nii", 17), ("a.nii.gz", 11)):
        content = (tmp_path / name).read_bytes()
        for end in [*range(1, len(content), step), len(content) - 1]:
            (tmp_path / f"b{name}").write_bytes(content[:end])
            assert any(word in refusal(tmp_path / f"b{name}") for word in ("truncated", "not a NIfTI"))


@pytest.mark.parametrize("suffix", [*VOLUMES, *PICTURES])
def test_what_is_no_image_is_refused(tmp_path, suffix, capfd):
    (tmp_path / f"a{suffix}").write_text("this is no image\n" * 40)
    assert any(word in refusal(tmp_path / f"a{suffix}") for word in ("not a", "another format"))
    (tmp_path / f"b{suffix}").write_text("")
    assert "it is empty" in refusal(tmp_path / f"b{suffix}")


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".png", ".jpg", ".tif", ".bmp"])
def test_half_a_file_is_refused(tmp_path, suffix, capfd):
    on = picture(40, 50) if suffix in PICTURES else grid((9, 10, 11))
    write(tmp_path / f"a{suffix}", Image((255 * torch.rand(1, *on.shape)).round(), on))
    content = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(content[: len(content) // 2])
    assert "truncated" in refusal(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd", ".tif"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_voxels_are_counted(tmp_path, suffix, value):
    array = np.zeros((1, 1200, 50) if suffix == ".tif" else (40, 30, 50), np.float32)
    array[0, :3, 2] = value
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        skimage.io.imsave(path, array[0], check_contrast=False)
    elif suffix in (".mha", ".nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    else:
        nifti(path, array, np.eye(4))
    assert "3 of its 60,000 voxels are NaN or infinite: replace them first" in refusal(path)


def test_no_affine(tmp_path):
    file = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), None)
    file.header.set_zooms((2, 2, 3))
    file.set_sform(np.eye(4), 0)
    file.set_qform(np.diag([2.0, 2, 3, 1]), 0)
    file.to_filename(tmp_path / "a.nii")
    message = refusal(tmp_path / "a.nii")
    assert "it has no affine" in message
    assert "set one, with nibabel.Nifti1Image(values, numpy.diag([2, 2, 3, 1]))" in message


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", *PICTURES])
@pytest.mark.slow
def test_damaged_files_never_raise_anything_else(tmp_path_factory, suffix, capfd):
    """Whatever bytes are changed, lost or inserted: an image, or one sentence, and nothing on the terminal."""
    path = tmp_path_factory.mktemp("damaged") / f"a{suffix}"
    on = picture(9, 12) if suffix in PICTURES else grid((5, 6, 7))
    write(path, Image((255 * bumps(on)).round().float(), on))
    content = path.read_bytes()

    @settings(max_examples=40)
    @given(
        at=st.one_of(st.integers(0, len(content) - 1), st.integers(0, min(351, len(content) - 1))),
        lost=st.integers(0, 8),
        inserted=st.binary(max_size=4),
    )
    def law(at, lost, inserted):
        path.write_bytes(content[:at] + inserted + content[at + lost :])
        try:
            assert isinstance(read(path), Image)
        except ValueError:
            refusal(path)

    law()
    assert capfd.readouterr().err == ""


CONTENTS = {
    "series": (np.zeros((4, 5, 6, 7)), 0, r"it is a series of 7 volumes, shape \(4, 5, 6, 7\), .* image.slicer"),
    "series with one more axis": (np.zeros((4, 5, 6, 7, 1)), 0, "it is a series of 7 volumes"),
    "several values, not said to be vectors": (np.zeros((4, 5, 6, 1, 3)), 0, "intent_code is 0, and images with"),
    "series of vectors": (np.zeros((4, 5, 6, 2, 3)), 1007, r"its shape is \(4, 5, 6, 2, 3\)"),
    "one axis": (np.zeros(9), 0, r"its shape is \(9, 1, 1\), and two or three axes with at least 2 voxels"),
    "one row": (np.zeros((9, 1)), 0, r"its shape is \(9, 1, 1\)"),
    "a slice across": (np.zeros((1, 5, 6)), 0, r"its shape is \(1, 5, 6\)"),
    "complex": (np.zeros((4, 5, 6), np.complex64), 0, "its voxels are complex64, .* save its magnitude"),
    "no voxels": (np.zeros((4, 0, 6)), 0, "no voxels|truncated or damaged"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_bad_contents(tmp_path, case):
    values, intent, reason = CONTENTS[case]
    array = values if values.dtype.kind == "c" else values.astype(np.float32)
    nifti(tmp_path / "a.nii", array, np.eye(4), intent)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / "a.nii")
    refusal(tmp_path / "a.nii")


def test_a_singular_affine(tmp_path):
    path = nifti(tmp_path / "a.nii", np.zeros((4, 5, 6), np.float32), np.eye(4))
    content = bytearray(path.read_bytes())
    content[280:296] = bytes(16)  # the first row of the sform
    path.write_bytes(content)
    assert "must be finite and invertible" in refusal(path)


def test_a_damaged_header(tmp_path):
    path = nifti(tmp_path / "a.nii", np.zeros((4, 5, 6), np.float32), np.eye(4))
    content = bytearray(path.read_bytes())
    content[70:72] = b"\x63\x00"  # a number type that does not exist
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_single_slice_along_another_axis(tmp_path):
    path = nifti(tmp_path / "a.nii", np.ones((4, 1, 6), np.float32), np.eye(4))
    assert "expected: of a single slice, the third axis has to be the one with one voxel" in refusal(path)


def test_half_a_pair(tmp_path):
    nibabel.Nifti1Pair(np.zeros((4, 5, 6), np.float32), np.eye(4)).to_filename(tmp_path / "a.hdr")
    (tmp_path / "a.hdr").rename(tmp_path / "a.nii")
    assert "the header of a pair of files" in refusal(tmp_path / "a.nii")


def test_the_content_counts_and_not_whether_the_name_says_compressed(tmp_path):
    path = nifti(tmp_path / "a.nii", np.ones((4, 5, 6), np.float32), np.eye(4))
    (tmp_path / "b.nii.gz").write_bytes(path.read_bytes())
    assert float(read(tmp_path / "b.nii.gz").values.min()) == 1
    (tmp_path / "c.nii").write_bytes(gzip.compress(path.read_bytes()))
    assert float(read(tmp_path / "c.nii").values.min()) == 1


def test_series_of_itk_and_of_pages(tmp_path):
    sitk.WriteImage(sitk.Image([4, 5, 6, 7], sitk.sitkFloat32), str(tmp_path / "a.nrrd"))
    assert "it is a series, of size (4, 5, 6, 7)" in refusal(tmp_path / "a.nrrd")
    skimage.io.imsave(tmp_path / "a.tif", np.zeros((7, 8, 9), np.uint8), check_contrast=False)
    assert "it is a stack of pages" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("pages", [2, 3, 4])
def test_pages_are_no_colors(tmp_path, pages):
    """However few they are; and whoever has compressed them."""
    stack = np.arange(pages * 72, dtype=np.uint8).reshape(pages, 8, 9)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    images = [Pillow.fromarray(page) for page in stack]
    images[0].save(tmp_path / "b.tif", save_all=True, append_images=images[1:], compression="tiff_lzw")
    for name in ("a.tif", "b.tif"):
        assert f"it is a stack of pages, shape ({pages}, 8, 9)" in refusal(tmp_path / name)


def test_colors_plane_by_plane(tmp_path):
    colors = np.random.default_rng(0).integers(0, 255, (3, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colors, photometric="rgb", planarconfig="separate")
    assert np.array_equal(read(tmp_path / "a.tif").values, colors)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"])
def test_compressed_tif(tmp_path, compression):
    """All that Pillow writes."""
    array = np.kron(np.random.default_rng(0).integers(0, 2, (2, 3), np.uint8), np.full((8, 8), 255, np.uint8))
    source = Pillow.fromarray(array > 0 if compression == "group4" else array)
    source.save(tmp_path / "a.tif", compression=compression)
    found = read(tmp_path / "a.tif")
    assert found.values[0].numpy() == pytest.approx(array, abs=8 if compression == "jpeg" else 0)
    write(tmp_path / "b.tif", found, like=tmp_path / "a.tif")
    assert torch.equal(read(tmp_path / "b.tif").values, found.values)


def test_palettes_are_colors(tmp_path):
    index = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    image = Pillow.fromarray(index).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for name in ("a.tif", "a.png"):
        image.save(tmp_path / name)
        expected = (np.array([10, 20, 30])[:, None, None] + 30 * index).tolist()
        assert read(tmp_path / name).values.tolist() == expected, name


def test_what_nobody_here_uncompresses_says_what_to_install(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.uint8))
    content = bytearray(path.read_bytes())
    at = content.index(b"\x03\x01\x03\x00\x01\x00\x00\x00\x01\x00")  # the entry of the compression: 1 is none
    content[at + 8 : at + 10] = (34933).to_bytes(2, "little")  # PNG
    path.write_bytes(content)
    assert "its compression is PNG, which needs the package imagecodecs: pip install" in refusal(path)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_the_colors_of_print(tmp_path, suffix):
    Pillow.new("CMYK", (9, 8)).save(tmp_path / f"a{suffix}")
    assert "CMYK" in refusal(tmp_path / f"a{suffix}")


def test_without_simpleitk(tmp_path, monkeypatch):
    write(tmp_path / "a.mha", image(grid((4, 5, 6))))
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    assert '.mha files need SimpleITK: pip install "diffeo[itk]", or save' in refusal(tmp_path / "a.mha")
    with pytest.raises(ValueError, match=r"cannot write .*b\.nrrd: \.nrrd files need SimpleITK"):
        write(tmp_path / "b.nrrd", image(grid((4, 5, 6))))
    assert not (tmp_path / "b.nrrd").exists()


def test_bad_requests(tmp_path):
    three = image(grid((4, 5, 6)))
    write(tmp_path / "a.nii", three)
    (tmp_path / "a.txt").write_text("1 2\n")
    for path, shape, like, reason in (
        ("b.ply", three, None, r"Image goes to and comes from files \.nii, \.nii\.gz, .*, and b\.ply is not one"),
        ("b.nii", Points(torch.rand(4, 3)), None, r"Points goes to and comes from files \.ply"),
        ("b.nii", three, "a.txt", "a.txt is not one of them"),
        ("b.nii", three, "none.nii", r"cannot read .*none\.nii: there is no such file"),
        ("b.json", three, None, r"the extension \.json is not one of the formats"),
        ("no/b.nii", three, None, "there is no folder"),
        ("b.mhd", three, None, r"\.mhd comes in two files, of which one could be lost: write \.mha or \.nrrd"),
    ):
        with pytest.raises(ValueError, match=reason):
            write(tmp_path / path, shape, like=None if like is None else tmp_path / like)
    with pytest.raises(ValueError, match="Compound"):
        write(tmp_path / "b.nii", __import__("diffeo").Compound([three]))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.nii", "a.txt"]
    write(tmp_path / "no" / "b.nii.gz", three, parents=True)
    assert relative(read(tmp_path / "no" / "b.nii.gz").values, three.values) == 0


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write(tmp_path / "a.png", image(picture(4, 5)))
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(ValueError, match="bring them to"):
        write(tmp_path / "a.png", Image(-torch.rand(1, 4, 5), picture(4, 5)))
    assert (tmp_path / "a.png").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
