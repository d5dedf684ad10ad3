"""Target registration errors of landmarks whose distances are known."""

import numpy as np
import pytest
import torch
from hypothesis import given

from diffeo.diagnostics import landmark_error
from diffeo.shapes import Points
from tests.oracles import cloud, rotation, seeds

F64 = torch.float64


def points(x, ids=None):
    return Points(torch.as_tensor(x, dtype=F64), attributes={} if ids is None else {"id": np.array(ids)})


def test_distances_that_are_known():
    x = torch.zeros(20, 2, dtype=F64)
    y = x + torch.arange(20.0, dtype=F64)[:, None] * torch.tensor([0.6, 0.8], dtype=F64)
    found = landmark_error(points(x), points(y))
    assert (found.pairs, found.by_id, found.unpaired) == (20, False, 0)
    assert (found.mean, found.median, found.p95, found.max) == pytest.approx((9.5, 9.5, 18.05, 19))


@given(seed=seeds)
def test_identity_symmetry_and_rigid_motions(seed):
    x, y, r = cloud(15, 3, seed=seed), cloud(15, 3, seed=seed + 1), rotation(3, seed=seed)
    assert landmark_error(points(x), points(x)).max == 0
    there = landmark_error(points(x), points(y))
    assert there == landmark_error(points(y), points(x))
    assert there[1:5] == pytest.approx(landmark_error(points(x @ r.T + 3), points(y @ r.T + 3))[1:5])
    assert 0 < there.median < there.p95 <= there.max


@pytest.mark.parametrize("kind", [float, int, str])
def test_ids_pair_landmarks_in_any_order(kind):
    x, order = cloud(6, 2), [3, 1, 5, 0, 4]
    found = landmark_error(
        points(x, [kind(k) for k in range(6)]), points(x[order] + torch.tensor([3.0, 4]), [str(k) for k in order])
    )
    assert (found.pairs, found.by_id, found.unpaired) == (5, True, 1)
    assert (found.mean, found.max) == pytest.approx((5, 5))


def test_ids_on_one_side_are_no_pairs():
    x = cloud(4, 2)
    found = landmark_error(points(x, [3, 2, 1, 0]), points(x))
    assert (found.by_id, found.max) == (False, 0)


@pytest.mark.parametrize(
    ("fixed", "moved", "words"),
    [
        (points(cloud(4, 2)), points(cloud(5, 2)), "paired by their order, and there are 4 and 5"),
        (points(cloud(4, 2)), points(cloud(4, 3)), "got 2 and 3"),
        (
            points(cloud(2, 2), ["a", "b"]),
            points(cloud(2, 2), ["c", "d"]),
            "no id in common: the first are 'a' and 'c'",
        ),
        (points(cloud(3, 2), [1, 2, 1]), points(cloud(3, 2), [1, 2, 3]), "'1' is there more than once"),
    ],
)
def test_bad_input(fixed, moved, words):
    with pytest.raises(ValueError, match=words):
        landmark_error(fixed, moved)
