"""``diffeo evaluate``: labels, landmarks and intensities, told apart and measured; and what cannot be compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diffeo.cli.main import main
from tests.cli.files import AFFINE, boxes, nifti, octahedron, ring, scan
from tests.cli.test_cli_main import one_sentence

A = ((3, 3, 2), (7, 8, 6)), ((7, 3, 2), (11, 8, 8))
B = ((4, 3, 2), (8, 8, 6)), ((8, 3, 2), (12, 8, 8))


def run(*argv):
    return main(["evaluate", *map(str, argv)])


def facts(capsys, *argv):
    assert run(*argv, "--json") == 0
    return json.loads(capsys.readouterr().out)


def csv(path, rows, header=",X,Y"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_label_maps(tmp_path, capsys):
    """Boxes of four steps shifted by one, steps of 2 mm × 1.5 mm × 1 mm: Dice ¾, volumes in mm³."""
    found = facts(capsys, boxes(tmp_path / "a.nii.gz", *A), boxes(tmp_path / "b.nii.gz", *B))
    assert (found["kind"], found["unit"], found["resampled"]) == ("labels", "mm", False)
    assert "3 whole numbers, equal at" in found["why"]
    assert (found["mean_dice"], found["union_dice"]) == (0.75, 0.85)
    first, second = found["labels"]
    assert (first["label"], second["label"]) == (1, 2)
    assert first["volume_fixed"] == pytest.approx(4 * 5 * 4 * 3.0)
    assert second["volume_moved"] == pytest.approx(4 * 5 * 6 * 3.0)
    assert first["hausdorff95"] == pytest.approx(2)
    assert 0 < first["surface_distance"] < 2


def test_chosen_labels(tmp_path, capsys):
    pair = boxes(tmp_path / "a.nii.gz", *A), boxes(tmp_path / "b.nii.gz", *B)
    assert [row["label"] for row in facts(capsys, *pair, "--labels", "2-30")["labels"]] == [2]
    assert [row["label"] for row in facts(capsys, *pair, "--labels", "1,2,7")["labels"]] == [1, 2]
    assert facts(capsys, *pair, "--labels", "0-1")["labels"][0]["label"] == 0


def test_a_missing_label_has_no_distance(tmp_path, capsys):
    pair = boxes(tmp_path / "a.nii.gz", *A), boxes(tmp_path / "b.nii.gz", A[0])
    assert facts(capsys, *pair)["labels"][1]["hausdorff95"] is None
    assert run(*pair) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["2", "0.0000", "360", "0", "–", "–"]


def test_the_table_says_what_json_says(tmp_path, capsys):
    pair = boxes(tmp_path / "a.nii.gz", *A), boxes(tmp_path / "b.nii.gz", *B)
    assert run(*pair) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{pair[0]}, {pair[1]}"
    assert any("mean Dice" in line and line.endswith("0.7500") for line in lines)
    assert lines[-3].split()[:2] == ["label", "Dice"]
    assert lines[-3].count("mm³") == lines[-3].count("mm") - 2 == 2
    assert lines[-2].split()[:4] == ["1", "0.7500", "240", "240"]


def test_another_grid_is_said(tmp_path, capsys):
    """The same boxes in space, the axes of the grid in another order."""
    swapped = AFFINE[:, [1, 0, 2, 3]]
    a = boxes(tmp_path / "a.nii.gz", *A)
    values = np.zeros((12, 14, 10), np.uint8)
    for label, (lower, upper) in enumerate(A, 1):
        values[lower[1] : upper[1], lower[0] : upper[0], lower[2] : upper[2]] = label
    b = nifti(tmp_path / "b.nii.gz", values, swapped)
    found = facts(capsys, a, b)
    assert found["resampled"]
    assert found["mean_dice"] == 1
    assert run(a, b) == 0
    assert "brought to the grid of FIXED by nearest points" in capsys.readouterr().out


def test_landmarks_by_id(tmp_path, capsys):
    fixed = csv(tmp_path / "a.csv", [(1, 10, 20), (2, 30, 40), (3, 5, 5)])
    moved = csv(tmp_path / "b.csv", [(3, 5, 5), (1, 13, 24), (9, 0, 0)])
    found = facts(capsys, fixed, moved)
    assert (found["kind"], found["pairs"], found["by_id"], found["unpaired"]) == ("landmarks", 2, True, 2)
    assert (found["mean"], found["median"], found["max"]) == (2.5, 2.5, 5)
    assert run(fixed, moved) == 0
    out = capsys.readouterr().out
    assert "2, by id; 2 landmarks whose id is on one side only are left out" in out
    assert "largest distance" in out


def test_landmarks_by_order(tmp_path, capsys):
    found = facts(capsys, ring(tmp_path / "a.txt"), ring(tmp_path / "b.txt", shift=0.3))
    assert (found["pairs"], found["by_id"]) == (20, False)
    assert found["mean"] == pytest.approx(0.3 * 2**0.5)
    vertices = facts(capsys, octahedron(tmp_path / "a.off"), octahedron(tmp_path / "b.off", stretch=1.5))
    assert vertices["max"] == pytest.approx(0.5)


def test_intensities(tmp_path, capsys):
    a = scan(tmp_path / "a.nii.gz")
    found = facts(capsys, a, a)
    assert (found["kind"], found["mse"], found["relative_mse"]) == ("intensity", 0, 0)
    assert found["correlation"] == pytest.approx(1)
    b = nifti(tmp_path / "b.nii.gz", np.random.default_rng(0).normal(size=(14, 12, 10)), AFFINE)
    other = facts(capsys, a, b)
    assert other["correlation"] < 0.2
    assert other["mutual_information"] < found["mutual_information"]
    assert "not whole numbers" in other["why"]
    assert run(a, b) == 0
    assert "mutual information" in capsys.readouterr().out


def test_a_constant_image_has_no_correlation(tmp_path, capsys):
    flat = nifti(tmp_path / "b.nii.gz", np.full((14, 12, 10), 0.5), AFFINE)
    found = facts(capsys, scan(tmp_path / "a.nii.gz"), flat)
    assert found["correlation"] is None
    assert found["relative_mse"] > 1


def test_whole_numbers_may_be_intensities(tmp_path, capsys):
    """A scan in bytes is no label map; --kind has the last word."""
    a, b = (scan(tmp_path / f"{name}.nii.gz", shape=(28, 24, 20), dtype=np.uint8) for name in "ab")
    assert facts(capsys, a, b)["kind"] == "intensity"
    assert facts(capsys, a, b, "--kind", "labels")["mean_dice"] == 1
    pair = boxes(tmp_path / "l.nii.gz", *A), boxes(tmp_path / "m.nii.gz", *B)
    found = facts(capsys, *pair, "--kind", "intensity")
    assert (found["kind"], found["why"]) == ("intensity", "as --kind says")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda d: (d / "none.nii", scan(d / "b.nii")), "cannot read FIXED"),
        (lambda d: (scan(d / "a.nii"), d), "it is a folder"),
        (lambda d: (scan(d / "a.nii"), ring(d / "b.txt")), "FIXED is Image and MOVED is Points"),
        (lambda d: (scan(d / "a.nii", (28, 24, 20)), boxes(d / "b.nii", *A)), "FIXED looks like intensities"),
        (lambda d: (boxes(d / "a.nii", *A), nifti(d / "b.nii", np.full((4, 4, 4), 0.5))), "not whole numbers"),
        (lambda d: (boxes(d / "a.nii", *A), nifti(d / "b.nii", np.full((4, 4, 4), 0.5)), "--kind", "labels"), "0.5"),
        (lambda d: (boxes(d / "a.nii", *A), boxes(d / "b.nii", *A), "--labels", "5-9"), "no label in common among 5"),
        (lambda d: (boxes(d / "a.nii", *A), boxes(d / "b.nii")), "no label in common: fixed has 1, 2, moved has none"),
        (lambda d: (boxes(d / "a.nii"), boxes(d / "b.nii")), "no label in common: fixed has none"),
        (
            lambda d: (
                boxes(d / "a.nii", *A),
                boxes(d / "b.nii", *A, affine=AFFINE + np.outer([900, 0, 0, 0], [0] * 3 + [1])),
            ),
            "on the grid of the fixed one",
        ),
        (
            lambda d: (boxes(d / "a.nii", *A), nifti(d / "b.nii", np.eye(9, dtype=np.uint8))),
            "3 and one of 2 dimensions",
        ),
        (lambda d: (scan(d / "a.nii"), scan(d / "b.nii"), "--labels", "1"), "--labels is for label maps"),
        (lambda d: (ring(d / "a.txt"), ring(d / "b.txt"), "--labels", "1"), "compared as landmarks"),
        (lambda d: (scan(d / "a.nii"), scan(d / "b.nii"), "--kind", "landmarks"), "hold images"),
        (lambda d: (ring(d / "a.txt"), ring(d / "b.txt"), "--kind", "labels"), "hold points"),
        (lambda d: (scan(d / "a.nii"), scan(d / "b.nii"), "--labels", ","), "--labels expects labels"),
        (lambda d: (ring(d / "a.txt"), ring(d / "b.txt", n=21)), "there are 20 and 21"),
        (lambda d: (ring(d / "a.txt"), ring(d / "b.txt", d=3)), "got 2 and 3"),
        (lambda d: (csv(d / "a.csv", [(1, 2, 3)]), csv(d / "b.csv", [(2, 2, 3)])), "no id in common"),
        (lambda d: (csv(d / "a.csv", [(1, 2, 3)] * 2), csv(d / "b.csv", [(1, 2, 3)])), "more than once"),
        (lambda d: (scan(d / "a.nii"), nifti(d / "b.nii", np.zeros((4, 4, 4, 5)))), "b.nii"),
        (lambda d: (scan(d / "a.nii"), nifti(d / "b.nii", np.full((4, 4, 4), np.nan))), "NaN"),
        (lambda d: (csv(d / "a.csv", []), csv(d / "b.csv", [])), "no points"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(prepare, words, tmp_path, capsys):
    assert run(*prepare(tmp_path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert one_sentence(err)
