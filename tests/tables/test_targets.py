"""Classes or numbers: what is decided for whom, and said; scores with known answers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffeo.tables import Target, Task, read_records
from diffeo.tables.scores import classification_scores, confusion, held_out, regression_scores


def column(tmp_path, entries):
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *(f"{k},{entry}" for k, entry in enumerate(entries))]) + "\n")
    return read_records(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("entries", "task", "kind", "why"),
    [
        (["a", "b", "a", "b"], Task.classification, "U", "holds 2 different texts"),
        (["True", "False", "True"], Task.classification, "U", "holds 2 different texts"),
        ([0, 1, 1, 0], Task.classification, "i", "holds 2 different whole numbers"),
        ([1.0, 2.0, 1.0, 2.0], Task.classification, "i", "holds 2 different whole numbers"),
        (2 * list(range(20)), Task.classification, "i", "holds 20 different whole numbers"),
        (2 * list(range(21)), Task.regression, "f", "holds 21 different whole numbers"),
        (list(range(10)), Task.regression, "f", "holds 10 different whole numbers in 10 rows"),
        ([0.5, 1.5, 0.5, 1.5], Task.regression, "f", "holds 2 different numbers"),
        ([1e300, 2e300, 1e300, 2e300], Task.regression, "f", "holds 2 different numbers"),
    ],
)
def test_the_task_is_found_and_said(tmp_path, entries, task, kind, why):
    records = column(tmp_path, entries)
    target = Target.of(records, "y")
    assert target.task is task
    assert why in target.why
    values = target.values(records)
    assert values.dtype.kind == kind
    assert [str(v) for v in values.tolist()] == [
        str(e if kind in "Uf" and not isinstance(e, int) else float(e) if kind == "f" else int(e)) for e in entries
    ]
    assert Target.from_state(json.loads(json.dumps(target.state()))) == target


def test_what_is_asked_for_is_done(tmp_path):
    records = column(tmp_path, [0, 1, 1, 0])
    target = Target.of(records, "y", Task.regression)
    assert target.task is Task.regression
    assert target.why.startswith("as asked")
    halves = column(tmp_path, [0.5, 1.5, 0.5, 1.5])
    assert Target.of(halves, "y", Task.classification).values(halves).tolist() == ["0.5", "1.5", "0.5", "1.5"]


BAD = {
    "missing": (["1", "", "2"], None, "a value is missing in line 3, column 'y'"),
    "infinite": (["1", "inf", "2"], None, "line 3, column 'y' is inf"),
    "one class": (["a", "a", "a"], None, "the target 'y' is 'a' in all 3 rows: there is nothing to learn"),
    "one number": (["2", "2.0"], None, "the target 'y' is 2 in all 2 rows"),
    "one row": (["2"], None, "has one row, and several are needed"),
    "a text among numbers": (["1", "x", "2", "3"], None, "line 3, column 'y' is 'x', and a number is expected"),
    "texts as numbers": (["a", "b", "a"], Task.regression, "line 2, column 'y' is 'a', and regression needs numbers"),
    "numbers as classes": (["1.5", "2.5", "3.5"], Task.classification, "3 different values in 3 rows, too many"),
    "names as classes": (["a", "b", "c", "d", "e"], None, "5 different texts in 5 rows, too many for classes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_targets_are_one_sentence(tmp_path, case):
    entries, task, words = BAD[case]
    with pytest.raises(ValueError, match=words) as caught:
        Target.of(column(tmp_path, entries), "y", task)
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))
    assert "\n" not in str(caught.value)


def test_another_table_may_lack_the_target_or_hold_other_classes(tmp_path):
    target = Target.of(column(tmp_path, [0, 1, 1, 0]), "y")
    assert target.known(column(tmp_path, [0, 5]))
    assert target.values(column(tmp_path, [0, 5])).tolist() == [0, 5]
    assert target.values(column(tmp_path, ["a", "b"])).tolist() == ["a", "b"]
    assert not target.known(column(tmp_path, [0, ""]))
    (tmp_path / "b.csv").write_text("x\n1\n2\n")
    assert not target.known(read_records(tmp_path / "b.csv"))


def test_scores_with_known_answers():
    truth, predicted = np.array([1, 1, 1, 2]), np.array([1, 1, 2, 2])
    assert classification_scores(truth, predicted) == {"accuracy": 0.75, "balanced_accuracy": pytest.approx(5 / 6)}
    assert confusion(truth, predicted, np.array([1, 2])).tolist() == [[2, 1], [0, 1]]
    assert confusion(np.array([9, 1]), np.array([1, 1]), np.array([1, 2])).tolist() == [[1, 0], [0, 0]]
    found = regression_scores(np.array([0.0, 2.0]), np.array([1.0, 1.0]))
    assert found == {"rmse": 1, "mae": 1, "r2": 0}
    huge = regression_scores(np.array([0.0, 2e200]), np.array([1e200, 1e200]))
    assert huge == {"rmse": pytest.approx(1e200), "mae": pytest.approx(1e200), "r2": pytest.approx(0)}
    assert math.isnan(regression_scores(np.ones(3), np.zeros(3))["r2"])


@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    share=st.floats(0, 0.9),
    seed=st.integers(0, 99),
    by_class=st.booleans(),
)
def test_rows_are_held_out_once_and_of_all_classes_alike(counts, share, seed, by_class):
    target = np.repeat(np.arange(len(counts)), counts)
    kept, out = held_out(target, share, seed, by_class)
    assert sorted([*kept, *out]) == list(range(len(target)))
    assert list(kept) == sorted(kept)
    assert list(out) == sorted(out)
    again = held_out(target, share, seed, by_class)
    assert np.array_equal(again[1], out)
    if len(target) < 10:
        assert len(out) == 0
    if by_class:
        assert set(target[kept]) == set(target)
        assert len(out) <= round(share * len(target))
        for label, count in enumerate(counts):
            if len(target) >= 10 and min(counts) > 5 and share < 0.5:
                assert abs((target[out] == label).sum() - share * count) <= len(counts)
    elif len(target) >= 10:
        assert len(out) == min(round(share * len(target)), len(target) - 1)
