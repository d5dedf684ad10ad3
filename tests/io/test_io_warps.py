"""Maps in files do in ITK what they do here: the same moved image, the same points; and they come back."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given

from diffeo.core import Compose, Inverse
from diffeo.fields import KernelField
from diffeo.flows import Affine, Flow, Warp
from diffeo.grid import Grid
from diffeo.io import read, read_warp, write, write_warp
from diffeo.kernels import GaussianKernel
from diffeo.shapes import Image
from tests.io.images import both, bumps, grid, motion, nifti, picture, warp
from tests.oracles import cloud, distance, seeds

FIELDS = (".nii.gz", ".nii", ".mha", ".nrrd")
WARPS = (*FIELDS, ".h5")


def fixed_and_moving(d=3):
    """Two grids that share neither axes, nor spacing, nor the number of points, nor orientation."""
    if d == 2:
        return grid((30, 26), seed=5, flip=True), grid((28, 34), seed=8, spacing=(1.8, 1.6))
    return grid((22, 18, 12), seed=5, flip=True), grid((17, 20, 13), seed=8, spacing=(2.2, 1.6, 2.8))


def itk_transform(path):
    """A file as ITK reads it: a field of vectors, or a transform."""
    if path.suffix == ".h5":
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def resampled(moving, fixed, transform, background):
    """ITK's own way of moving an image, which is read from a file as the grid is."""
    image, grid = sitk.Cast(sitk.ReadImage(str(moving)), sitk.sitkFloat64), sitk.ReadImage(str(fixed))
    return tensor(sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkLinear, background)).T)


def tensor(numbers):
    """In float64."""
    return torch.tensor(np.array(numbers, np.float64))


def transformed(transform, y):
    """Points, shape (n, d), through ITK: RAS in, RAS out."""
    flips = tensor([-1, -1, 1][: y.shape[1]])
    return tensor([transform.TransformPoint(p) for p in (y * flips).tolist()]) * flips


def check_same_image(tmp_path, phi, moving, fixed, suffix):
    """ITK's moved image and ours differ by less than a thousandth of the range, and they moved far."""
    write(tmp_path / "moving.nii", moving)
    write(tmp_path / "fixed.nii", fixed)
    write_warp(tmp_path / f"warp{suffix}", phi, fixed.grid)
    ours, unmoved = ((map_ @ moving.on(fixed.grid)).values[0] for map_ in (phi, still(fixed.grid.dim)))
    transform = itk_transform(tmp_path / f"warp{suffix}")
    theirs = resampled(tmp_path / "moving.nii", tmp_path / "fixed.nii", transform, float(moving.background))
    span = float(moving.values.max() - moving.values.min())
    assert distance(theirs, ours) < 1e-3 * span
    assert distance(unmoved, ours) > 0.2 * span


def still(d):
    """The identity."""
    return Affine(torch.eye(d).double(), torch.zeros(d).double())


# the same images


@pytest.mark.parametrize("suffix", WARPS)
@pytest.mark.parametrize("d", [2, 3])
def test_itk_moves_images_as_we_do(tmp_path, suffix, d):
    on, other = fixed_and_moving(d)
    moving, fixed = Image(bumps(other), other), Image(bumps(on, seed=3), on)
    check_same_image(tmp_path, both(on), moving, fixed, suffix)
    check_same_image(tmp_path, warp(on, size=1.5), moving, fixed, suffix)


def test_a_shift_to_the_left_back_and_up(tmp_path):
    """Known signs, without ITK: φ⁻¹ adds (−1, −2, 3) mm in RAS, which is (1, 2, 3) in LPS, on axes that are turned."""
    on = grid((6, 7, 8), seed=5, flip=True)
    phi = Affine(torch.eye(3).double(), torch.tensor([1.0, 2, -3]).double())
    write_warp(tmp_path / "a.nii.gz", phi, on)
    file = nibabel.load(tmp_path / "a.nii.gz")
    assert file.shape == (6, 7, 8, 1, 3)
    assert int(file.header["intent_code"]) == 1007
    assert file.get_data_dtype() == np.float32
    assert file.header.get_xyzt_units()[0] == "mm"
    assert np.abs(file.affine - on.affine.numpy()).max() < 1e-5
    assert np.abs(file.get_fdata() - [1, 2, 3]).max() < 1e-5


