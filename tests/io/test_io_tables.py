"""Tables of points: separators, headers, comments, further columns."""

import numpy as np
import pytest

from diffeo.io import read, write
from diffeo.shapes import Curve, Points


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1 2\n3 4\n", [[1, 2], [3, 4]]),
        ("1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
        (" 1.5e3\t-2 \r\n\r\n3  4", [[1500, -2], [3, 4]]),
        ("1 ; 2\n", [[1, 2]]),
        ("# x y\n1 2 # note\n", [[1, 2]]),
        ("x,y\n1,2\n", [[1, 2]]),
        ("Z, Y, X\n1, 2, 3\n", [[3, 2, 1]]),
        ('"x","y"\n"1","2"\n', [[1, 2]]),
        ("id y x\n7 1 2\n", [[2, 1]]),
        ("# x y signal\n1 2 3\n", [[1, 2]]),
        (",X,Y\n1,10,20\n2,30,40\n", [[10, 20], [30, 40]]),
        ("\ufeffx,y\n1,2\n", [[1, 2]]),
    ],
)
def test_layouts(tmp_path, content, expected):
    for extension in ("txt", "csv", "xyz"):
        (tmp_path / f"a.{extension}").write_bytes(content.encode())
        shape = read(tmp_path / f"a.{extension}")
        assert type(shape) is Points
        assert shape.x.tolist() == expected


def test_further_columns_are_attributes(tmp_path):
    (tmp_path / "a.csv").write_text('name,x,y,signal\n"a, b",1,2,0.5\nc,3,4,1e3\n')
    attributes = read(tmp_path / "a.csv").attributes
    assert attributes["name"].tolist() == ["a, b", "c"]
    assert attributes["signal"].tolist() == [0.5, 1000]


@pytest.mark.parametrize("header", [",X,Y", "id,x,y", "ID,X,Y", '"",X,Y'])
def test_landmarks_keep_their_ids(tmp_path, header):
    """A first column without a name is the index that spreadsheets and pandas write."""
    (tmp_path / "a.csv").write_text(f"{header}\n1,226,173\n2,288,174\n17,340,186\n")
    shape = read(tmp_path / "a.csv")
    assert shape.x.tolist() == [[226, 173], [288, 174], [340, 186]]
    assert shape.attributes["id"].tolist() == [1, 2, 17]
    assert shape.attributes["id"].dtype == np.int64
    write(tmp_path / "b.csv", shape.with_positions(shape.x + 0.5), like=tmp_path / "a.csv")
    assert (tmp_path / "b.csv").read_text() == f"{header}\n1,226.5,173.5\n2,288.5,174.5\n17,340.5,186.5\n"
    write(tmp_path / "c.csv", shape)
    assert (tmp_path / "c.csv").read_text().splitlines()[1] == "226.0,173.0,1"


def test_only_one_column_is_the_id(tmp_path):
    (tmp_path / "a.csv").write_text(",x,y,id,\n5,1,2,a7,0\n6,1,2,b,0\n")
    attributes = read(tmp_path / "a.csv").attributes
    assert attributes["id"].tolist() == ["a7", "b"]
    assert attributes["column_0"].tolist() == [5, 6]


def test_numpy_headers(tmp_path):
    """As ``numpy.savetxt`` writes them."""
    table = np.random.default_rng(0).normal(size=(5, 4))
    np.savetxt(tmp_path / "a.txt", table, header="signal x y z")
    shape = read(tmp_path / "a.txt")
    assert np.array_equal(shape.x.numpy(), table[:, 1:])
    assert np.array_equal(shape.attributes["signal"], table[:, 0])


def test_next_makes_a_curve(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,next\n0,0,1\n1,0,2\n1,1,0\n5,5,-1\n")
    shape = read(tmp_path / "a.csv")
    assert type(shape) is Curve
    assert shape.edges.tolist() == [[0, 1], [1, 2], [2, 0]]
    write(tmp_path / "b.csv", shape)
    assert read(tmp_path / "b.csv").edges.tolist() == shape.edges.tolist()


def test_a_plain_table_has_no_header_and_a_csv_has(tmp_path):
    (tmp_path / "a.txt").write_text("0.1 0.2\n")
    shape = read(tmp_path / "a.txt")
    write(tmp_path / "b.txt", shape)
    write(tmp_path / "b.csv", shape)
    assert (tmp_path / "b.txt").read_text() == "0.1 0.2\n"
    assert (tmp_path / "b.csv").read_text() == "x,y\n0.1,0.2\n"


def test_texts_survive_in_csv(tmp_path):
    (tmp_path / "a.csv").write_text('x,y,name\n1,2,"a ""quoted"", one"\n3,4,é\n', encoding="utf-8")
    shape = read(tmp_path / "a.csv")
    write(tmp_path / "b.csv", shape)
    assert read(tmp_path / "b.csv").attributes["name"].tolist() == ['a "quoted", one', "é"]


def test_foreign_encodings_survive_a_rewrite(tmp_path):
    content = "# caf\xe9\nx,y,name\n1.0,2.0,\xfc\n".encode("latin-1")
    (tmp_path / "a.csv").write_bytes(content)
    write(tmp_path / "b.csv", read(tmp_path / "a.csv"), like=tmp_path / "a.csv")
    assert (tmp_path / "b.csv").read_bytes() == content
