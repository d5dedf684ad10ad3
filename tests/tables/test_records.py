"""Tables: every way in which people write them is read, and what cannot be read is said in one sentence."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffeo.tables import read_records


def table(tmp_path, content, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_records(path, **options)


def rows(records):
    """What is in a table, with None for what is missing."""
    columns = [[None if v != v or v == "" else v for v in column.tolist()] for column in records.columns]
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize(
    "content",
    [
        "a,b,c\n1,x,-2.5\n3,y,1e3\n",
        "a;b;c\n1;x;-2.5\n3;y;1e3\n",
        "a;b;c\n1;x;-2,5\n3,0;y;1e3\n",
        "a\tb\tc\n1\tx\t-2.5\n3\ty\t1e3\n",
        "a b c\n1 x -2.5\n3 y 1e3\n",
        "  a   b\tc\n  1 \t x   -2.5 \n  3   y   1e3",
        "# made by hand\n# a b c\n1 x -2.5\n3 y 1e3\n",
        "# a,b,c\n1,x,-2.5\n3,y,1e3\n",
        '"a","b","c"\n"1","x","-2.5"\n3,"y",1e3\n',
        "a, b, c\r\n1, x, -2.5\r\n3, y, 1e3\r\n",
        "a,b,c\r1,x,-2.5\r3,y,1e3\r",
        "\ufeffa,b,c\n1,x,-2.5\n3,y,1e3\n",
        "a\tb\tc\n1\tx\t-2.5\n3\ty\t1e3\n".encode("utf-16"),
        "\na,b,c\n\n1,x,-2.5\n3,y,1e3\n\n\n",
        "a,b,c,\n1,x,-2.5,\n3,y,1e3,\n",
        "a,b,c\n1,x,-2.5,\n3,y,1e3,\n",
        "a,b,c\n1,x,-2.5\n3,y,1e3\n,,\n",
        ",a,b,c\n0,1,x,-2.5\n1,3,y,1e3\n",
        '"a","b","c"\n"1",1,"x",-2.5\n"2",3,"y",1e3\n',
        '"a" "b" "c"\n"r 1" 1 "x" -2.5\n"r 2" 3 "y" 1e3\n',
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.dat"])
def test_one_table_in_many_dresses(tmp_path, content, name):
    records = table(tmp_path, content, name)
    assert records.names == ("a", "b", "c")
    assert records.named
    assert rows(records) == [[1, "x", -2.5], [3, "y", 1000]]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("1,2\n3,4\n", None),
        ("5.1,setosa\n4.9,setosa\n6.0,virginica\n", None),
        ("1,?\n2,3\n", None),
        ("a,b\n1,2\n", ("a", "b")),
        ("year,2019\n1,2\n3,4\n", ("year", "2019")),
        ("name,color\nann,red\nbob,blue\n", ("name", "color")),
    ],
)
def test_headers_are_told_from_data(tmp_path, content, names):
    records = table(tmp_path, content)
    assert records.named == (names is not None)
    assert records.names == (names or tuple(f"col{k + 1}" for k in range(len(records.names))))


def test_what_is_known_of_headers_decides(tmp_path):
    assert not table(tmp_path, "1,2\n3,4\n").named
    assert table(tmp_path, "1,2\n3,4\n", known=["2"]).names == ("1", "2")
    assert table(tmp_path, "1,2\n3,4\n", header=True).names == ("1", "2")
    assert table(tmp_path, "a,b\n3,4\n", header=False).names == ("col1", "col2")


@pytest.mark.parametrize("word", ["", "NA", "n/a", "NaN", "nan", "null", "?", "#N/A", "<NA>", "  "])
def test_what_is_missing_is_nan_or_no_text(tmp_path, word):
    records = table(tmp_path, f"a,b,c\n1,{word},x\n{word},2,{word}\n")
    assert rows(records) == [[1, None, "x"], [None, 2, None]]


def test_quoted_entries_hold_separators_lines_and_quotes(tmp_path):
    records = table(tmp_path, 'a,b\n1,"x, y"\n2,"two\nlines"\n3,"said ""so"""\n4,C#\n')
    assert records["b"].tolist() == ["x, y", "two\nlines", 'said "so"', "C#"]
    assert list(records.places) == [2, 3, 5, 6]