def test_the_inverse_warp_brings_the_fixed_image_back(tmp_path):
    on, other = fixed_and_moving()
    phi = both(on)
    fixed = Image(bumps(on, seed=3), on)
    write(tmp_path / "fixed.nii", fixed)
    write(tmp_path / "moving.nii", Image(bumps(other), other))
    ours = (Inverse(phi) @ fixed.on(other)).values[0]
    for suffix in WARPS:
        write_warp(tmp_path / f"a{suffix}", phi, other, inverse=True)
        transform = itk_transform(tmp_path / f"a{suffix}")
        theirs = resampled(tmp_path / "fixed.nii", tmp_path / "moving.nii", transform, float(fixed.background))
        assert distance(theirs, ours.double()) < 1e-3


@pytest.mark.parametrize("suffix", WARPS)
def test_itk_moves_pictures_as_we_do(tmp_path, suffix):
    """The picture as ITK reads it from the same png, which knows no millimeters."""
    on, other = picture(40, 52), picture(44, 50)
    write(tmp_path / "fixed.png", Image(bumps(on, seed=3), on))
    write(tmp_path / "moving.png", Image(bumps(other), other))
    moving, fixed = read(tmp_path / "moving.png"), read(tmp_path / "fixed.png")
    phi = Compose([motion(2), warp(on, size=3.0)])
    write_warp(tmp_path / f"warp{suffix}", phi, fixed.grid)
    ours = (phi @ moving.on(fixed.grid)).values[0]
    transform = itk_transform(tmp_path / f"warp{suffix}")
    theirs = resampled(tmp_path / "moving.png", tmp_path / "fixed.png", transform, 0.0).T  # rows first
    assert distance(theirs, ours) < 1e-3 * 255
    assert distance(bumps(other).mul(255)[0, :40, :50], ours[:, :50]) > 0.2 * 255


# the same points


@pytest.mark.parametrize("suffix", WARPS)
@pytest.mark.parametrize("d", [2, 3])
@given(seed=seeds)
def test_itk_moves_points_from_fixed_to_moving(tmp_path_factory, suffix, d, seed):
    on, _ = fixed_and_moving(d)
    phi = both(on, seed % 7)
    path = tmp_path_factory.mktemp("points") / f"a{suffix}"
    write_warp(path, phi, on)
    transform = itk_transform(path)
    low, high = 1, torch.tensor(on.shape) - 2
    index = low + (torch.rand(5, d, generator=torch.Generator().manual_seed(seed)).double() * (high - low)).round()
    y = on.to_space(index)
    x = transformed(transform, y)
    assert distance(x, phi.inverse(y)) < 1e-4
    assert distance(x, y) > 0.5


def test_points_of_pictures(tmp_path):
    on = picture(30, 40)
    phi = Compose([motion(2), warp(on)])
    for suffix in WARPS:
        write_warp(tmp_path / f"a{suffix}", phi, on)
        found = itk_transform(tmp_path / f"a{suffix}").TransformPoint((12.0, 7.0))
        assert distance(tensor([found]), phi.inverse(tensor([[12, 7]]))) < 1e-4


def test_affine_maps_hold_beyond_the_grid_in_a_transform_file(tmp_path):
    on, _ = fixed_and_moving()
    affine = motion(3)
    write_warp(tmp_path / "a.h5", Compose([affine, warp(on)]), on)
    y = on.to_space(tensor([[-30.0, 40, 50]]))
    assert distance(transformed(sitk.ReadTransform(str(tmp_path / "a.h5")), y), affine.inverse(y)) < 1e-9


# there and back


@pytest.mark.parametrize("suffix", FIELDS)
@pytest.mark.parametrize("on", [*fixed_and_moving(2), *fixed_and_moving(3), picture(9, 7)], ids=lambda g: str(g.shape))
def test_a_warp_comes_back(tmp_path, suffix, on):
    phi = warp(on)
    write_warp(tmp_path / f"a{suffix}", phi, on)
    psi = read_warp(tmp_path / f"a{suffix}", dtype=torch.float64)
    assert isinstance(psi, Warp)
    assert psi.grid.shape == on.shape
    assert distance(psi.grid.affine, on.affine) < 1e-5
    assert distance(psi.u, phi.u) < 1e-5
    assert read_warp(tmp_path / f"a{suffix}").displacement().dtype == torch.float32


