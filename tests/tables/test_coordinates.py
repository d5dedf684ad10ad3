"""Columns that have a density, and those it is conditioned on; what has none is said in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffeo.tables import Coordinates, read_records

TABLE = "x,city,y,n,c\n" + "".join(f"{k * k % 61},{'AB'[k % 2]},{k / 3},{k % 5},1\n" for k in range(60))


def table(tmp_path, content=TABLE, name="a.csv", **options):
    (tmp_path / name).write_text(content)
    return read_records(tmp_path / name, **options)


def test_numbers_are_coordinates_and_what_is_given_becomes_numbers(tmp_path):
    records = table(tmp_path)
    found, notes = Coordinates.of(records, without=["c"], given=["city", "n"])
    assert (found.names, found.context) == (["x", "y"], ["city", "n"])
    assert found.rows(records).tolist() == [[k * k % 61, k / 3] for k in range(60)]
    given, told = found.given(records)
    assert given.tolist() == [[k % 2, k % 5] for k in range(60)]
    assert told == []
    assert notes == []


def test_what_repeats_is_noted(tmp_path):
    records = table(tmp_path)
    found, notes = Coordinates.of(records, only=["n", "y"])
    assert found.names == ["n", "y"]
    assert len(notes) == 1
    assert notes[0].startswith("Taken for real numbers: 'n', which has 5 different values in 60 rows")


def test_columns_are_told_by_their_names_in_any_order(tmp_path):
    found, _ = Coordinates.of(table(tmp_path), only=["y", "x"], given=["city"])
    other = table(tmp_path, "more,x,city,y\n9,1,B,2\n9,3,A,4\n", "b.csv")
    arranged, notes = found.arranged(other)
    assert notes == ["Not used: 'more'."]
    assert found.rows(arranged).tolist() == [[2, 1], [4, 3]]
    assert found.given(arranged)[0].tolist() == [[1], [0]]


@pytest.mark.parametrize("content", ["city\nB\nA\n", "B\nA\n"], ids=["named", "without a header"])
def test_what_is_given_may_come_alone(tmp_path, content):
    found, _ = Coordinates.of(table(tmp_path), only=["y", "x"], given=["city"])
    arranged, _ = found.arranged(table(tmp_path, content, "b.csv", header="city" in content), given_only=True)
    assert found.given(arranged)[0].tolist() == [[1], [0]]


def test_without_a_header_columns_are_told_by_their_places_and_by_the_names_they_were_given(tmp_path):
    found, _ = Coordinates.of(table(tmp_path, "1,2,3\n4,5,7\n9,8,6\n2,2,1\n"), only=["col3", "col1"])
    plain, _ = found.arranged(table(tmp_path, "1,2,3\n", "b.csv"))
    named, notes = found.arranged(table(tmp_path, "col1,col3\n1,3\n", "c.csv"))
    assert found.rows(plain).tolist() == found.rows(named).tolist() == [[3, 1]]
    assert notes == []
    with pytest.raises(ValueError, match=r"has 2 columns, and 3 are expected as in the training table\.$"):
        found.arranged(table(tmp_path, "1,2\n", "d.csv"))


def test_everything_comes_back_from_json(tmp_path):
    found, _ = Coordinates.of(table(tmp_path), without=["c"], given=["city"])
    assert Coordinates.from_state(json.loads(json.dumps(found.state()))) == found


def test_categories_that_were_never_seen_are_refused_or_taken_for_unknown(tmp_path):
    found, _ = Coordinates.of(table(tmp_path), without=["c"], given=["city"])
    other = table(tmp_path, "x,city,y,n\n1,D,2,3\n", "b.csv")
    with pytest.raises(ValueError, match="line 2, column 'city' is 'D'"):
        found.given(other)
    given, told = found.given(other, lenient=True)
    assert np.array_equal(given, [[0.5]])
    assert told == ["line 2, column 'city' is 'D'"]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (TABLE, {}, "column 'city' holds texts, such as 'A', and only numbers have a density"),
        (TABLE, {"without": ["city"]}, "column 'c' is 1 in all 60 rows"),
        (TABLE, {"given": ["x", "city", "y", "n", "c"]}, "no column is left"),
        (TABLE, {"only": ["x"], "given": ["c"]}, "left out: 'c' is 1 in all rows"),
        ("x,y\n1,2\n", {}, "has one row"),
        ("x,y\n1,2\n3,1\n2,4\n", {}, "has 3 rows, and at least 4 are needed for a density of 2 numbers each"),
        (
            "x,y\n1,A\n3,B\n2,C\n5,A\n",
            {"given": ["y"]},
            "has 4 rows, and at least 6 are needed for a density of 4 numbers each",
        ),
        ("x,y\n1,2\n3,\n", {}, "a value is missing in line 3, column 'y'"),
        ("x,y\n1,2\n3,inf\n", {}, "line 3, column 'y' is inf"),
        ("x,y\n1,2\n3,u\n5,6\n", {}, "line 3, column 'y' is 'u', and a number is expected"),
        ("x,y\n1,2\n3,u\n5,6\n", {"only": ["x"], "given": ["y"]}, "line 3, column 'y' is 'u'"),
    ],
)
def test_what_has_no_density_is_said(tmp_path, content, options, words):
    with pytest.raises(ValueError, match=words) as error:
        Coordinates.of(table(tmp_path, content), **options)
    assert str(error.value).startswith(str(tmp_path / "a.csv"))