def test_texts_are_kept_as_they_are_where_that_is_asked_for(tmp_path):
    records = table(tmp_path, "zip,n\n007,1\n010,2\n", texts=["zip"])
    assert records["zip"].tolist() == ["007", "010"]
    assert table(tmp_path, "zip,n\n007,1\n010,2\n")["zip"].tolist() == [7, 10]
    np.savez(tmp_path / "a.npz", zip=np.array([7, 10]), y=np.array([0.5, np.nan]))
    records = read_records(tmp_path / "a.npz", texts=["zip", "y"])
    assert [column.tolist() for column in records.columns] == [["7", "10"], ["0.5", ""]]


def test_underscores_make_no_numbers(tmp_path):
    assert table(tmp_path, "a,b\n1_0,1\n2_0,2\n")["a"].tolist() == ["1_0", "2_0"]


def test_columns_by_name_or_number(tmp_path):
    records = table(tmp_path, "a,b,7\n1,2,3\n", header=True)
    assert [records.resolve(name) for name in ("a", "1", "2", "-1", "-3", "7")] == ["a", "a", "b", "7", "a", "7"]
    for name, words in (
        ("0", "has no column 0: its 3 columns are counted from 1"),
        ("4", "counted from 1"),
        ("-4", "backward from -1"),
        ("B", "its columns are a, b, 7"),
        ("bb", "did you mean 'b'"),
    ):
        with pytest.raises(ValueError, match=words):
            records.resolve(name)
    with pytest.raises(ValueError, match="no header, so that columns are numbers, from 1 to 2"):
        table(tmp_path, "1,2\n").resolve("a")


def test_numpy_files(tmp_path):
    x = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "a.npy", x)
    records = read_records(tmp_path / "a.npy")
    assert (records.names, records.named, records.unit) == (("col1", "col2"), False, "row")
    assert rows(records) == x.tolist()
    np.savez(tmp_path / "b.npz", X=x.astype(np.float32), y=np.array([True, False, True]), z=np.array(["u", "v", ""]))
    records = read_records(tmp_path / "b.npz")
    assert records.names == ("X1", "X2", "y", "z")
    assert rows(records) == [[0, 1, "True", "u"], [2, 3, "False", "v"], [4, 5, "True", None]]
    np.save(tmp_path / "c.npy", np.array([(1, "u"), (2, "v")], [("n", int), ("t", "U3")]))
    assert rows(read_records(tmp_path / "c.npy")) == [[1, "u"], [2, "v"]]