def test_the_inverse_comes_back_inside_out(tmp_path):
    on, other = fixed_and_moving()
    phi = both(on)
    write_warp(tmp_path / "a.nii", phi, other, inverse=True)
    psi = Inverse(read_warp(tmp_path / "a.nii", dtype=torch.float64))
    x = other.to_space(tensor([[5.0, 6, 7], [8, 4, 3]]))
    assert distance(psi(x), phi(x)) < 1e-4


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("pixels", [False, True])
def test_a_transform_file_comes_back(tmp_path, d, pixels):
    if pixels and d == 3:
        return
    on = picture(20, 24) if pixels else fixed_and_moving(d)[0]
    phi = Compose([motion(d, 2), motion(d, 5), warp(on)])
    write_warp(tmp_path / "a.h5", phi, on)
    psi = read_warp(tmp_path / "a.h5", dtype=torch.float64, pixels=pixels)
    assert isinstance(psi, Compose)
    assert [type(part) for part in psi.diffeos] == [Affine, Affine, Warp]
    y = on.to_space(tensor([[5.0, 6, 7], [8, 4, 3]])[:, :d])
    assert distance(psi.inverse(y), phi.inverse(y)) < 1e-9
    assert distance(psi(phi.inverse(y)), y) < 1e-8


def test_affine_maps_alone(tmp_path):
    on, phi = fixed_and_moving()[0], motion(3)
    write_warp(tmp_path / "a.h5", phi, on)
    psi = read_warp(tmp_path / "a.h5", dtype=torch.float64)
    assert isinstance(psi, Affine)
    assert distance(psi.matrix, phi.matrix) < 1e-12
    assert distance(psi.translation, phi.translation) < 1e-12


def test_transforms_of_other_programs(tmp_path):
    """A rigid motion about a center, as ITK stores it, and an affine file as ANTs names it."""
    rigid = sitk.Euler3DTransform((1.0, 2, 3), 0.1, 0.2, 0.3, (4.0, 5, 6))
    affine = sitk.AffineTransform((rigid.GetMatrix()), (1.0, -2, 3), (2.0, 2, 2))
    sitk.WriteTransform(rigid, str(tmp_path / "a.tfm"))
    sitk.WriteTransform(affine, str(tmp_path / "0GenericAffine.mat"))
    y = cloud(4, 3, size=20)
    for name, transform in (("a.tfm", rigid), ("0GenericAffine.mat", affine)):
        psi = read_warp(tmp_path / name, dtype=torch.float64)
        assert distance(psi.inverse(y), transformed(transform, y)) < 1e-10


@pytest.mark.parametrize(("intent", "sign"), [(1007, -1), (1006, 1)])
def test_components_are_lps_or_ras_as_itk_takes_them(tmp_path, intent, sign):
    values = np.zeros((4, 5, 6, 1, 3), np.float32) + np.array([1, 2, 3], np.float32)
    path = nifti(tmp_path / "a.nii.gz", values, np.diag([-2.0, 2, 2, 1]), intent)
    phi = read_warp(path, dtype=torch.float64)
    y = tensor([[-2.0, 4, 6]])
    assert (phi.inverse(y) - y)[0].tolist() == [sign, 2 * sign, 3]
    field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    assert field[1, 2, 3] == (-sign, -2 * sign, 3)


def test_warps_of_other_programs_in_the_plane_may_be_in_pixels(tmp_path):
    """ANTs writes for pictures what it writes for scans: only the user knows."""
    on = picture(9, 12)
    phi = warp(on)
    write_warp(tmp_path / "a.nii", phi, on)
    image = sitk.ReadImage(str(tmp_path / "a.nii"))
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    sitk.WriteImage(image, str(tmp_path / "b.nii"))
    by_default, told = (read_warp(tmp_path / "b.nii", torch.float64, pixels) for pixels in (None, True))
    y = tensor([[5.0, 4]])
    assert distance(told.inverse(y), phi.inverse(y)) < 1e-5
    assert distance(by_default.inverse(-y), -phi.inverse(y)) < 1e-5
    back = read_warp(tmp_path / "a.nii", torch.float64, pixels=False)
    assert distance(back.inverse(-y), -phi.inverse(y)) < 1e-5


