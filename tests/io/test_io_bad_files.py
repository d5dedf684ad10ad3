"""Every kind of bad file gives one sentence that names the file and says what is wrong."""

import os
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeo.io import read, write
from diffeo.shapes import Curve, Mesh, Points

PLY = "ply\nformat ascii 1.0\nelement vertex {n}\nproperty float x\nproperty float y\nproperty float z\n"
FACES = "element face {f}\nproperty list uchar int vertex_indices\nend_header\n"
VTK = "# vtk DataFile Version 3.0\nt\nASCII\nDATASET POLYDATA\nPOINTS 3 float\n"

TEXTS = {
    "empty": ("a.ply", "", "it is empty"),
    "blank table": ("a.txt", "\n\n# nothing\n", "it has no points"),
    "header only": ("a.csv", "x,y\n", "it has a header and no points"),
    "unknown extension": ("a.json", "{}", "extension .json is not one of the formats .ply, .obj"),
    "no extension": ("a", "1 2", r"extension \(none\) is not one of the formats"),
    "nan": (
        "a.txt",
        "1 2\nnan 3\n4 5\n6 nan\n",
        "2 of its 4 points have NaN or infinite coordinates, the first in row 1",
    ),
    "infinity": ("a.csv", "x,y\n1,inf\n", "1 of its 1 points have NaN or infinite"),
    "nan in obj": ("a.obj", "v 0 0 0\nv nan 0 0\n", "1 of its 2 points have NaN"),
    "nan in vtk": ("a.vtk", VTK + "0 0 0\nnan 1 1\n2 2 2\n", "1 of its 3 points have NaN"),
    "ragged": ("a.txt", "1 2 3\n4 5 6\n\n7 8\n", "line 4 has 2 columns, and line 1 has 3"),
    "ragged csv": ("a.csv", "x,y,name\n1,2,a\n1,2\n", "line 3 has 2 columns, and the header has 3"),
    "text in numbers": ("a.txt", "1 2\n3 four\n", "line 2, column 2: 'four' is not a number"),
    "text in csv": ("a.csv", "name,x,y\na,1,2\nb,1,two\n", "line 3, column 3: 'two' is not a number"),
    "missing entry": ("a.csv", "x,y\n1,\n", "line 2, column 2: '' is not a number"),
    "decimal commas": ("a.csv", "x;y\n1,5;2,5\n", "'1,5' is not a number"),
    "prose": ("a.txt", "Dear reader,\nthis is no table\n", "neither numbers nor a header with columns x and y"),
    "one column": ("a.txt", "1\n2\n", "1 column, and 2 or 3 .* are expected"),
    "four columns": ("a.xyz", "1 2 3 4\n", "4 columns and no header, .* add a first line that names the columns"),
    "unnamed columns": ("a.csv", "lon,lat\n1,2\n", "header with columns x and y"),
    "x without y": ("a.csv", "x,z\n1,2\n", "names no columns x and y, but x, z"),
    "twice x": ("a.csv", "x,y,X\n1,2,3\n", "more than one column 'x'"),
    "next not a row": ("a.csv", "x,y,next\n1,2,0.5\n", "column 'next' must hold row numbers"),
    "next out of range": ("a.csv", "x,y,next\n1,2,7\n3,4,-1\n", r"row 0 is \[0, 7\], and there are 2 points"),
    "not ply": ("a.ply", "OFF\n3 1 0\n", "not a PLY file"),
    "ply without end": ("a.ply", PLY.format(n=3), "header has no end"),
    "ply without format": ("a.ply", "ply\nelement vertex 1\nend_header\n1\n", "no line 'format'"),
    "ply without xyz": (
        "a.ply",
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n",
        "no element 'vertex' with the properties x, y and z",
    ),
    "ply of no points": ("a.ply", PLY.format(n=0) + "end_header\n", "it has no points"),
    "ply bad count": ("a.ply", PLY.format(n="many") + "end_header\n", "element vertex many"),
    "ply bad type": ("a.ply", PLY.format(n=1).replace("float", "quad") + "end_header\n1 1 1\n", "property quad x"),
    "ply fewer vertices": (
        "a.ply",
        PLY.format(n=3) + "end_header\n0 0 0\n",
        "promises 3 rows of element 'vertex', and 1",
    ),
    "ply fewer faces": (
        "a.ply",
        PLY.format(n=3) + FACES.format(f=2) + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
        "promises 2 rows of element 'face', and 1 are there",
    ),
    "ply short face": (
        "a.ply",
        PLY.format(n=3) + FACES.format(f=1) + "0 0 0\n1 0 0\n0 1 0\n3 0 1\n",
        "line 13 promises 3 corners and has 2",
    ),
    "ply face of two": (
        "a.ply",
        PLY.format(n=3) + FACES.format(f=1) + "0 0 0\n1 0 0\n0 1 0\n2 0 1\n",
        "face 0 has 2 corners",
    ),
    "ply face out of range": (
        "a.ply",
        PLY.format(n=3) + FACES.format(f=2) + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n3 0 1 3\n",
        r"1 of its faces refer to points that are not there: row 1 is \[0, 1, 3\], and there are 3 points \(0..2\)",
    ),
    "ply strips": ("a.ply", PLY.format(n=1) + "element tristrips 0\nend_header\n0 0 0\n", "triangle strips"),
    "obj without vertices": ("a.obj", "# nothing\nf 1 2 3\n", "it has no vertices"),
    "obj short vertex": ("a.obj", "v 0 0 0\nv 1 2\n", "line 2 has 3 columns, and at least 4"),
    "obj bad face": ("a.obj", "v 0 0 0\nf 1 x 1\n", "line 2: 'x' is not a vertex number"),
    "obj zero": ("a.obj", "v 0 0 0\nv 1 0 0\nf 0 1 2\n", "1 of its faces refer to points that are not there"),
    "not off": ("a.off", "hello\n", "not an OFF file"),
    "4-D off": ("a.off", "4OFF\n1 0 0\n1 2 3 4\n", "4 or more dimensions"),
    "off truncated": ("a.off", "OFF\n3 1 0\n0 0 0\n", "promises 3 vertices, and 1 are there"),
    "off bad counts": ("a.off", "OFF\nthree 1 0\n", "numbers of vertices and faces are expected"),
    "off real corners": ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1.5 2\n", "not a list of integers"),
    "stl truncated": ("a.stl", "solid\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n", "it is truncated"),
    "stl no faces": ("a.stl", "solid\nendsolid\n", "it has no faces"),
    "not vtk": ("a.vtk", "hello\nworld\n", "not a legacy VTK file"),
    "vtk no encoding": ("a.vtk", "# vtk DataFile Version 3.0\nt\nDATASET POLYDATA\n", "ASCII or BINARY is expected"),
    "vtk image": ("a.vtk", VTK.replace("POLYDATA", "STRUCTURED_POINTS"), "holds a STRUCTURED_POINTS"),
    "vtk truncated": ("a.vtk", VTK + "0 0 0\n1 0", "9 coordinates are promised, and 5 are there"),
    "vtk no points": ("a.vtk", VTK[: VTK.index("POINTS")], "no points, or is truncated"),
    "vtk too many": ("a.vtk", VTK + "0 0 0 " * 4, "it has 12 coordinates, and 9 are promised"),
    "vtk truncated lines": ("a.vtk", VTK + "0 0 0 " * 3 + "\nLINES 1 3\n2 0", "3 entries of LINES are promised, and 2"),
    "vtk bad sizes": ("a.vtk", VTK + "0 0 0 " * 3 + "\nLINES 2 4\n2 0 1 9", "sizes of its LINES do not add up"),
    "vtk truncated data": (
        "a.vtk",
        VTK + "0 0 0 " * 3 + "\nPOINT_DATA 3\nSCALARS s float\nLOOKUP_TABLE default\n1 2\n",
        "3 values of 's' are promised, and 2 are there",
    ),
    "not xml": ("a.vtp", "hello", "not a VTK XML file"),
}


