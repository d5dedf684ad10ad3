"""A moved shape is its source file with the points replaced: nothing else changes."""

import numpy as np
import pytest
import torch

from diffeo.io import read, write
from diffeo.shapes import Curve, Mesh, Points

PLY_ASCII = """ply
format ascii 1.0
comment made by hand
element vertex 4
property uchar red
property double x
property double y
property double z
property float quality
element face 2
property list uchar int vertex_indices
property int label
element other 1
property int n
end_header
255 0.5 0 0 0.25
0   1 0 0 0.5
7 1 1 0.1234567890123456 0.75
9 0 1 0 1e-3
4 0 1 2 3 5
3 0 1 3 6
42
"""

OBJ = """# a square and a roof
mtllib a.mtl
v 0 0 0 0.5 0.5 0.5
v 1 0 0 1 0 0
v\t1  1 0 0 1 0
v 0 1 0 0 0 1
vt 0 0
vt 1 1
vn 0 0 1
usemtl wood
f 1/1/1 2/2/1 3/1/1 4/2/1
f -4 -3 -1
"""

OFF = """OFF # comment
# another
4 2 0

0 0 0 255 0 0
1 0 0
1 1 0  # corner
0 1 0
4 0 1 2 3 0.5 0.5 0.5
3 0 1 3
"""

STL = """solid two
 facet normal 0 0 1
  outer loop
   vertex 0 0 0
   vertex 1 0 0
   vertex 1 1 0
  endloop
 endfacet
 facet normal 0 0 1
  outer loop
   vertex 0 0 0
   vertex 1 1 0
   vertex 0 1 0
  endloop
 endfacet
endsolid two
"""

VTK = """# vtk DataFile Version 3.0
two polylines
ASCII
DATASET POLYDATA
POINTS 5 float
0 0 0 1 0 0 2 0 0
5 5 5
6 6 6

LINES 2 7
3 0 1 2
2 3 4
CELL_DATA 2
SCALARS bundle int
LOOKUP_TABLE default
7 8
POINT_DATA 5
SCALARS signal float 1
LOOKUP_TABLE default
0 0.1 0.2 0.3 0.4
VECTORS speed double
1 0 0 1 0 0 1 0 0
nan 1 1
0 inf 0
"""

CSV = """\ufeff# measured on Monday
id,Y,label,X,color\r
a,0.5,"x, y",1,#ff0000\r
b,1.5,,2,#00ff00\r
c, 2.5,z,3,#0000ff\r
"""

TXT = "# two columns\n1.5 2.5   # first\n\n\t3 4\r\n5e0\t6"


def moved(shape, seed=0):
    return shape.with_positions(
        shape.x + torch.rand(shape.x.shape, generator=torch.Generator().manual_seed(seed)).double()
    )


def words_that_differ(a, b):
    return [(u, v) for u, v in zip(a.split(), b.split(), strict=True) if u != v]


@pytest.mark.parametrize(
    ("name", "content", "kind", "n"),
    [
        ("a.ply", PLY_ASCII, Mesh, 4),
        ("a.obj", OBJ, Mesh, 4),
        ("a.off", OFF, Mesh, 4),
        ("a.stl", STL, Mesh, 4),
        ("a.vtk", VTK, Curve, 5),
        ("a.csv", CSV, Points, 3),
        ("a.txt", TXT, Points, 3),
    ],
)
def test_text_files_keep_all_else(tmp_path, name, content, kind, n):
    source, out = tmp_path / name, tmp_path / f"moved{name}"
    source.write_bytes(content.encode())
    shape = read(source)
    assert type(shape) is kind
    assert len(shape.x) == n
    result = moved(shape)
    write(out, result, like=source)
    back = read(out)
    assert torch.equal(back.x, result.x)
    assert back.attributes.keys() == shape.attributes.keys()
    for key in shape.attributes:
        assert np.array_equal(
            back.attributes[key], shape.attributes[key], equal_nan=shape.attributes[key].dtype.kind == "f"
        )
    before = source.read_bytes().decode("utf-8-sig").replace(", 2.5", ",2.5")
    after = out.read_bytes().decode()
    assert len(before.splitlines()) == len(after.splitlines()) or name == "a.vtk"
    if name == "a.vtk":
        assert after.partition("LINES")[2] == before.partition("LINES")[2]
    changed = words_that_differ(before.replace(",", " "), after.replace(",", " "))
    normals = {"a.obj": 3, "a.stl": 6}.get(name, 0)
    copies = 6 if name == "a.stl" else n  # corners
    assert 0 < len(changed) <= copies * shape.x.shape[1] + normals


