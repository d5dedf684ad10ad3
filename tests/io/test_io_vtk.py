"""VTK files, old and new, ascii and binary, against VTK itself where it is installed."""

import numpy as np
import pytest
import torch

from diffeo.io import read, write
from diffeo.shapes import Curve, Mesh, Points

CELLS = {
    "mesh": "POLYGONS 2 9\n4 0 1 2 3\n3 0 2 4\n",
    "strips": "TRIANGLE_STRIPS 1 6\n5 0 1 2 3 4\n",
    "curve": "LINES 2 7\n3 0 1 2\n2 3 4\n",
    "both": "LINES 1 3\n2 0 1\nPOLYGONS 1 4\n3 0 1 2\n",
    "vertices": "VERTICES 2 7\n2 0 1\n3 2 3 4\n",
    "none": "",
}


def legacy(cells, dataset="POLYDATA", data="", points="POINTS 5 float\n0 0 0 1 0 0 1 1 0 0 1 0 .5 .5 1\n"):
    return f"# vtk DataFile Version 3.0\ntitle\nASCII\nDATASET {dataset}\n{points}{cells}{data}"


@pytest.mark.parametrize(
    ("cells", "kind", "index"),
    [
        ("mesh", Mesh, [[0, 1, 2], [0, 2, 3], [0, 2, 4]]),
        ("strips", Mesh, [[0, 1, 2], [2, 1, 3], [2, 3, 4]]),
        ("curve", Curve, [[0, 1], [1, 2], [3, 4]]),
        ("both", Mesh, [[0, 1, 2]]),
        ("vertices", Points, None),
        ("none", Points, None),
    ],
)
def test_cells(tmp_path, cells, kind, index):
    (tmp_path / "a.vtk").write_text(legacy(CELLS[cells]))
    shape = read(tmp_path / "a.vtk")
    assert type(shape) is kind
    if index is not None:
        assert (shape.faces if kind is Mesh else shape.edges).tolist() == index


def test_unstructured_grid(tmp_path):
    cells = "CELLS 3 11\n4 0 1 2 3\n3 0 2 4\n1 0\nCELL_TYPES 3\n9 5 1\n"
    (tmp_path / "a.vtk").write_text(legacy(cells, "UNSTRUCTURED_GRID"))
    assert read(tmp_path / "a.vtk").faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 4]]
    lines = "CELLS 2 7\n3 0 1 2\n2 3 4\nCELL_TYPES 2\n4 3\n"
    (tmp_path / "a.vtk").write_text(legacy(lines, "UNSTRUCTURED_GRID"))
    assert read(tmp_path / "a.vtk").edges.tolist() == [[0, 1], [1, 2], [3, 4]]
    (tmp_path / "a.vtk").write_text(legacy("CELLS 1 5\n4 0 1 2 4\nCELL_TYPES 1\n10\n", "UNSTRUCTURED_GRID"))
    with pytest.raises(ValueError, match=r"VTK types \[10\].*extract the surface first"):
        read(tmp_path / "a.vtk")


def test_a_moved_file_has_the_line_ends_of_its_original(tmp_path):
    like, moved = tmp_path / "a.vtk", tmp_path / "moved.vtk"
    for content in (legacy(CELLS["mesh"]), legacy(CELLS["mesh"]).replace("\n", "\r\n")):
        like.write_bytes(content.encode())
        shape = read(like)
        write(moved, shape.with_positions(shape.x + 1), like=like)
        written = moved.read_bytes()
        assert written.count(b"\r\n") == (written.count(b"\n") if "\r" in content else 0)
        assert torch.equal(read(moved).x, shape.x + 1)


def test_point_data_of_every_kind(tmp_path):
    data = """CELL_DATA 2
SCALARS of_cells float
LOOKUP_TABLE default
1 2
METADATA
INFORMATION 0

POINT_DATA 5
SCALARS one float
LOOKUP_TABLE mine
1 2 3 4 5
LOOKUP_TABLE mine 2
0 0 0 1 1 1 1 1
COLOR_SCALARS shade 2
0 1 0 1 0 1 0 1 0 1
NORMALS n float
0 0 1 0 0 1 0 0 1 0 0 1 0 0 1
TEXTURE_COORDINATES uv 2 float
0 0 0 0 0 0 0 0 0 0
FIELD FieldData 2
a%20b 1 5 vtktypeint64
1 2 3 4 9007199254740992
METADATA
COMPONENT_NAMES
x

pairs 2 5 double
1 2 3 4 5 6 7 8 9 nan
"""
    (tmp_path / "a.vtk").write_text(legacy(CELLS["curve"], data=data))
    attributes = read(tmp_path / "a.vtk").attributes
    assert {k: v.shape for k, v in attributes.items()} == {
        "one": (5,),
        "shade": (5, 2),
        "n": (5, 3),
        "uv": (5, 2),
        "a b": (5,),
        "pairs": (5, 2),
    }
    assert attributes["a b"][-1] == 2**53
    assert attributes["pairs"][:, 0].tolist() == [1, 3, 5, 7, 9]


def test_unknown_attributes_do_not_matter(tmp_path):
    data = "POINT_DATA 5\nFIELD F 1\nnames 1 5 string\na\nb\nc\nd\ne\n"
    (tmp_path / "a.vtk").write_text(legacy(CELLS["curve"], data=data))
    shape = read(tmp_path / "a.vtk")
    write(tmp_path / "b.vtk", shape, like=tmp_path / "a.vtk")
    assert (tmp_path / "b.vtk").read_text().endswith(data)