def complaint(path):
    """What ``read`` has against a file; None if nothing."""
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return None


def check_refused(path, reason):
    """One sentence, that names the file and the reason."""
    message = complaint(path)
    assert message is not None
    assert str(path) in message
    assert re.search(reason, message)
    assert "\n" not in message
    assert message.endswith(".")
    assert "Error" not in message


@pytest.mark.parametrize("case", TEXTS)
def test_bad_text_files(tmp_path, case):
    name, content, reason = TEXTS[case]
    (tmp_path / name).write_text(content)
    check_refused(tmp_path / name, reason)


ARRAYS = {
    "4-D points": (np.zeros((5, 4)), r"have 4 coordinates, shape \(5, 4\), and 2 or 3 are expected"),
    "transposed": (np.zeros((3, 50)), "transpose it"),
    "one number": (np.array(1.0), r"of shape \(\)"),
    "no points": (np.zeros((0, 3)), "it has no points"),
    "texts": (np.array([["a", "b"]]), "numbers of shape"),
    "complex": (np.zeros((2, 2), complex), "complex128"),
    "objects": (np.array([[1, None]], object), "holds Python objects"),
}


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("extension", ["npy", "npz"])
def test_bad_arrays(tmp_path, case, extension):
    array, reason = ARRAYS[case]
    path = tmp_path / f"a.{extension}"
    np.save(path, array) if extension == "npy" else np.savez(path, x=array)
    check_refused(path, reason)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"vertices": np.zeros((3, 3))}, r"it holds vertices, and what is expected is x \(n, d\)"),
        ({"x": np.zeros((3, 3)), "faces": np.zeros((2, 4), int)}, r"faces are int64 of shape \(2, 4\)"),
        ({"x": np.zeros((3, 3)), "faces": np.zeros((2, 3))}, "faces are float64"),
        ({"x": np.zeros((3, 3)), "edges": np.array([[0, 3]])}, "edges refer to points that are not there"),
        ({"x": np.zeros((3, 3)), "edges": np.array([[0, -1]])}, "edges refer to points that are not there"),
        (
            {"x": np.zeros((3, 2)), "faces": np.array([[0, 1, 2]])},
            r"vertices in space, shape \(n, 3\), and got \(3, 2\)",
        ),
        ({"x": np.zeros((3, 3)), "weights": np.array([1.0, -1, 1])}, "weights that are finite, not negative"),
    ],
)
def test_bad_npz_contents(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    check_refused(tmp_path / "a.npz", reason)


def test_missing_folder_and_link(tmp_path):
    check_refused(tmp_path / "no.ply", "there is no such file")
    (tmp_path / "folder.ply").mkdir()
    check_refused(tmp_path / "folder.ply", "it is a folder")
    (tmp_path / "dangling.ply").symlink_to(tmp_path / "nowhere")
    check_refused(tmp_path / "dangling.ply", "there is no such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path):
    (tmp_path / "a.txt").write_text("1 2")
    (tmp_path / "a.txt").chmod(0)
    check_refused(tmp_path / "a.txt", "permission")


def test_binary_content_in_a_text_format(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x00\x01\x02")
    check_refused(tmp_path / "a.csv", "binary data")
    (tmp_path / "b.npy").write_text("1 2 3")
    check_refused(tmp_path / "b.npy", "not a NumPy file")
    (tmp_path / "c.npz").write_text("1 2 3")
    check_refused(tmp_path / "c.npz", "not an npz archive")


def sample(extension):
    """A shape that the format can hold."""
    x = torch.rand(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if extension in ("ply", "obj", "off", "stl", "npz"):
        return Mesh(x, faces=torch.arange(9).reshape(3, 3), attributes={"q": np.arange(9.0)})
    if extension in ("vtk", "vtp", "csv"):
        return Curve(x, edges=torch.tensor([[0, 1], [1, 2]]), attributes={"q": np.arange(9.0)})
    return Points(x)


BINARY = ["ply", "stl", "npy", "npz"]


@pytest.mark.parametrize("extension", BINARY)
def test_every_truncation_of_a_binary_file_is_noticed(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    write(path, sample(extension))
    content = path.read_bytes()
    for end in [*range(1, len(content), 7), len(content) - 1]:
        path.write_bytes(content[:end])
        check_refused(path, "truncated|damaged|empty|not a|no end|header")


@pytest.mark.parametrize("extension", ["ply", "obj", "off", "stl", "vtk", "csv", "txt", "xyz", "npy", "npz"])
def test_damaged_files_never_raise_anything_else(tmp_path_factory, extension):
    """Whatever bytes are changed, lost or inserted: a shape, or one sentence."""
    path = tmp_path_factory.mktemp("damaged") / f"a.{extension}"
    write(path, sample(extension))
    content = path.read_bytes()

    @settings(deadline=None, max_examples=60)
    @given(
        at=st.integers(0, len(content) - 1),
        lost=st.integers(0, 12),
        inserted=st.one_of(
            st.binary(max_size=4), st.sampled_from([b"-1", b"nan", b"\n", b" ", b"999999999", b"e999", b","])
        ),
    )
    def law(at, lost, inserted):
        path.write_bytes(content[:at] + inserted + content[at + lost :])
        message = complaint(path)
        assert message is None or (str(path) in message and "\n" not in message)

    law()
