"""What is written is read again: every format, against itself and against other readers."""

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeo.io import read, write
from diffeo.io.point_shapes import FORMATS
from diffeo.shapes import Curve, Mesh, Points

MESHES = ["ply", "obj", "off", "stl", "vtk", "vtp", "npz"]
CURVES = ["ply", "obj", "vtk", "vtp", "npz", "csv", "txt", "xyz"]
CLOUDS = ["ply", "obj", "off", "vtk", "vtp", "npz", "npy", "csv", "txt", "xyz"]
WITH_ATTRIBUTES = ["ply", "vtk", "vtp", "npz", "csv", "txt", "xyz"]
IN_PLANE = ["npz", "npy", "csv", "txt", "xyz"]  # the others add z = 0


def need(extension):
    if extension == "vtp":
        pytest.importorskip("vtkmodules", reason="the vtk extra is not installed")


def positions(seed, n=12, d=3, dtype=torch.float64):
    """Numbers of very different size, with all their digits."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, d)) * 10.0 ** rng.integers(-8, 9, size=(n, 1))).to(dtype)


def mesh(seed=0, dtype=torch.float64, **options):
    """Triangles in which the points occur for the first time in order, so that STL keeps the order."""
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [11, 2, 7], [0, 5, 9]])
    return Mesh(positions(seed, dtype=dtype), faces=faces, **options)


def curve(seed=0, d=3, dtype=torch.float64, **options):
    return Curve(
        positions(seed, d=d, dtype=dtype), edges=torch.tensor([[0, 1], [2, 0], [5, 7], [7, 5], [11, 3]]), **options
    )


def same_connectivity(a, b):
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("edges", "faces") if hasattr(a, k))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("kind", "extension"),
    [*(("mesh", e) for e in MESHES), *(("curve", e) for e in CURVES), *(("cloud", e) for e in CLOUDS)],
)
def test_round_trip(tmp_path_factory, kind, extension, dtype):
    need(extension)
    path = tmp_path_factory.mktemp("io") / f"shape.{extension}"

    @settings(deadline=None, max_examples=6)
    @given(seed=st.integers(0, 2**32 - 1))
    def law(seed):
        shape = {"mesh": mesh, "curve": curve, "cloud": lambda s, dtype: Points(positions(s, dtype=dtype))}[kind](
            seed, dtype=dtype
        )
        write(path, shape)
        back = read(path, dtype)
        assert type(back) is type(shape)
        expected = shape.x.float().to(dtype) if extension == "stl" else shape.x  # binary STL is single precision
        assert torch.equal(back.x, expected)
        assert back.x.dtype == dtype
        assert same_connectivity(back, shape)

    law()


@pytest.mark.parametrize("extension", WITH_ATTRIBUTES)
def test_attributes_and_weights_come_back(tmp_path, extension):
    need(extension)
    path = tmp_path / f"a.{extension}"
    attributes = {"signal": np.linspace(0, 1, 12) ** 3, "label": np.arange(12) - 3}
    cloud = Points(positions(1), torch.linspace(0, 1, 12, dtype=torch.float64), attributes=attributes)
    write(path, cloud)
    back = read(path)
    assert set(back.attributes) == {"signal", "label"}
    for name, values in attributes.items():
        assert np.array_equal(back.attributes[name], values)
    assert torch.equal(back.weights, cloud.weights)


@pytest.mark.parametrize("extension", ["ply", "vtk", "csv"])
def test_vector_attributes_become_columns(tmp_path, extension):
    color = np.arange(36, dtype=np.uint8).reshape(12, 3)
    path = tmp_path / f"a.{extension}"
    write(path, Points(positions(0), attributes={"color": color}))
    back = read(path).attributes
    assert np.array_equal(np.stack([back[f"color_{k}"] for k in range(3)], 1), color)


def test_vector_attributes_stay_together_in_npz(tmp_path):
    color = np.arange(36, dtype=np.uint8).reshape(12, 3)
    write(tmp_path / "a.npz", mesh(attributes={"color": color}))
    assert np.array_equal(read(tmp_path / "a.npz").attributes["color"], color)


@pytest.mark.parametrize("extension", CURVES)
def test_plane_curves(tmp_path, extension):
    """Formats of space add z = 0; the others keep the plane."""
    need(extension)
    shape = curve(d=2)
    write(tmp_path / f"c.{extension}", shape)
    back = read(tmp_path / f"c.{extension}")
    assert back.x.shape[1] == (2 if extension in IN_PLANE else 3)
    assert torch.equal(back.x[:, :2], shape.x)
    assert not back.x[:, 2:].any()


def test_capital_letters_in_extensions(tmp_path):
    for extension in ("PLY", "NPY", "Csv", "NPZ"):
        write(tmp_path / f"a.{extension}", Points(positions(0)))
        assert torch.equal(read(tmp_path / f"a.{extension}").x, positions(0))


def test_written_shapes_are_detached_and_from_any_memory_order(tmp_path):
    x = positions(0).T.contiguous().T.requires_grad_()
    write(tmp_path / "a.npz", Points(x))
    assert torch.equal(read(tmp_path / "a.npz").x, x)


@pytest.mark.parametrize("extension", ["ply", "obj", "off", "stl"])
def test_others_read_what_we_write(tmp_path, extension):
    shape = mesh()
    write(tmp_path / f"a.{extension}", shape)
    theirs = trimesh.load(tmp_path / f"a.{extension}", process=False)
    corners = shape.x[shape.faces].numpy()
    assert theirs.vertices[theirs.faces] == pytest.approx(corners, rel=1e-6)


@pytest.mark.parametrize(
    ("extension", "options"),
    [("ply", {"encoding": "ascii"}), ("ply", {}), ("obj", {}), ("off", {}), ("stl", {}), ("stl_ascii", {})],
)
def test_we_read_what_others_write(tmp_path, extension, options):
    ours = mesh()
    x = ours.x.float().double().clamp(-100, 100)
    content = trimesh.Trimesh(x, ours.faces, process=False).export(file_type=extension, **options)
    path = tmp_path / f"a.{extension[:3]}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    back = read(path)
    assert back.x[back.faces].numpy() == pytest.approx(x[ours.faces].numpy(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "extension", "reason"),
    [
        (mesh(), "csv", "not surfaces"),
        (mesh(), "npy", "npy files hold points only"),
        (curve(), "off", "no place for curves"),
        (curve(), "stl", "triangle surfaces only"),
        (Points(positions(0)), "stl", "triangle surfaces only"),
        (Curve(positions(0), edges=torch.tensor([[0, 1], [0, 2]])), "csv", "at most one segment starting"),
    ],
)
def test_shapes_that_a_format_cannot_hold(tmp_path, shape, extension, reason):
    path = tmp_path / f"a.{extension}"
    with pytest.raises(ValueError, match=f"cannot write .*a.{extension}: .*{reason}"):
        write(path, shape)
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_tested():
    assert {s for kind in FORMATS for s in kind.suffixes} == {f".{e}" for e in {*MESHES, *CURVES, *CLOUDS}}