@pytest.mark.parametrize("name", ["a.ply", "a.obj", "a.off", "a.vtk", "a.csv", "a.txt", "a.stl"])
def test_unmoved_text_files_read_the_same(tmp_path, name):
    content = {"a.ply": PLY_ASCII, "a.obj": OBJ, "a.off": OFF, "a.vtk": VTK, "a.csv": CSV, "a.txt": TXT, "a.stl": STL}[
        name
    ]
    source = tmp_path / name
    source.write_bytes(content.encode())
    shape = read(source)
    write(source, shape, like=source)  # over itself
    assert torch.equal(read(source).x, shape.x)


def binary_ply(order, kind):
    """Vertices with a color between, faces of 3 and 4 corners, and a double at the end of each."""
    code = {"little": "<", "big": ">"}[order]
    number = {"float": "f4", "double": "f8"}[kind]
    header = f"""ply
format binary_{order}_endian 1.0
element before 2
property short a
element vertex 5
property {kind} x
property uchar red
property {kind} y
property {kind} z
element face 2
property uchar flags
property list uchar uint vertex_index
property double area
end_header
"""
    vertex = np.zeros(5, [("x", code + number), ("red", "u1"), ("y", code + number), ("z", code + number)])
    rng = np.random.default_rng(0)
    for name in "xyz":
        vertex[name] = rng.normal(size=5)
    vertex["red"] = [1, 2, 3, 4, 255]
    faces = b""
    for corners in ([0, 1, 2, 3], [4, 2, 0]):
        faces += b"\x07" + bytes([len(corners)]) + np.array(corners, code + "u4").tobytes()
        faces += np.array([0.1], code + "f8").tobytes()
    return header.encode() + np.array([3, 4], code + "i2").tobytes() + vertex.tobytes() + faces, vertex


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("kind", ["float", "double"])
def test_binary_ply(tmp_path, order, kind):
    source, out = tmp_path / "a.ply", tmp_path / "b.ply"
    content, vertex = binary_ply(order, kind)
    source.write_bytes(content)
    shape = read(source)
    assert shape.x.tolist() == np.stack([vertex[k] for k in "xyz"], 1).tolist()
    assert shape.faces.tolist() == [[0, 1, 2], [0, 2, 3], [4, 2, 0]]
    assert shape.attributes["red"].tolist() == [1, 2, 3, 4, 255]
    write(out, shape, like=source)
    assert out.read_bytes() == content
    result = moved(shape)
    write(out, result, like=source)
    expected = result.x.float().double() if kind == "float" else result.x
    assert torch.equal(read(out).x, expected)
    assert len(out.read_bytes()) == len(content)
    start = content.index(b"end_header\n") + len(b"end_header\n") + 4
    end = start + vertex.nbytes
    assert out.read_bytes()[:start] == content[:start]
    assert out.read_bytes()[end:] == content[end:]


def test_integer_coordinates_become_numbers_that_can_move(tmp_path):
    source, out = tmp_path / "a.ply", tmp_path / "b.ply"
    source.write_text(PLY_ASCII.replace("double", "int").replace("0.1234567890123456", "0").replace("0.5 0 0", "0 0 0"))
    result = moved(read(source))
    write(out, result, like=source)
    assert torch.equal(read(out).x, result.x)
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    result = moved(read(tmp_path / "a.npy"))
    write(tmp_path / "b.npy", result, like=tmp_path / "a.npy")
    assert torch.equal(read(tmp_path / "b.npy").x, result.x)


def test_normals_follow_the_surface(tmp_path):
    """A square, turned about the x-axis by 90°: the normals that PLY and OBJ store turn too."""
    ply = """ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z
property float nx\nproperty float ny\nproperty float nz\nelement face 1\nproperty list uchar int vertex_indices
end_header\n0 0 0 0 0 1\n1 0 0 0 0 1\n1 1 0 0 0 1\n0 1 0 0 0 1\n4 0 1 2 3\n"""
    obj = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nvn 9 9 9\nf 1//1 2//1 3//1 4//1\n"
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    for name, content in (("a.ply", ply), ("a.obj", obj)):
        (tmp_path / name).write_text(content)
        shape = read(tmp_path / name)
        write(tmp_path / f"b{name}", shape.with_positions(shape.x @ turn.T), like=tmp_path / name)
    normals = read(tmp_path / "ba.ply").attributes
    assert np.stack([normals[k] for k in ("nx", "ny", "nz")], 1) == pytest.approx(np.array([[0, -1, 0]] * 4))
    lines = [line.split()[1:] for line in (tmp_path / "ba.obj").read_text().splitlines() if line.startswith("vn")]
    assert np.array(lines, float) == pytest.approx(np.array([[0, -1, 0], [9, 9, 9]]))  # the second is used by no face