BAD = {
    "blank": ("a.csv", "\n \n", "no rows"),
    "a header alone": ("a.csv", "a,b\n", "a header and no rows"),
    "comments alone": ("a.csv", "# a\n# b\n", "no rows"),
    "ragged": ("a.csv", "a,b\n1,2\n3\n", "line 3 has 1 entry, and the header has 2"),
    "ragged without a header": ("a.csv", "1,2\n3,4,5\n", "line 2 has 3 entries, and line 1 has 2"),
    "ragged after a long entry": ("a.csv", 'a,b\n1,"x\ny"\n2\n', "line 4 has 1 entry"),
    "an open quote": ("a.csv", 'a,b\n1,"x\n2,y\n', "line 2: a quote is not closed"),
    "twice the same name": ("a.csv", "a,b,a\n1,2,3\n", "more than one column 'a'"),
    "binary": ("a.csv", b"\x00\x01\x02\x03", "binary data"),
    "a picture": ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary data"),
    "an unknown extension": ("a.xlsx", "a,b\n1,2\n", r"\.xlsx is not one of the table formats"),
    "no extension": ("a", "a,b\n1,2\n", r"\(none\) is not one"),
    "not a NumPy file": ("a.npy", "a,b\n", "not a NumPy file"),
    "not an archive": ("a.npz", "a,b\n", "not an npz archive"),
    "a very long entry": ("a.csv", "a,b\n1," + 200_000 * "x" + "\n", "field larger than"),
    "empty": ("a.csv", "", "it is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_sentence(tmp_path, case):
    name, content, words = BAD[case]
    with pytest.raises(ValueError, match=words) as caught:
        table(tmp_path, content, name)
    message = str(caught.value)
    assert str(tmp_path / name) in message
    assert "\n" not in message
    assert message.endswith(".")


ARRAYS = {
    "a vector": (np.zeros(5), r"shape \(5,\), and a table"),
    "a cube": (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\), and a table"),
    "complex": (np.zeros((2, 2), complex), "complex128, and numbers or texts"),
    "bytes": (np.array([[b"a", b"b"]]), "numbers or texts"),
    "dates": (np.array([["2020-01-01", "2020-01-02"]], "datetime64[D]"), "numbers or texts"),
    "no rows": (np.zeros((0, 3)), "no rows"),
    "objects": (np.array([[1, None]], object), "Python objects"),
    "lists in fields": (np.zeros(3, [("v", float, 2)]), r"shape \(2,\), and single values"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_arrays_are_one_sentence(tmp_path, case):
    array, words = ARRAYS[case]
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=words):
        read_records(tmp_path / "a.npy")


def test_arrays_of_an_archive_must_agree(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.zeros(4))
    with pytest.raises(ValueError, match="differ in their numbers of rows: x has 3, y has 4"):
        read_records(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.zeros((3, 2, 1)))
    with pytest.raises(ValueError, match=r"'y' has shape \(3, 2, 1\)"):
        read_records(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="no arrays"):
        read_records(tmp_path / "a.npz")


def test_thousands_of_columns(tmp_path):
    names = [f"f{k}" for k in range(3000)]
    records = table(tmp_path, ",".join(names) + "\n" + 2 * (",".join(map(str, range(3000))) + "\n"))
    assert len(records.names) == 3000
    assert records["f2999"].tolist() == [2999, 2999]


words = st.text("aZé€0-., ;\t\"'#|", min_size=1, max_size=6)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    numbers=st.lists(finite, min_size=2, max_size=4),
    texts=st.lists(words, min_size=4, max_size=4).filter(lambda texts: not any(is_number(t) for t in texts)),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_what_csv_writes_is_read_back(tmp_path, numbers, texts, separator):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["n", "t"])
    writer.writerows(zip(numbers, texts, strict=False))
    records = table(tmp_path, text.getvalue())
    assert records["n"].tolist() == numbers
    given_texts = [t.strip() for t in texts[: len(numbers)]]
    missing = {"", "na", "n/a", "nan", "null", "?", "#n/a", "<na>"}
    assert records["t"].tolist() == ["" if t.lower() in missing else t for t in given_texts]


def is_number(entry):
    return re.fullmatch(r"\s*[+-]?(\d|inf|nan|[.,]\d).*", entry, re.IGNORECASE | re.DOTALL) is not None


@settings(max_examples=200)
@given(
    at=st.integers(0, 60),
    lost=st.integers(0, 12),
    inserted=st.one_of(
        st.binary(max_size=4), st.sampled_from([b'"', b"\n", b",", b";", b"\t", b"#", b"nan", b"1e999"])
    ),
)
def test_damaged_tables_never_raise_anything_else(tmp_path, at, lost, inserted):
    content = b'a,b,"c d"\n1,2,"x"\n3,4.5,"y, z"\n-6,7,"w"\n8,9,""\n'
    path = tmp_path / "a.csv"
    path.write_bytes(content[:at] + inserted + content[at + lost :])
    message = complaint(path)
    assert message is None or (str(path) in message and "\n" not in message)


def complaint(path):
    """What there is to say against a table; None if nothing."""
    try:
        read_records(path)
    except ValueError as error:
        return str(error)
    return None
