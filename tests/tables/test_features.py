"""Columns become numbers, and the same ones again for another table; what is wrong with them is one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffeo.tables import Features, read_records

TABLE = "n,color,sure,constant,y\n1.5,red,yes,7,0\n2,green,no,7,1\n-3,blue,no,7,0\n4,red,yes,7,1\n"


def table(tmp_path, content, name="a.csv", **options):
    (tmp_path / name).write_text(content)
    return read_records(tmp_path / name, **options)


def learned(records, target="y", **options):
    return Features.of(records, target, **options)


def test_numbers_stay_and_categories_are_indicated(tmp_path):
    records = table(tmp_path, TABLE)
    features, notes = learned(records)
    assert features.labels == ["n", "color=blue", "color=green", "color=red", "sure=yes"]
    x, told = features.matrix(records)
    assert x.tolist() == [[1.5, 0, 0, 1, 1], [2, 0, 1, 0, 0], [-3, 1, 0, 0, 0], [4, 0, 0, 1, 1]]
    assert told == []
    assert notes == ["Left out: 'constant' is 7 in all rows."]


def test_chosen_columns_in_the_order_chosen(tmp_path):
    records = table(tmp_path, TABLE)
    assert learned(records, only=["color", "n"])[0].labels == ["color=blue", "color=green", "color=red", "n"]
    assert learned(records, without=["color", "constant"])[0].labels == ["n", "sure=yes"]


def test_categorical_numbers_are_names(tmp_path):
    records = table(tmp_path, "zip,y\n007,1\n010,2\n007,2\n", texts=["zip"])
    features, _ = learned(records, categorical=["zip"])
    assert features.labels == ["zip=010"]
    assert features.matrix(table(tmp_path, "zip\n010\n", "b.csv", texts=features.texts))[0].tolist() == [[1]]


def test_other_tables_are_matched_by_name_and_become_the_same_numbers(tmp_path):
    features, _ = learned(table(tmp_path, TABLE))
    other = table(tmp_path, "extra,sure,color,n\n9,no,red,0\n9,yes,blue,1\n", "b.csv")
    arranged, notes = features.arranged(other, "y")
    assert features.matrix(arranged)[0].tolist() == [[0, 0, 0, 1, 0], [1, 1, 0, 0, 1]]
    assert notes == ["Not used: 'extra'."]


@given(order=st.permutations(["n", "color", "sure", "constant", "y"]))
def test_the_order_of_columns_changes_nothing(tmp_path, order):
    records = table(tmp_path, TABLE)
    features, _ = learned(records)
    rows = zip(*(records[name].tolist() for name in order), strict=True)
    content = "\n".join([",".join(order), *(",".join(map(str, row)) for row in rows)])
    arranged, _ = features.arranged(table(tmp_path, content, "b.csv"), "y")
    assert np.array_equal(features.matrix(arranged)[0], features.matrix(records)[0])


@pytest.mark.parametrize("target", ["col1", "col3"])
@pytest.mark.parametrize("with_target", [True, False])
def test_without_headers_the_place_counts(tmp_path, target, with_target):
    rows = [["1", "red", "5"], ["2", "blue", "6"], ["4", "red", "8"]]
    records = table(tmp_path, "\n".join(",".join(row) for row in rows))
    features, _ = learned(records, target)
    place = records.names.index(target)
    new = rows if with_target else [row[:place] + row[place + 1 :] for row in rows]
    arranged, notes = features.arranged(table(tmp_path, "\n".join(",".join(row) for row in new), "b.csv"), target)
    assert np.array_equal(features.matrix(arranged)[0], features.matrix(records)[0])
    assert (target in arranged.names) == with_target
    assert notes == []


def test_one_header_of_two_is_told(tmp_path):
    records = table(tmp_path, TABLE)
    features, _ = learned(records)
    bare = table(tmp_path, "1.5,red,yes,7\n2,green,no,7\n", "b.csv")
    arranged, notes = features.arranged(bare, "y")
    assert features.matrix(arranged)[0].tolist() == features.matrix(records)[0][:2].tolist()
    assert notes == ["Only one of the two tables has a header: columns are matched by their order."]


def test_they_come_back_from_json(tmp_path):
    records = table(tmp_path, TABLE)
    features, _ = learned(records)
    assert Features.from_state(json.loads(json.dumps(features.state()))) == features


def test_unseen_categories_are_refused_or_taken_for_unknown(tmp_path):
    features, _ = learned(table(tmp_path, TABLE))
    other = table(tmp_path, "n,color,sure\n0,pink,yes\n1,red,maybe\n", "b.csv")
    with pytest.raises(ValueError, match=r"b.csv: line 2, column 'color' is 'pink', .* one of 'blue', 'green', 'red';"):
        features.matrix(other)
    x, told = features.matrix(other, lenient=True)
    assert x.tolist() == [[0, 0.25, 0.25, 0.5, 1], [1, 0, 0, 1, 0.5]]
    assert told == ["line 2, column 'color' is 'pink'", "line 3, column 'sure' is 'maybe'"]


def test_columns_that_tell_nothing_are_left_out_and_those_that_count_are_told(tmp_path):
    names = "\n".join(f"{k},name {k},{k % 3},1,z,{k / 7}" for k in range(1, 31))
    features, notes = learned(table(tmp_path, f"id,name,n,c,t,y\n{names}\n"))
    assert features.labels == ["id", "n"]
    assert notes == [
        "Used, though it only counts the rows: 'id'; leave it out if that means nothing.",
        "Left out: 'name' has 30 different texts in 30 rows, which tell nothing about other rows.",
        "Left out: 'c' is 1 in all rows.",
        "Left out: 't' is 'z' in all rows.",
    ]


def test_many_notes_are_few(tmp_path):
    _, notes = learned(
        table(tmp_path, ",".join(f"c{k}" for k in range(99)) + ",n,y\n" + (99 * "1," + "2,3\n") + 99 * "1," + "4,5\n")
    )
    assert len(notes) == 5
    assert notes[-1] == "And 95 more columns like these."


def test_huge_values_and_many_columns(tmp_path):
    content = ",".join(f"f{k}" for k in range(2000)) + ",y\n"
    content += "".join(",".join(str((-1) ** k * 1e300 * (r + 1)) for k in range(2000)) + f",{r}\n" for r in range(3))
    records = table(tmp_path, content)
    features, _ = learned(records)
    x, _ = features.matrix(records)
    assert x.shape == (3, 2000)
    assert np.abs(x).max() == 3e300


BAD = {
    "a missing number": ("a,b,y\n1,,1\n2,3,2\n", "a value is missing in line 2, column 'b': fill it in"),
    "missing numbers": (
        "a,b,y\n1,2,1\nNA,,2\n?,3,2\n",
        "3 values are missing, the first is in line 3, column 'a': fill",
    ),
    "a missing text": ("a,b,y\nx,2,1\n,3,2\nx,4,4\n", "a value is missing in line 3, column 'a'"),
    "an empty column": ("a,b,y\n1,,1\n2,,2\n", "2 values are missing, column 'b' is empty"),
    "an infinite value": ("a,b,y\n1,inf,1\n2,3,2\n", "line 2, column 'b' is inf, and finite numbers"),
    "a number too large": ("a,b,y\n1,1e999,1\n2,3,2\n", "line 2, column 'b' is inf, .* too large"),
    "a text among numbers": (
        "a,y\n1,1\nx,2\n3,3\n",
        "line 3, column 'a' is 'x', and a number is expected, as the others",
    ),
    "texts among numbers": ("a,y\n1,1\nx,2\n3,3\n-,4\n5,5\n", "'x', and a number is expected, as most others"),
    "thousands separated": (
        'a,y\n"1,000",1\n"2,500.5",2\n',
        "is '1,000', and numbers are expected with a decimal point",
    ),
    "decimal commas": ("a\ty\n1,5\t1\n2,5\t2\n", "is '1,5', and numbers are expected with a decimal point"),
    "nothing but the target": ("y\n1\n2\n", "nothing is left to learn from: it has no other columns"),
    "constants only": ("a,y\n1,2\n1,3\n", "nothing is left to learn from: left out: 'a' is 1 in all rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_columns_are_one_sentence(tmp_path, case):
    content, words = BAD[case]
    with pytest.raises(ValueError, match=words) as caught:
        learned(table(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))
    assert "\n" not in str(caught.value)


OTHERS = {
    "a column less": ("n,sure\n1,yes\n", "lacks the column 'color', from which was learned; it has 'n', 'sure'"),
    "other columns": ("a,b\n1,yes\n", "lacks 3 columns, 'n', 'color', 'sure'"),
    "too few without a header": (
        "1,2\n3,4\n",
        "has 2 columns, and 5 are expected as in the training table, or 4 without",
    ),
    "a text for a number": (
        "n,color,sure\nx,red,yes\n",
        "line 2, column 'n' is 'x', and a number is expected, as in the",
    ),
    "a missing value": ("n,color,sure\n1,,yes\n", "a value is missing in line 2, column 'color'"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_tables_that_do_not_fit_are_one_sentence(tmp_path, case):
    features, _ = learned(table(tmp_path, TABLE))
    content, words = OTHERS[case]
    with pytest.raises(ValueError, match=words) as caught:
        features.matrix(features.arranged(table(tmp_path, content, "b.csv"), "y")[0])
    assert str(tmp_path / "b.csv") in str(caught.value)