def test_obj_corners(tmp_path):
    (tmp_path / "a.obj").write_text(OBJ)
    shape = read(tmp_path / "a.obj")
    assert shape.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 3]]
    assert shape.attributes["green"].tolist() == [0.5, 0, 1, 0]
    (tmp_path / "b.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nl 1 2 \\\n 3\nl -1 -3\n")
    assert read(tmp_path / "b.obj").edges.tolist() == [[0, 1], [1, 2], [2, 0]]


def test_negative_obj_corners_count_from_where_they_are(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 0 0\nv 6 0 0\nv 5 1 0\nf -3 -2 -1\n")
    assert read(tmp_path / "a.obj").faces.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_stl_is_welded_and_unwelded(tmp_path):
    source, out = tmp_path / "a.stl", tmp_path / "b.stl"
    source.write_text(STL)
    shape = read(source)
    assert shape.x.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert shape.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    write(tmp_path / "binary.stl", shape)
    raw = bytearray((tmp_path / "binary.stl").read_bytes())
    raw[:5] = b"solid"  # some programs do that in binary files
    raw[132:134] = b"\x01\x02"  # the attribute of the first face
    (tmp_path / "binary.stl").write_bytes(raw)
    result = moved(shape)
    write(out, result, like=tmp_path / "binary.stl")
    assert out.read_bytes()[:84] == raw[:84]
    assert out.read_bytes()[132:134] == b"\x01\x02"
    back = read(out)
    assert torch.equal(back.x, result.x.float().double())
    assert torch.equal(back.faces, shape.faces)


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_keeps_its_arrays(tmp_path, compressed):
    source, out = tmp_path / "a.npz", tmp_path / "b.npz"
    arrays = {
        "edges": np.array([[0, 1], [1, 2]], np.uint16),
        "x": np.zeros((3, 2), np.float32),
        "signal": np.array([1, 2, 3]),
        "title": np.array("hello"),
        "many": np.zeros((50, 50)),
    }
    (np.savez_compressed if compressed else np.savez)(source, **arrays)
    shape = read(source)
    assert isinstance(shape, Curve)
    assert set(shape.attributes) == {"signal"}
    result = moved(shape)
    write(out, result, like=source)
    with np.load(out) as kept:
        assert list(kept) == ["edges", "x", "signal", "title", "many"]
        assert kept["x"].dtype == np.float32
        assert kept["edges"].dtype == np.uint16
        assert str(kept["title"]) == "hello"
        assert np.array_equal(kept["x"], result.x.float().numpy())
    assert (out.stat().st_size < 5000) == compressed


def test_a_plane_shape_keeps_the_third_coordinate_of_its_file(tmp_path):
    source, out = tmp_path / "a.vtk", tmp_path / "b.vtk"
    source.write_text(VTK)
    shape = read(source)
    plane = Curve(shape.x[:, :2] + 1, edges=shape.edges)
    write(out, plane, like=source)
    assert torch.equal(read(out).x, torch.cat([plane.x, shape.x[:, 2:]], 1))


def test_another_format_is_written_afresh(tmp_path):
    (tmp_path / "a.vtk").write_text(VTK)
    shape = read(tmp_path / "a.vtk")
    write(tmp_path / "b.npz", shape, like=tmp_path / "a.vtk")
    back = read(tmp_path / "b.npz")
    assert torch.equal(back.x, shape.x)
    assert np.array_equal(back.attributes["signal"], shape.attributes["signal"])


def test_like_must_be_the_source(tmp_path):
    (tmp_path / "a.off").write_text(OFF)
    shape = read(tmp_path / "a.off")
    fewer = Mesh(shape.x[:3], faces=shape.faces[:1])
    with pytest.raises(ValueError, match=r"the shape has 3 points and .*a.off has 4"):
        write(tmp_path / "b.off", fewer, like=tmp_path / "a.off")
    with pytest.raises(ValueError, match="the faces of the shape are not those of"):
        write(tmp_path / "b.off", Mesh(shape.x, faces=shape.faces.flip(1)), like=tmp_path / "a.off")
    with pytest.raises(ValueError, match="there is no such file"):
        write(tmp_path / "b.off", shape, like=tmp_path / "c.off")
    assert not (tmp_path / "b.off").exists()