def test_any_map_can_be_written(tmp_path):
    """Also one that no grid carries; on a finer grid than it needs."""
    on = grid((12, 11, 10), seed=5)
    field = KernelField(GaussianKernel(8.0), cloud(5, 3, size=5.0), momenta=cloud(5, 3, seed=1, size=1.0))
    phi = Flow([field, field])
    write_warp(tmp_path / "a.nii.gz", phi, on)
    psi = read_warp(tmp_path / "a.nii.gz", dtype=torch.float64)
    y = on.to_space(on.indices(torch.empty(0).double())[:, ::4, ::4, ::4].flatten(1).T)
    assert distance(psi.inverse(y), phi.inverse(y)) < 1e-5


def test_gradients_and_single_precision(tmp_path):
    on = grid((8, 9, 7), seed=5)
    phi = Warp(on, warp(on).u.float())
    write_warp(tmp_path / "a.nii", phi, on)
    assert distance(read_warp(tmp_path / "a.nii").u, phi.u) < 1e-5


# what cannot be


@pytest.mark.parametrize("suffix", WARPS)
def test_a_map_that_is_not_finite_is_not_written(tmp_path, suffix):
    on = grid((4, 5, 6))
    u = torch.zeros(3, 4, 5, 6)
    u[0, 1, 1, 1] = float("nan")
    with pytest.raises(ArithmeticError, match="sends a part of the grid to infinity or NaN"):
        write_warp(tmp_path / f"a{suffix}", Warp(on, u), on)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.png", "pictures have two axes and 1 or 3 channels"),
        ("a.ply", r"a\.ply is not an image"),
        ("a.tfm", r"maps are written to \.h5, \.nii\.gz, \.mha or \.nrrd"),
        ("no/a.nii.gz", "there is no folder"),
        ("no/a.h5", "there is no folder"),
    ],
)
def test_where_a_warp_cannot_be_written(tmp_path, name, reason):
    on = grid((4, 5, 6))
    with pytest.raises(ValueError, match=reason):
        write_warp(tmp_path / name, warp(on), on)
    assert not list(tmp_path.iterdir())


def test_axes_that_itk_does_not_have(tmp_path):
    affine = torch.eye(4, dtype=torch.float64)
    affine[0, 1] = 0.3
    on = Grid((4, 5, 6), affine)
    for suffix in (".mha", ".h5"):
        with pytest.raises(ValueError, match=rf"cannot write .*a\{suffix}: the axes of the grid are not perpendicular"):
            write_warp(tmp_path / f"a{suffix}", warp(on), on)
    write_warp(tmp_path / "a.nii", warp(on), on)
    with pytest.raises(RuntimeError, match="orthonormal"):  # refused by ITK rather than read wrongly
        sitk.ReadImage(str(tmp_path / "a.nii"))


def test_what_is_no_warp(tmp_path):
    write(tmp_path / "a.nii", Image(bumps(grid((4, 5, 6))), grid((4, 5, 6))))
    with pytest.raises(ValueError, match=r"a\.nii: it is not a warp: it has 1 values per voxel, and a warp of 3 axes"):
        read_warp(tmp_path / "a.nii")
    (tmp_path / "a.h5").write_text("hello")
    with pytest.raises(ValueError, match=r"cannot read .*a\.h5: it is damaged, or not a transform file of ITK\.$"):
        read_warp(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"none\.h5: there is no such file"):
        read_warp(tmp_path / "none.h5")
    spline = sitk.BSplineTransform(3, 3)
    sitk.WriteTransform(spline, str(tmp_path / "b.tfm"))
    with pytest.raises(ValueError, match="it holds a BSplineTransform, and affine maps and displacement fields"):
        read_warp(tmp_path / "b.tfm")


def test_without_simpleitk(tmp_path, monkeypatch):
    on = grid((4, 5, 6))
    write_warp(tmp_path / "a.h5", warp(on), on)
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(ValueError, match=r'cannot read .*: \.h5 files need SimpleITK: pip install "diffeo\[itk\]"'):
        read_warp(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"cannot write .*: \.h5 files need SimpleITK"):
        write_warp(tmp_path / "b.h5", warp(on), on)
    write_warp(tmp_path / "b.nii.gz", warp(on), on)