@pytest.mark.parametrize("version", [42, 51])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["mesh", "curve"])
def test_files_by_vtk(tmp_path, version, binary, kind):
    """What VTK writes we read; what we make of it VTK reads, with the same cells and data."""
    pv = pytest.importorskip("pyvista")
    legacy_io = pytest.importorskip("vtkmodules.vtkIOLegacy")
    x = np.random.default_rng(0).normal(size=(6, 3)).round(3)
    data = (
        pv.PolyData(x, lines=[4, 0, 1, 2, 5, 2, 3, 4])
        if kind == "curve"
        else pv.PolyData(x, [4, 0, 1, 2, 3, 3, 0, 4, 5])
    )
    data.point_data["signal"] = np.arange(6) / 8
    data.cell_data["label"] = [3, 4]
    writer = legacy_io.vtkPolyDataWriter()
    writer.SetFileName(str(tmp_path / "a.vtk"))
    writer.SetInputData(data)
    writer.SetFileVersion(version)
    writer.SetFileTypeToBinary() if binary else writer.SetFileTypeToASCII()
    assert writer.Write()
    shape = read(tmp_path / "a.vtk")
    assert np.array_equal(shape.x.numpy(), x)
    index = shape.edges if kind == "curve" else shape.faces
    expected = [[0, 1], [1, 2], [2, 5], [3, 4]] if kind == "curve" else [[0, 1, 2], [0, 2, 3], [0, 4, 5]]
    assert index.tolist() == expected
    assert np.array_equal(shape.attributes["signal"], data.point_data["signal"])
    write(tmp_path / "b.vtk", shape.with_positions(shape.x / 3), like=tmp_path / "a.vtk")
    back = pv.read(tmp_path / "b.vtk")
    assert np.array_equal(back.points, (shape.x / 3).numpy())
    assert np.array_equal(back.lines if kind == "curve" else back.faces, data.lines if kind == "curve" else data.faces)
    assert back.cell_data["label"].tolist() == [3, 4]
    assert (tmp_path / "b.vtk").read_bytes()[:26] == (tmp_path / "a.vtk").read_bytes()[:26]  # the same version


@pytest.mark.parametrize("extension", ["vtk", "vtp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vtk_reads_what_we_write(tmp_path, extension, dtype):
    pv = pytest.importorskip("pyvista")
    x = torch.rand(6, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    shape = Curve(x, edges=torch.tensor([[0, 1], [5, 2]]), attributes={"signal": np.arange(6.0) / 7})
    write(tmp_path / f"a.{extension}", shape)
    back = pv.read(tmp_path / f"a.{extension}")
    assert np.array_equal(back.points, x.numpy())
    assert back.lines.tolist() == [2, 0, 1, 2, 5, 2]
    assert np.array_equal(back.point_data["signal"], shape.attributes["signal"])


def test_vtp_like(tmp_path):
    pv = pytest.importorskip("pyvista")
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    data = pv.PolyData(x, lines=[4, 0, 1, 2, 5, 2, 3, 4])
    data.point_data["signal"] = np.arange(6) / 8
    data.cell_data["label"] = [3, 4]
    data.save(tmp_path / "a.vtp")
    shape = read(tmp_path / "a.vtp")
    assert shape.edges.tolist() == [[0, 1], [1, 2], [2, 5], [3, 4]]
    write(tmp_path / "b.vtp", shape.with_positions(shape.x + 1), like=tmp_path / "a.vtp")
    back = pv.read(tmp_path / "b.vtp")
    assert back.points.dtype == np.float32
    assert np.array_equal(back.points, (x.astype(float) + 1).astype(np.float32))
    assert back.lines.tolist() == data.lines.tolist()
    assert back.cell_data["label"].tolist() == [3, 4]
    assert back.point_data["signal"].tolist() == (np.arange(6) / 8).tolist()


def test_broken_vtp_files_are_silent(tmp_path, capfd):
    pytest.importorskip("vtkmodules")
    shape = Curve(torch.rand(6, 3), edges=torch.tensor([[0, 1], [5, 2]]))
    write(tmp_path / "a.vtp", shape)
    content = (tmp_path / "a.vtp").read_bytes()
    for broken in (content[: len(content) // 2], content.replace(b"<Points>", b"<Point>"), b"<VTKFile" + content[:20]):
        (tmp_path / "b.vtp").write_bytes(broken)
        with pytest.raises(ValueError, match=r"cannot read .*b.vtp: it"):
            read(tmp_path / "b.vtp")
    (tmp_path / "b.vtp").write_bytes(content.replace(b'"PolyData"', b'"ImageData"'))
    with pytest.raises(ValueError, match="PolyData is expected"):
        read(tmp_path / "b.vtp")
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_without_vtk_the_way_out_is_told(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("diffeo.io.vtp.import_module", missing)
    (tmp_path / "a.vtp").write_text('<VTKFile type="PolyData"></VTKFile>')
    with pytest.raises(ValueError, match=r'need VTK: pip install "diffeo\[vtk\]", or save the file as'):
        read(tmp_path / "a.vtp")
